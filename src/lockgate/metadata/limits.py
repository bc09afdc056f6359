"""What may be stored: names and lengths, with the limits and in the words of MLflow's server.

A param or tag of a run that is too long is cut, as MLflow's server does it; all else that is too long is refused.
"""

import json
import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from lockgate.errors import InvalidInput
from lockgate.wire.operation import KEY_LENGTH, LONGEST_LIST

USER_LENGTH = 256
EXPERIMENT_NAME_LENGTH = 500
EXPERIMENT_TAG_LENGTH = 20_000
ARTIFACT_LOCATION_LENGTH = 2048
DESCRIPTION_LENGTH = 1_000_000  # a model card may have pictures in it
REASON_LENGTH = 10_000
VERSION_LENGTHS = {"source": 2048, "run_id": 256, "run_link": 2048, "model_id": 256}
DATASET_LENGTHS = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}
INPUT_TAG_LENGTHS = (255, 500)  # key, value
MOST_ORDERS = 32  # terms of an order: each may be a join, and SQLite joins 64 tables at most
MODEL_LENGTH, ENVIRONMENT_LENGTH, ID_LENGTH = 256, 100, 200
LAST_MS = 253_402_300_799_999  # of the year 9999: no date is later
METRICS_A_BATCH, PAIRS_A_BATCH, ITEMS_A_BATCH = 1000, 100, 1000

_KEY = re.compile(r"[/\w.\- :]*")
_RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")


def require_key(key: str, what: str, path: str = "key") -> None:
    """Raises InvalidInput for a name of a metric, param or tag that cannot be stored or be a path in a URL."""
    problem = _problem(key, what)
    if problem is not None:
        raise InvalidInput(problem.replace("<path>", path))


@lru_cache(4096)  # a loop logs the same few names for hours
def _problem(key: str, what: str) -> str | None:
    if not key:
        return "Missing value for required parameter '<path>'."
    given = f"Invalid value {json.dumps(key)} for parameter '<path>' supplied:"
    if not _KEY.fullmatch(key):
        return (
            f"{given} Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), "
            "colons (:) and slashes (/)."
        )
    normal = posixpath.normpath(key)
    if normal != key or normal == "." or normal.startswith(("..", "/")):
        return (
            f"{given} Names may be treated as files in certain cases, and must not resolve to other names when treated "
            f"as such. This name would resolve to {normal!r}."
        )
    return f"{what} name exceeds the maximum length of {KEY_LENGTH} characters." if len(key) > KEY_LENGTH else None


def require_text(text: str, limit: int, path: str) -> str:
    """The text. Raises InvalidInput for one that is too long or has a NUL."""
    if len(text) > limit:
        raise InvalidInput(f"'{path}' exceeds the maximum length of {limit} characters: it has {len(text)}.")
    return without_nul(text, path)


def cut_text(text: str, limit: int, path: str) -> str:
    """The text, or its beginning. Raises InvalidInput for one with a NUL."""
    return without_nul(text[:limit], path)


def without_nul(text: str, path: str) -> str:
    """The text. Raises InvalidInput for one with a NUL, which PostgreSQL cannot store."""
    if "\0" in text:
        raise InvalidInput(f"'{path}' has a NUL character, which cannot be stored.")
    return text


def require_limit(limit: int) -> int:
    """The length of a list. Raises InvalidInput for none, and for one that could fill the memory of a server."""
    if not 1 <= limit <= LONGEST_LIST:
        raise InvalidInput(f"limit is {limit}, expected 1 to {LONGEST_LIST}.")
    return limit


def require_name(name: str, limit: int, path: str) -> None:
    """Raises InvalidInput for a name or an id that is empty or too long."""
    if not 1 <= len(name) <= limit:
        raise InvalidInput(f"'{path}' has {len(name)} characters, expected 1 to {limit}.")


def require_time(at: int | None, path: str) -> None:
    """Raises InvalidInput for what is no date, such as nanoseconds in the place of milliseconds."""
    if at is not None and not 0 <= at <= LAST_MS:
        raise InvalidInput(f"'{path}' is {at}, expected milliseconds since 1970, at most {LAST_MS}.")


def require_times(record: msgspec.Struct) -> None:
    """The same for all times of a record, which are called like `created_at`."""
    for name in record.__struct_fields__:
        if name.endswith("_at"):
            require_time(getattr(record, name), name)


def require_unique(keys: Sequence[str]) -> None:
    """Raises InvalidInput for params that are given twice in one request."""
    twice = sorted(key for key, count in Counter(keys).items() if count > 1)
    if twice:
        raise InvalidInput(f"Duplicate parameter keys have been submitted: {', '.join(twice)}.")


def require_run_id(run_id: str) -> None:
    """Raises InvalidInput for what cannot be the id of a run."""
    if not _RUN_ID.fullmatch(run_id):
        raise InvalidInput(f"Invalid value {json.dumps(run_id)} for parameter 'run_id' supplied.")


def require_batch(metrics: Sequence[object], params: Sequence[object], tags: Sequence[object]) -> None:
    """Raises InvalidInput for a batch that holds more than MLflow's server takes."""
    counts = (
        ("metrics", len(metrics), METRICS_A_BATCH),
        ("params", len(params), PAIRS_A_BATCH),
        ("tags", len(tags), PAIRS_A_BATCH),
        ("metrics, params, and tags", len(metrics) + len(params) + len(tags), ITEMS_A_BATCH),
    )
    for what, count, limit in counts:
        if count > limit:
            raise InvalidInput(
                f"A batch logging request can contain at most {limit} {what}. Got {count} {what}.",
                hint="split it over several requests",
            )
