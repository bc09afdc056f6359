"""The only source of new identifiers. Ids that are handed to strangers are random; none tells a count."""

import re
import secrets
import time

RUN_ID_LENGTH = 32
RUN_ID = re.compile(rf"[0-9a-f]{{{RUN_ID_LENGTH}}}")  # of those made here and by MLflow; imported ones may be others

# For names that people can say, which need not be unique.
_QUALITIES = ("able", "bold", "brave", "calm", "clever", "eager", "gentle", "keen", "lively", "quick", "quiet", "swift")
_ANIMALS = ("badger", "beaver", "crane", "egret", "grebe", "heron", "kestrel", "newt", "otter", "pike", "swan", "wren")


def new_run_id() -> str:
    """32 hexadecimal digits, as MLflow's clients expect of a run."""
    return secrets.token_hex(RUN_ID_LENGTH // 2)


def new_name() -> str:
    """`quiet-heron-417`, for a run or a logged model that nobody has named."""
    return f"{secrets.choice(_QUALITIES)}-{secrets.choice(_ANIMALS)}-{secrets.randbelow(1000)}"


def new_model_id() -> str:
    """`m-` and 32 hexadecimal digits, as MLflow's clients expect of a logged model."""
    return "m-" + secrets.token_hex(16)


def new_sortable_id() -> str:
    """26 hexadecimal digits that sort by creation time (48 bits of milliseconds, then 56 random bits)."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(7)}"
