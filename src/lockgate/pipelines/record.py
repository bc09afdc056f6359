"""What a stage read and what it wrote: the memory of the engine, in the lock file and among the results by identity."""

from typing import Any

import msgspec

from lockgate.entities import Content, Record
from lockgate.hashing import digest_canonical


class Inputs(Record, frozen=True, kw_only=True):
    """All that a stage's outputs may depend on. Two equal `Inputs` have one `key`, and one result."""

    commands: tuple[str, ...]
    wdir: str
    deps: dict[str, Content]
    params: dict[str, Any]  # values of YAML: scalars and lists
    env: dict[str, str]
    outs: tuple[str, ...]

    @property
    def key(self) -> str:
        """The cache key."""
        return digest_canonical(
            "stage",
            {
                "cmd": self.commands,
                "wdir": self.wdir,
                "deps": {path: f"{content.kind}:{content.digest}" for path, content in self.deps.items()},
                "params": self.params,
                "env": self.env,
                "outs": sorted(self.outs),
            },
        )


class StageRecord(Record, frozen=True, kw_only=True):
    """One finished stage. `executable` names the outputs that are single executable files."""

    inputs: Inputs
    outs: dict[str, Content]
    executable: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(StageRecord)


def encode_record(record: StageRecord) -> bytes:
    return msgspec.json.encode(record)


def decode_record(data: bytes | None) -> StageRecord | None:
    """None for what no version of ours wrote: a result that cannot be read is a result that is not there."""
    if data is None:
        return None
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        return None
