"""Releases: the record behind a version, written once in the transaction that makes the version."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, insert, select

from lockgate.entities import HOW_TO_RELEASE, Release
from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event
from lockgate.metadata.limits import require_times
from lockgate.metadata.models import ensure_model
from lockgate.metadata.tables import releases
from lockgate.metadata.versions import create_version, get_version, is_among

_decoder = msgspec.json.Decoder(Release)


def create_release(tx: Tx, release: Release, *, source: str) -> Release:
    """The release with the version it was given; `source` is where MLflow's clients find its files.

    Raises InvalidInput for a verdict that contradicts itself, and for what is no time.
    """
    require_times(release)
    if release.verdict is not None and release.verdict.passed and release.verdict.refusals:
        refused = ", ".join(check.gate for check in release.verdict.refusals)
        raise InvalidInput(f"a verdict that passed cannot be one that gates refused: {refused}.")
    ensure_model(tx, release.model)
    version = create_version(tx, release.model, source=source, run_id=release.run_id)
    created = msgspec.structs.replace(release, version=version)
    tx.connection.execute(
        insert(releases),
        {
            "name": created.model,
            "version": version,
            "content_digest": created.content.digest,
            "record": msgspec.json.encode(created).decode(),
        },
    )
    subject = f"{created.model}@{version}"
    append_event(tx, "release.created", subject, {"digest": created.content.digest, "commit": created.commit})
    if created.verdict is not None:
        refused = ", ".join(check.gate for check in created.verdict.refusals)
        append_event(tx, "gate.decided", subject, {"passed": created.verdict.passed, "refused_by": refused})
    return created


def get_release(connection: Connection, name: str, version: int) -> Release:
    """Raises NotFound, also for a version that was registered from outside and never released."""
    release = find_release_of(connection, name, version)
    if release is None:
        get_version(connection, name, version)
        raise NotFound(f"{name}@{version} was registered from outside: it has no release record.", hint=HOW_TO_RELEASE)
    return release


def find_release_of(connection: Connection, name: str, version: int) -> Release | None:
    """The release that a version is."""
    record = connection.scalar(select(releases.c.record).where(releases.c.name == name, releases.c.version == version))
    return None if record is None else _decoder.decode(record)


def list_releases(connection: Connection, name: str, *, before: int | None = None, limit: int) -> tuple[Release, ...]:
    """Newest first, of those with a number below `before`."""
    t = releases.c
    query = select(t.record).where(t.name == name).order_by(t.version.desc()).limit(limit)
    if before is not None:
        query = query.where(t.version < before)
    return tuple(_decoder.decode(record) for record in connection.scalars(query))


def releases_of_versions(connection: Connection, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Release]:
    """By (name, version)."""
    t = releases.c
    query = select(t.name, t.version, t.record).where(is_among(keys, t.name, t.version))
    return {(name, version): _decoder.decode(record) for name, version, record in connection.execute(query)}


def has_releases(connection: Connection, name: str) -> bool:
    return connection.scalar(select(releases.c.version).where(releases.c.name == name).limit(1)) is not None


def has_verdicts(connection: Connection, name: str) -> bool:
    """Whether gates have said anything of any release of the model."""
    t = releases.c
    # A param may be called so, too; no more is read than one record of those that were not judged.
    records = connection.scalars(select(t.record).where(t.name == name, t.record.contains('"verdict":')))
    return any(_decoder.decode(record).verdict is not None for record in records)


def find_release(connection: Connection, name: str, content_digest: str) -> Release | None:
    """The newest release of the model with exactly that content."""
    t = releases.c
    query = select(t.record).where(t.name == name, t.content_digest == content_digest)
    record = connection.scalar(query.order_by(t.version.desc()).limit(1))
    return None if record is None else _decoder.decode(record)


def models_naming(connection: Connection, digest: str) -> tuple[str, ...]:
    """The models with a release whose record holds the digest, of whatever it is. Reads all releases."""
    t = releases.c
    return tuple(connection.scalars(select(t.name).where(t.record.contains(digest, autoescape=True)).distinct()))


def is_released(connection: Connection, content_digest: str) -> bool:
    """Whether any release has that content: only then may its files be read from outside."""
    query = select(releases.c.version).where(releases.c.content_digest == content_digest).limit(1)
    return connection.scalar(query) is not None
