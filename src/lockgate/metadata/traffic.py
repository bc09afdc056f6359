"""The traffic split that each environment's replicas must serve. Its revision only grows."""

import msgspec
from sqlalchemy import Connection, select

from lockgate.entities import Scalar, Traffic
from lockgate.errors import Conflict, InvalidInput
from lockgate.metadata.database import Tx, upsert
from lockgate.metadata.events import append_event
from lockgate.metadata.limits import require_times
from lockgate.metadata.tables import traffic as traffic_table
from lockgate.metadata.versions import get_version

_decoder = msgspec.json.Decoder(Traffic)


def set_traffic(tx: Tx, traffic: Traffic) -> None:
    """Raises Conflict where the stored revision is not below the new one, InvalidInput for shares that are not one."""
    require_times(traffic)
    shares_of = [share.share for share in traffic.shares]
    if not all(share >= 0 for share in shares_of) or not abs(sum(shares_of) - 1.0) <= 1e-9:
        raise InvalidInput(f"the shares of {traffic.environment} must each be 0 or more, and add up to 1.")
    for share in traffic.shares:
        get_version(tx.connection, traffic.model, share.version)
    stored = get_traffic(tx.connection, traffic.model, traffic.environment)
    if stored is not None and stored.revision >= traffic.revision:
        raise Conflict(
            f"the traffic of {traffic.environment} is at revision {stored.revision} already, "
            f"{traffic.revision} was decided on an older one."
        )
    values = {"revision": traffic.revision, "record": msgspec.json.encode(traffic).decode()}
    tx.connection.execute(
        upsert(tx.is_sqlite, traffic_table)
        .values(model=traffic.model, environment=traffic.environment, **values)
        .on_conflict_do_update(index_elements=["model", "environment"], set_=values)
    )
    shares = ", ".join(f"{share.version}: {share.share:.0%}" for share in traffic.shares)
    details: dict[str, Scalar] = {"revision": traffic.revision, "shares": shares}
    append_event(tx, "traffic.changed", f"{traffic.model}/{traffic.environment}", details)


def get_traffic(connection: Connection, model: str, environment: str) -> Traffic | None:
    t = traffic_table.c
    record = connection.scalar(select(t.record).where(t.model == model, t.environment == environment))
    return None if record is None else _decoder.decode(record)


def list_traffic(connection: Connection) -> tuple[Traffic, ...]:
    """Of every model and environment."""
    t = traffic_table.c
    return tuple(_decoder.decode(r) for r in connection.scalars(select(t.record).order_by(t.model, t.environment)))
