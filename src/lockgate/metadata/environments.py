"""The environments that a model is promoted through, as its `lockgate.yaml` last declared them to this server.

The file is the truth; this copy lets the server hold clients to it that never saw the file, MLflow's among them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Tx
from lockgate.metadata.models import ensure_model
from lockgate.metadata.releases import has_releases
from lockgate.metadata.tables import environments

_MAX_NAME = 100
_MAX_APPROVALS = 1_000


class KnownEnvironment(NamedTuple):
    """One step of promotion, and how many people must say yes to it."""

    name: str
    approvals: int


def declare_environments(tx: Tx, model: str, approvals: Mapping[str, int], *, may_loosen: bool) -> None:
    """Remember the environments, in the order of promotion, with the approvals that each needs.

    Without `may_loosen` an environment that is known already stays, and none needs fewer approvals than before.
    """
    for name, needed in approvals.items():
        if not name or len(name) > _MAX_NAME or not 0 <= needed <= _MAX_APPROVALS:
            raise InvalidInput(
                f"an environment has a name and 0 to {_MAX_APPROVALS} approvals, not {name!r}: {needed}."
            )
    ensure_model(tx, model)
    wanted = dict(approvals)
    if not may_loosen:
        known = {item.name: item.approvals for item in list_environments(tx.connection, model)}
        kept = {name: needed for name, needed in known.items() if name not in wanted}
        wanted = {**kept, **{name: max(needed, known.get(name, 0)) for name, needed in wanted.items()}}
    tx.connection.execute(delete(environments).where(environments.c.model == model))
    if wanted:
        tx.connection.execute(
            insert(environments),
            [
                {"model": model, "name": name, "position": position, "approvals": needed}
                for position, (name, needed) in enumerate(wanted.items())
            ],
        )


def environments_of(connection: Connection, model: str) -> tuple[KnownEnvironment, ...]:
    """As declared; a model with releases that none were declared for has one, `production`."""
    declared = list_environments(connection, model)
    return declared or ((KnownEnvironment("production", 0),) if has_releases(connection, model) else ())


def list_environments(connection: Connection, model: str) -> tuple[KnownEnvironment, ...]:
    """In the order of promotion; empty where nothing was declared."""
    t = environments.c
    query = select(t.name, t.approvals).where(t.model == model).order_by(t.position)
    return tuple(KnownEnvironment(*row) for row in connection.execute(query))
