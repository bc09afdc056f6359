"""Registered models: a name that versions, aliases and releases hang on."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from lockgate.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.events import append_event
from lockgate.metadata.tables import registered_model_tags, registered_models, releases

_MAX_NAME = 256


def create_model(tx: Tx, name: str, *, description: str = "", tags: Mapping[str, str] | None = None) -> None:
    """Raises AlreadyExists, or InvalidInput for a name that no URL could carry."""
    _require_valid(name)
    if find_model(tx.connection, name) is not None:
        raise AlreadyExists(f"the registered model {name!r} exists already.")
    tx.connection.execute(
        insert(registered_models),
        {
            "name": name,
            "description": description,
            "created_at": tx.at,
            "updated_at": tx.at,
            "created_by": tx.by,
            "last_version": 0,
        },
    )
    for key, value in (tags or {}).items():
        set_model_tag(tx, name, key, value)
    append_event(tx, "model.created", name)


def ensure_model(tx: Tx, name: str) -> None:
    """Create the model where there is none."""
    if find_model(tx.connection, name) is None:
        create_model(tx, name)


def find_model(connection: Connection, name: str) -> RowMapping | None:
    return connection.execute(select(registered_models).where(registered_models.c.name == name)).mappings().first()


def get_model(connection: Connection, name: str) -> RowMapping:
    """Raises NotFound."""
    row = find_model(connection, name)
    if row is None:
        raise NotFound(f"there is no registered model {name!r}.", hint="lockgate models lists them all")
    return row


def list_models(connection: Connection) -> Sequence[RowMapping]:
    """By name."""
    return connection.execute(select(registered_models).order_by(registered_models.c.name)).mappings().all()


def model_tags(connection: Connection, name: str) -> dict[str, str]:
    t = registered_model_tags.c
    return {row.key: row.value for row in connection.execute(select(t.key, t.value).where(t.name == name))}


def set_model_tag(tx: Tx, name: str, key: str, value: str) -> None:
    get_model(tx.connection, name)
    tx.connection.execute(
        upsert(tx.is_sqlite, registered_model_tags)
        .values(name=name, key=key, value=value)
        .on_conflict_do_update(index_elements=["name", "key"], set_={"value": value})
    )


def delete_model_tag(tx: Tx, name: str, key: str) -> None:
    get_model(tx.connection, name)
    t = registered_model_tags.c
    tx.connection.execute(delete(registered_model_tags).where(t.name == name, t.key == key))


def describe_model(tx: Tx, name: str, description: str) -> None:
    get_model(tx.connection, name)
    _touch(tx, name, description=description)


def rename_model(tx: Tx, name: str, new_name: str) -> None:
    """Raises Conflict where the model has releases: records, traffic and files carry its name."""
    _require_valid(new_name)
    get_model(tx.connection, name)
    _require_unreleased(tx.connection, name, "renamed")
    if find_model(tx.connection, new_name) is not None:
        raise AlreadyExists(f"the registered model {new_name!r} exists already.")
    _touch(tx, name, name=new_name)
    append_event(tx, "model.renamed", new_name, {"from": name})


def delete_model(tx: Tx, name: str) -> None:
    """With its versions and aliases. Raises Conflict where the model has releases."""
    get_model(tx.connection, name)
    _require_unreleased(tx.connection, name, "deleted")
    tx.connection.execute(delete(registered_models).where(registered_models.c.name == name))
    append_event(tx, "model.deleted", name)


def next_version(tx: Tx, name: str) -> int:
    """Take the model's next version number. Raises NotFound."""
    number = int(get_model(tx.connection, name)["last_version"]) + 1
    _touch(tx, name, last_version=number)
    return number


def _touch(tx: Tx, model: str, /, **values: str | int) -> None:
    tx.connection.execute(
        update(registered_models).where(registered_models.c.name == model).values(updated_at=tx.at, **values)
    )


def _require_unreleased(connection: Connection, name: str, verb: str) -> None:
    count = connection.scalar(select(func.count()).select_from(releases).where(releases.c.name == name))
    if count:
        raise Conflict(f"{name!r} has {count} releases and cannot be {verb}: what was released is kept.")


def _require_valid(name: str) -> None:
    if not name.strip():
        raise InvalidInput("a registered model needs a name.")
    if len(name) > _MAX_NAME:
        raise InvalidInput(f"the name of a registered model has at most {_MAX_NAME} characters, not {len(name)}.")
    if any(c in name for c in "/:@\\") or any(ord(c) < 32 for c in name):
        raise InvalidInput(f"{name!r} cannot name a registered model: / : @ \\ have a meaning in model URIs.")
