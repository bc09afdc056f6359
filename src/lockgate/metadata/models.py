"""Registered models: a name that versions, aliases and releases hang on. `team/churn` is the model churn in a folder.

A prompt of MLflow is a registered model with the tag `PROMPT_TAG`.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from lockgate.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.events import append_event, append_events
from lockgate.metadata.limits import DESCRIPTION_LENGTH, require_text
from lockgate.metadata.outbox import enqueue
from lockgate.metadata.pairs import pairs_of
from lockgate.metadata.patterns import fits_any
from lockgate.metadata.tables import (
    aliases,
    model_versions,
    registered_model_tags,
    registered_models,
    releases,
    rollouts,
)
from lockgate.metadata.tags import require_valid_tag

PROMPT_TAG = "mlflow.prompt.is_prompt"
# Tags by which MLflow's clients know a prompt; who is told of one does not hear of them.
PROMPT_MARKS = (PROMPT_TAG, "_mlflow_prompt_type")
_MAX_NAME = 256


def create_model(tx: Tx, name: str, *, description: str = "", tags: Mapping[str, str] | None = None) -> None:
    """Raises AlreadyExists, or InvalidInput for a name that no URL could carry."""
    _require_valid(name)
    given = dict(tags or {})
    wanted = "prompt" if marks_prompt(given) else "registered model"
    if find_model(tx.connection, name) is not None:
        taken = "prompt" if is_prompt(tx.connection, name) else "registered model"
        if taken == wanted:
            raise AlreadyExists(f"Registered Model (name={name}) already exists.")
        raise AlreadyExists(f"the {taken} {name!r} exists already, so there can be no {wanted} of that name.")
    tx.connection.execute(
        insert(registered_models),
        {
            "name": name,
            "description": require_text(description, DESCRIPTION_LENGTH, "description"),
            "created_at": tx.at,
            "updated_at": tx.at,
            "created_by": tx.by,
            "last_version": 0,
        },
    )
    for key, value in given.items():
        _put_tag(tx, name, key, value)
    append_event(tx, "model.created", name)
    if wanted == "prompt":
        shown = {key: value for key, value in given.items() if key not in PROMPT_MARKS}
        enqueue(tx, "prompt.created", {"name": name, "tags": shown, "description": description})
    else:
        enqueue(tx, "registered_model.created", {"name": name, "tags": given, "description": description})


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
        raise NotFound(f"Registered Model with name={name} not found.", hint="lockgate models lists them all")
    return row


def list_models(
    connection: Connection,
    *,
    prefix: str = "",
    seen: Sequence[str] | None = None,
    after: str = "",
    limit: int | None = None,
) -> Sequence[RowMapping]:
    """By name, those after `after`; `team/` lists what is in that folder, `seen` only what fits one of its patterns."""
    t = registered_models.c
    query = select(registered_models).where(fits_any(connection, [f"{prefix}*"], t.name), t.name > after)
    query = query.where(fits_any(connection, seen, t.name))
    return connection.execute(query.order_by(t.name).limit(limit)).mappings().all()


def tags_of_models(connection: Connection, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """(key, value) by model, sorted by key."""
    return pairs_of(connection, registered_model_tags, names)


def model_tags(connection: Connection, name: str) -> dict[str, str]:
    return dict(tags_of_models(connection, [name]).get(name, ()))


def is_prompt(connection: Connection, name: str) -> bool:
    return marks_prompt(model_tags(connection, name))


def marks_prompt(tags: Mapping[str, str]) -> bool:
    return tags.get(PROMPT_TAG, "").lower() == "true"


def set_model_tag(tx: Tx, name: str, key: str, value: str) -> None:
    """Raises NotFound, InvalidInput."""
    get_model(tx.connection, name)
    _put_tag(tx, name, key, value)
    if is_prompt(tx.connection, name):
        enqueue(tx, "prompt_tag.set", {"name": name, "key": key, "value": value})


def delete_model_tag(tx: Tx, name: str, key: str) -> None:
    """Nothing happens where there is no such tag. Raises NotFound where there is no such model."""
    get_model(tx.connection, name)
    t = registered_model_tags.c
    tx.connection.execute(delete(registered_model_tags).where(t.name == name, t.key == key))
    if is_prompt(tx.connection, name):
        enqueue(tx, "prompt_tag.deleted", {"name": name, "key": key})


def describe_model(tx: Tx, name: str, description: str) -> None:
    get_model(tx.connection, name)
    touch_model(tx, name, description=require_text(description, DESCRIPTION_LENGTH, "description"))


def rename_model(tx: Tx, name: str, new_name: str) -> None:
    """Raises Conflict where the model has releases or rollouts: records, traffic and files carry its name."""
    _require_valid(new_name)
    get_model(tx.connection, name)
    _require_unused(tx.connection, name, "renamed")
    if new_name != name and find_model(tx.connection, new_name) is not None:
        raise AlreadyExists(f"Registered Model (name={new_name}) already exists.")
    touch_model(tx, name, name=new_name)
    tx.connection.execute(update(model_versions).where(model_versions.c.name == new_name).values(updated_at=tx.at))
    append_event(tx, "model.renamed", new_name, {"from": name})


def delete_model(tx: Tx, name: str) -> None:
    """With its versions and aliases. Raises Conflict where the model has releases or rollouts."""
    get_model(tx.connection, name)
    _require_unused(tx.connection, name, "deleted")
    gone = pairs_of(tx.connection, aliases, [name]).get(name, ())
    why = {"to": None, "reason": "model deleted"}
    append_events(tx, "alias.moved", [(name, {"alias": alias, "from": was, **why}) for alias, was in gone])
    tx.connection.execute(delete(registered_models).where(registered_models.c.name == name))
    append_event(tx, "model.deleted", name)


def next_version(tx: Tx, name: str) -> int:
    """Take the model's next version number. Raises NotFound."""
    number = int(get_model(tx.connection, name)["last_version"]) + 1
    touch_model(tx, name, last_version=number)
    return number


def touch_model(tx: Tx, model: str, /, **values: str | int) -> None:
    """Something of the model has changed now."""
    tx.connection.execute(
        update(registered_models).where(registered_models.c.name == model).values(updated_at=tx.at, **values)
    )


def _put_tag(tx: Tx, name: str, key: str, value: str) -> None:
    require_valid_tag(key, value)
    tx.connection.execute(
        upsert(tx.is_sqlite, registered_model_tags)
        .values(name=name, key=key, value=value)
        .on_conflict_do_update(index_elements=["name", "key"], set_={"value": value})
    )


def _require_unused(connection: Connection, name: str, verb: str) -> None:
    count = connection.scalar(select(func.count()).select_from(releases).where(releases.c.name == name))
    if count:
        raise Conflict(f"{name!r} has {count} releases and cannot be {verb}: what was released is kept.")
    if connection.scalar(select(rollouts.c.rollout_id).where(rollouts.c.model == name).limit(1)) is not None:
        raise Conflict(f"{name!r} has rollouts and cannot be {verb}: what was rolled out is kept.")


def _require_valid(name: str) -> None:
    if not name.strip():
        raise InvalidInput("a registered model needs a name.")
    if len(name) > _MAX_NAME:
        raise InvalidInput(f"the name of a registered model has at most {_MAX_NAME} characters, not {len(name)}.")
    if any(c in name for c in ":@\\") or any(ord(c) < 32 for c in name):
        raise InvalidInput(f"{name!r} cannot name a registered model: : @ \\ have a meaning in model URIs.")
    if "%2f" in name.lower():
        raise InvalidInput(f"{name!r} cannot name a registered model: %2F is how MLflow's clients write a slash.")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidInput(f"{name!r} cannot name a registered model: a folder in it is empty, . or ..")
