"""Model versions: numbered, immutable in what they are, open to tags and a description."""

from collections.abc import Mapping, Sequence

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import driver
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.events import append_event, append_events
from lockgate.metadata.limits import DESCRIPTION_LENGTH, VERSION_LENGTHS, require_text
from lockgate.metadata.models import PROMPT_MARKS, is_prompt, marks_prompt, next_version, touch_model
from lockgate.metadata.outbox import enqueue
from lockgate.metadata.tables import aliases, model_version_tags, model_versions, registered_models
from lockgate.metadata.tags import require_valid_tag

PROMPT_TEXT_TAG = "mlflow.prompt.text"
MAX_VERSION = 2**31 - 1
# Not grouped: of a model with thousands of versions only the last entry of an index is read.
_NEWEST = (
    "SELECT name, (SELECT MAX(version) FROM model_versions AS of_model WHERE of_model.name = registered_models.name) "
    "FROM registered_models WHERE name IN ?"
)
STAGES = ("None", "Staging", "Production", "Archived")


def create_version(
    tx: Tx,
    name: str,
    *,
    source: str,
    location: str | None = None,
    run_id: str = "",
    run_link: str = "",
    model_id: str = "",
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> int:
    """The number of the new version. Raises NotFound where the model is missing.

    `location` is where the files are when `source` only names another version or a logged model.
    """
    made_of = {"source": source, "run_id": run_id, "run_link": run_link, "model_id": model_id}
    for what, text in made_of.items():
        require_text(text, VERSION_LENGTHS[what], what)
    version = next_version(tx, name)
    tx.connection.execute(
        insert(model_versions),
        {
            "name": name,
            "version": version,
            "created_at": tx.at,
            "updated_at": tx.at,
            "created_by": tx.by,
            "description": require_text(description, DESCRIPTION_LENGTH, "description"),
            **made_of,
            "stage": "None",
            "location": location,
        },
    )
    given = dict(tags or {})
    for key, value in given.items():
        _put_tag(tx, name, version, key, value)
    append_event(tx, "version.created", f"{name}@{version}", {"run_id": run_id})
    told: dict[str, object] = {"name": name, "version": str(version), "description": description or None}
    if marks_prompt(given):  # as MLflow's server does: not the model's mark decides, but the version's own
        shown = {key: value for key, value in given.items() if key not in (*PROMPT_MARKS, PROMPT_TEXT_TAG)}
        enqueue(tx, "prompt_version.created", {**told, "template": given.get(PROMPT_TEXT_TAG), "tags": shown})
    else:
        enqueue(tx, "model_version.created", {**told, "source": source, "run_id": run_id or None, "tags": given})
    return version


def get_version(connection: Connection, name: str, version: int) -> RowMapping:
    """Raises NotFound naming the versions that are there."""
    t = model_versions.c
    row = None
    if 0 < version <= MAX_VERSION:  # PostgreSQL refuses to look for what its column could not hold
        row = connection.execute(select(model_versions).where(t.name == name, t.version == version)).mappings().first()
    if row is None:
        newest = newest_version(connection, name)
        there = f"its newest is {newest}" if newest else "it has none"
        raise NotFound(
            f"Model Version (name={name}, version={version}) not found; {there}.", hint=f"lockgate models show {name}"
        )
    return row


def list_versions(connection: Connection, name: str, *, before: int | None = None, limit: int) -> Sequence[RowMapping]:
    """Newest first, of those with a number below `before`."""
    t = model_versions.c
    query = select(model_versions).where(t.name == name).order_by(t.version.desc()).limit(limit)
    if before is not None:
        query = query.where(t.version < before)
    return connection.execute(query).mappings().all()


def newest_of_each(connection: Connection, names: Sequence[str], *, limit: int) -> Sequence[RowMapping]:
    """The newest versions of each of the models, newest first."""
    t, of_model = model_versions.c, model_versions.alias("of_model")
    # Of a model with thousands of versions only the last entries of an index are read.
    oldest = select(of_model.c.version).where(of_model.c.name == registered_models.c.name)
    oldest = oldest.order_by(of_model.c.version.desc()).offset(limit - 1).limit(1)
    is_new = t.version >= func.coalesce(oldest.scalar_subquery(), 0)
    query = select(model_versions).where(
        t.name == registered_models.c.name, registered_models.c.name.in_(names), is_new
    )
    query = query.order_by(t.name, t.version.desc())
    return connection.execute(query).mappings().all()


def latest_versions(connection: Connection, names: Sequence[str], stages: Sequence[str] = ()) -> Sequence[RowMapping]:
    """Of each model the newest version in each stage (all stages where none is named).

    The stages come in the order of the oldest version that each has, as in MLflow's server.
    """
    t = model_versions.c
    of_stages = select(t.name, func.max(t.version).label("newest"), func.min(t.version).label("oldest"))
    of_stages = of_stages.where(t.name.in_(names)).group_by(t.name, t.stage)
    if stages:
        of_stages = of_stages.where(t.stage.in_({_stage(stage) for stage in stages}))
    found = of_stages.subquery()
    query = select(model_versions).join(found, and_(t.name == found.c.name, t.version == found.c.newest))
    return connection.execute(query.order_by(t.name, found.c.oldest)).mappings().all()


def newest_version(connection: Connection, name: str) -> int | None:
    return newest_versions(connection, [name]).get(name)


def newest_versions(connection: Connection, names: Sequence[str]) -> dict[str, int | None]:
    """By model."""
    return dict(driver.rows_among(connection, _NEWEST, among=names))


def version_aliases(connection: Connection, name: str, version: int) -> tuple[str, ...]:
    query = select(aliases.c.alias).where(aliases.c.name == name, aliases.c.version == version)
    return tuple(connection.scalars(query.order_by(aliases.c.alias)))


def tags_of_versions(
    connection: Connection, keys: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], list[tuple[str, str]]]:
    """(key, value) by (name, version)."""
    t = model_version_tags.c
    query = select(t.name, t.version, t.key, t.value).where(is_among(keys, t.name, t.version)).order_by(t.key)
    found: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for name, version, key, value in connection.execute(query):
        found.setdefault((name, version), []).append((key, value))
    return found


def aliases_of_versions(connection: Connection, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[str]]:
    """Aliases by (name, version)."""
    t = aliases.c
    query = select(t.name, t.version, t.alias).where(is_among(keys, t.name, t.version)).order_by(t.alias)
    found: dict[tuple[str, int], list[str]] = {}
    for name, version, alias in connection.execute(query):
        found.setdefault((name, version), []).append(alias)
    return found


def is_among(
    keys: Sequence[tuple[str, int]], name: ColumnElement[str], version: ColumnElement[int]
) -> ColumnElement[bool]:
    """All keys in one parameter: of one each, PostgreSQL runs out of stack and SQLite reads the table whole.

    An object, because that is what `json_each` takes on both.
    """
    listed = literal({str(place): key for place, key in enumerate(keys)}, JSON())
    wanted = func.json_each(listed).table_valued(column("value", JSON()), name="wanted")
    return and_(name == wanted.c.value[0].as_string(), version == wanted.c.value[1].as_integer())


def set_version_tag(tx: Tx, name: str, version: int, key: str, value: str) -> None:
    """Raises NotFound, InvalidInput."""
    get_version(tx.connection, name, version)
    _put_tag(tx, name, version, key, value)
    kind = "prompt_version_tag" if is_prompt(tx.connection, name) else "model_version_tag"
    enqueue(tx, f"{kind}.set", {"name": name, "version": str(version), "key": key, "value": value})


def delete_version_tag(tx: Tx, name: str, version: int, key: str) -> None:
    """Nothing happens where there is no such tag. Raises NotFound where there is no such version."""
    get_version(tx.connection, name, version)
    t = model_version_tags.c
    tx.connection.execute(delete(model_version_tags).where(t.name == name, t.version == version, t.key == key))
    kind = "prompt_version_tag" if is_prompt(tx.connection, name) else "model_version_tag"
    enqueue(tx, f"{kind}.deleted", {"name": name, "version": str(version), "key": key})


def describe_version(tx: Tx, name: str, version: int, description: str) -> None:
    _update(tx, name, version, description=require_text(description, DESCRIPTION_LENGTH, "description"))


def move_to_stage(tx: Tx, name: str, version: int, stage: str, *, archive_existing: bool) -> None:
    """MLflow's stages, kept for its clients; aliases are what Lockgate goes by."""
    stage = _stage(stage)
    if archive_existing:
        if stage not in ("Staging", "Production"):
            raise InvalidInput(f"archive_existing_versions goes with Staging or Production, not {stage!r}.")
        t = model_versions.c
        others = (t.name == name, t.stage == stage, t.version != version)
        archived = tx.connection.scalars(select(t.version).where(*others).order_by(t.version)).all()
        if archived:  # there may be very many: one statement each for all of them
            tx.connection.execute(update(model_versions).where(*others).values(updated_at=tx.at, stage="Archived"))
            append_events(tx, "version.staged", [(f"{name}@{other}", {"stage": "Archived"}) for other in archived])
    set_stage(tx, name, version, stage)


def set_stage(tx: Tx, name: str, version: int, stage: str) -> None:
    """One of `STAGES`, whatever stages the others are in."""
    _update(tx, name, version, stage=stage)
    touch_model(tx, name)
    append_event(tx, "version.staged", f"{name}@{version}", {"stage": stage})


def _put_tag(tx: Tx, name: str, version: int, key: str, value: str) -> None:
    require_valid_tag(key, value)
    tx.connection.execute(
        upsert(tx.is_sqlite, model_version_tags)
        .values(name=name, version=version, key=key, value=value)
        .on_conflict_do_update(index_elements=["name", "version", "key"], set_={"value": value})
    )


def _update(tx: Tx, name: str, version: int, **values: str) -> None:
    get_version(tx.connection, name, version)
    t = model_versions.c
    tx.connection.execute(
        update(model_versions).where(t.name == name, t.version == version).values(updated_at=tx.at, **values)
    )


def _stage(text: str) -> str:
    for stage in STAGES:
        if stage.lower() == text.lower():
            return stage
    raise InvalidInput(f"there is no stage {text!r}; the stages are {', '.join(STAGES)}.")
