"""Aliases: movable names of versions, each move kept with who, when and why.

`admission` says which of them stand for an environment, and what may enter it; whoever moves an alias because somebody
asked for it (and not because a rollout ended) asks there first.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, or_, select

from lockgate.entities import AliasChange
from lockgate.errors import Conflict, InvalidInput, NotFound
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.environments import environments_of
from lockgate.metadata.events import append_event
from lockgate.metadata.limits import REASON_LENGTH, require_text
from lockgate.metadata.models import get_model, is_prompt, touch_model
from lockgate.metadata.outbox import enqueue
from lockgate.metadata.pairs import pairs_of
from lockgate.metadata.tables import alias_changes, aliases, model_versions, releases, rollouts
from lockgate.metadata.versions import get_version, set_stage, version_aliases
from lockgate.project import alias_problem

LATEST = "latest"


def set_alias(tx: Tx, name: str, alias: str, version: int, *, reason: str = "") -> bool:
    """Point `alias` at `version`; True where that moved it. Raises NotFound, InvalidInput for what is no alias."""
    if problem := alias_problem(alias):
        raise InvalidInput(problem)
    get_version(tx.connection, name, version)
    before = find_alias(tx.connection, name, alias)
    if before == version:
        return False
    tx.connection.execute(
        upsert(tx.is_sqlite, aliases)
        .values(name=name, alias=alias, version=version)
        .on_conflict_do_update(index_elements=["name", "alias"], set_={"version": version})
    )
    _record(tx, name, alias, before, version, reason)
    _restage(tx, name, alias, before, version)
    return True


def delete_alias(tx: Tx, name: str, alias: str, *, reason: str = "") -> bool:
    """True where the model had such an alias. Raises NotFound where there is no such model."""
    get_model(tx.connection, name)
    before = find_alias(tx.connection, name, alias)
    if before is None:
        return False
    tx.connection.execute(delete(aliases).where(aliases.c.name == name, aliases.c.alias == alias))
    _record(tx, name, alias, before, None, reason)
    _restage(tx, name, alias, before, None)
    return True


def delete_version(tx: Tx, name: str, version: int) -> None:
    """A version with its aliases. Raises Conflict where it is a release, or has been in a rollout."""
    get_version(tx.connection, name, version)
    if tx.connection.scalar(select(releases.c.version).where(releases.c.name == name, releases.c.version == version)):
        raise Conflict(f"{name}@{version} is a release and cannot be deleted: what was released is kept.")
    of_version = (rollouts.c.model == name, rollouts.c.version == version)
    if tx.connection.scalar(select(rollouts.c.rollout_id).where(*of_version).limit(1)):
        raise Conflict(f"{name}@{version} has rollouts and cannot be deleted: what was rolled out is kept.")
    for alias in version_aliases(tx.connection, name, version):
        delete_alias(tx, name, alias, reason="version deleted")
    t = model_versions.c
    tx.connection.execute(delete(model_versions).where(t.name == name, t.version == version))
    touch_model(tx, name)
    append_event(tx, "version.deleted", f"{name}@{version}")


def find_alias(connection: Connection, name: str, alias: str) -> int | None:
    return connection.scalar(select(aliases.c.version).where(aliases.c.name == name, aliases.c.alias == alias))


def get_alias(connection: Connection, name: str, alias: str) -> int:
    """Raises NotFound naming the aliases that are there."""
    version = find_alias(connection, name, alias)
    if version is None:
        get_model(connection, name)
        known = ", ".join(list_aliases(connection, name)) or "none"
        raise NotFound(
            f"model {name!r} has no alias {alias!r}; it has: {known}.",
            hint=f"lockgate models alias {name} {alias} --version N",
        )
    return version


def list_aliases(connection: Connection, name: str) -> dict[str, int]:
    return dict(aliases_of_models(connection, [name]).get(name, ()))


def aliases_of_models(connection: Connection, names: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """(alias, version) by model, sorted by alias."""
    return pairs_of(connection, aliases, names)


def alias_history(
    connection: Connection, name: str, *, version: int | None = None, before: int | None = None, limit: int
) -> tuple[tuple[AliasChange, ...], int | None]:
    """Moves of all aliases of a model, newest first, and where the older ones begin: None where there are none.

    `before` is what another call said of that. `version` asks only for the moves from and to it.
    """
    t = alias_changes.c
    query = select(alias_changes).where(t.name == name).order_by(t.change_id.desc())
    if version is not None:
        query = query.where(or_(t.from_version == version, t.to_version == version))
    if before is not None:
        query = query.where(t.change_id < before)
    rows = connection.execute(query.limit(limit + 1)).all()
    changes = tuple(
        AliasChange(
            model=row.name,
            alias=row.alias,
            from_version=row.from_version,
            to_version=row.to_version,
            changed_at=row.changed_at,
            changed_by=row.changed_by,
            reason=row.reason,
        )
        for row in rows[:limit]
    )
    return changes, rows[limit - 1].change_id if len(rows) > limit else None


def tell_alias(tx: Tx, name: str, alias: str, after: int | None) -> None:
    """Tell webhooks where it points, or that it is gone."""
    kind = "prompt_alias" if is_prompt(tx.connection, name) else "model_version_alias"
    if after is None:
        enqueue(tx, f"{kind}.deleted", {"name": name, "alias": alias})
    else:
        enqueue(tx, f"{kind}.created", {"name": name, "alias": alias, "version": str(after)})


def _restage(tx: Tx, name: str, alias: str, before: int | None, after: int | None) -> None:
    """MLflow's stages say the same as the environments that are called like them, for clients that go by stages."""
    stages = {
        item.name: item.name.capitalize()
        for item in environments_of(tx.connection, name)
        if item.name.capitalize() in ("Staging", "Production")
    }
    if alias not in stages:
        return
    for version in filter(None, (before, after)):
        held = [stages[other] for other in version_aliases(tx.connection, name, version) if other in stages]
        stage = min(held, default="Archived")  # who is in both is in Production
        now = get_version(tx.connection, name, version)["stage"]
        # A version that comes or goes by its stage is there already.
        if now != stage and (version == after or now == stages[alias]):
            set_stage(tx, name, version, stage)


def _record(tx: Tx, name: str, alias: str, before: int | None, after: int | None, reason: str) -> None:
    tx.connection.execute(
        insert(alias_changes),
        {
            "name": name,
            "alias": alias,
            "from_version": before,
            "to_version": after,
            "changed_at": tx.at,
            "changed_by": tx.by,
            "reason": require_text(reason, REASON_LENGTH, "reason"),
        },
    )
    tell_alias(tx, name, alias, after)
    append_event(tx, "alias.moved", name, {"alias": alias, "from": before, "to": after, "reason": reason})
