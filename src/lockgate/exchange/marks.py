"""The tags of a copy: what it is a copy of, and what of it was copied.

A creation carries `ORIGIN` in the same request, so there is no instant at which a copy exists that nobody can find
again. `CONTENT` is written last; what has it is complete. None of them is copied further or counted.
"""

import msgspec

from lockgate.hashing import digest_canonical
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.mlflow.logged_models import REGISTERED_AS

ORIGIN = "lockgate.copied.from"
CONTENT = "lockgate.copied.content"
INCOMPLETE = "null"  # the content of what was complete once
PREFIX = "lockgate.copied.prefix"  # of an experiment, whose origin several copies may have, each under a prefix
DELETED = "lockgate.copied.deleted"  # by the copy, not by somebody at the destination: true or false
ALIASES = "lockgate.copied.aliases"  # of a registered model, to tell those of the copy from the target's own
VERSIONS = "lockgate.copied.versions"  # of a registered model: the last number that its versions had, deleted ones too
_OWN = (ORIGIN, CONTENT, PREFIX, DELETED, ALIASES, VERSIONS)

# Written by servers themselves: a run's name, and where a logged model is registered.
_OF_SERVERS = ("mlflow.runName", REGISTERED_AS)


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was read from the source for one run, logged model or version, to be counted again at the destination."""

    digest: str  # of the record at the source: another one means that the source has changed since
    points: int = 0
    files: int = 0
    size_bytes: int = 0
    inputs: int | None = None  # models that a run has used; None of a copy from before they were read, which are now

    def is_more_than(self, points: int, files: int, size_bytes: int) -> bool:
        """Of what was copied, something is there no more."""
        return self.points > points or self.files > files or self.size_bytes > size_bytes

    def tag(self) -> Tag:
        return Tag(key=CONTENT, value=msgspec.json.encode(self).decode())


def origin_of(tags: tuple[Tag, ...]) -> str:
    """What it is a copy of; empty for what is none."""
    return next((tag.value for tag in tags if tag.key == ORIGIN), "")


def prefix_of(tags: tuple[Tag, ...]) -> str:
    return next((tag.value for tag in tags if tag.key == PREFIX), "")


def was_deleted(tags: tuple[Tag, ...]) -> bool:
    """By the copy, as it was at the source."""
    return any(tag.key == DELETED and tag.value == "true" for tag in tags)


def aliases_of(tags: tuple[Tag, ...]) -> frozenset[str]:
    """Those that were copied."""
    found = next((tag.value for tag in tags if tag.key == ALIASES), "[]")
    return msgspec.json.decode(found, type=frozenset[str])


def of_aliases(names: set[str]) -> Tag:
    return Tag(key=ALIASES, value=msgspec.json.encode(sorted(names)).decode())


def last_version_of(tags: tuple[Tag, ...]) -> int:
    """0 where none was copied."""
    return int(next((tag.value for tag in tags if tag.key == VERSIONS), "0"))


def of_last_version(number: int) -> Tag:
    return Tag(key=VERSIONS, value=str(number))


def content_of(tags: tuple[Tag, ...]) -> Content | None:
    """None for what is not complete."""
    found = next((tag.value for tag in tags if tag.key == CONTENT), None)
    return None if found is None else msgspec.json.decode(found, type=Content | None)


def copied(tags: tuple[Tag, ...]) -> tuple[Tag, ...]:
    """The tags that are copied and counted."""
    return tuple(tag for tag in tags if tag.key not in (*_OWN, *_OF_SERVERS))


def dated(name: str, created_at_ms: int) -> str:
    """The origin of what is known by a name or number, which other servers may have given as well."""
    return f"{name}@{created_at_ms}"


def digest_of(record: msgspec.Struct) -> str:
    """Of a record as it was read."""
    return digest_canonical("copied", record)
