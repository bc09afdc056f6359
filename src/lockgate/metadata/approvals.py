"""Approvals: somebody's word that a version may enter an environment. Said once, kept as long as the version."""

from msgspec.structs import replace
from sqlalchemy import Connection, RowMapping, insert, select

from lockgate.entities import Approval
from lockgate.errors import NotFound
from lockgate.metadata.database import Tx
from lockgate.metadata.environments import list_environments
from lockgate.metadata.events import append_event
from lockgate.metadata.limits import REASON_LENGTH, require_text, require_times
from lockgate.metadata.tables import approvals
from lockgate.metadata.versions import get_version


def approve(tx: Tx, approval: Approval) -> Approval:
    """The recorded approval; the first word of an approver about a version and environment stands.

    It counts for the environment of that name, in capitals or not. Raises NotFound where others are declared.
    """
    require_times(approval)
    get_version(tx.connection, approval.model, approval.version)
    approval = replace(approval, environment=_declared(tx.connection, approval))
    t = approvals.c
    row = (
        tx.connection.execute(
            select(approvals).where(
                t.name == approval.model,
                t.version == approval.version,
                t.environment == approval.environment,
                t.approver == approval.approver,
            )
        )
        .mappings()
        .first()
    )
    if row is not None:
        return _approval(row)
    tx.connection.execute(
        insert(approvals),
        {
            "name": approval.model,
            "version": approval.version,
            "environment": approval.environment,
            "approver": approval.approver,
            "approved_at": approval.approved_at,
            "comment": require_text(approval.comment, REASON_LENGTH, "comment"),
        },
    )
    details = {"environment": approval.environment, "approver": approval.approver, "comment": approval.comment}
    append_event(tx, "version.approved", f"{approval.model}@{approval.version}", details)
    return approval


def list_approvals(connection: Connection, name: str, version: int, environment: str | None) -> tuple[Approval, ...]:
    """Oldest first; of one environment or of all."""
    t = approvals.c
    query = select(approvals).where(t.name == name, t.version == version).order_by(t.approved_at, t.approver)
    if environment is not None:
        query = query.where(t.environment == environment)
    return tuple(_approval(row) for row in connection.execute(query).mappings())


def _declared(connection: Connection, approval: Approval) -> str:
    """The environment as it is written where it is declared."""
    known = {item.name.lower(): item.name for item in list_environments(connection, approval.model)}
    if known and approval.environment.lower() not in known:
        raise NotFound(
            f"{approval.model} has no environment {approval.environment!r}; it has: {', '.join(known.values())}.",
            hint="lockgate run tells the server of those in lockgate.yaml",
        )
    return known.get(approval.environment.lower(), approval.environment)


def _approval(row: RowMapping) -> Approval:
    return Approval(
        model=row["name"],
        version=row["version"],
        environment=row["environment"],
        approver=row["approver"],
        approved_at=row["approved_at"],
        comment=row["comment"],
    )
