"""Rollouts: at most one unfinished one an environment, moved only along `LEGAL_MOVES`, one row a move.

Two that decide at the same time race on `revision`: the second finds it moved on and gets a Conflict.
"""

import msgspec
from sqlalchemy import Connection, insert, select, update

from lockgate.entities import LEGAL_MOVES, Rollout, RolloutTransition, Scalar
from lockgate.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from lockgate.metadata.database import Tx
from lockgate.metadata.events import append_event
from lockgate.metadata.limits import require_times
from lockgate.metadata.tables import rollout_transitions, rollouts
from lockgate.metadata.versions import get_version
from lockgate.project import environment_problems

# What a move may change; everything else is what was begun, an override's reason included.
_MOVED = {"state", "step", "revision", "updated_at", "reason", "baseline_requests", "baseline_errors"}
UNFINISHED = tuple(state for state, moves in LEGAL_MOVES.items() if moves)

_rollout = msgspec.json.Decoder(Rollout)
_transition = msgspec.json.Decoder(RolloutTransition)


def create_rollout(tx: Tx, rollout: Rollout, *, supersede: bool) -> Rollout:
    """Raises Conflict where another rollout of the environment is unfinished and may not be superseded."""
    require_times(rollout)
    get_version(tx.connection, rollout.model, rollout.version)
    if rollout.state != "pending" or rollout.revision != 0:
        raise InvalidInput(f"a rollout starts pending at revision 0, not {rollout.state} at {rollout.revision}.")
    for _, problem in environment_problems([rollout.environment]):
        raise InvalidInput(problem)
    taken = select(rollouts.c.rollout_id).where(rollouts.c.rollout_id == rollout.rollout_id)
    if tx.connection.scalar(taken) is not None:
        raise AlreadyExists(f"the rollout {rollout.rollout_id} exists already.")
    other = current_rollout(tx.connection, rollout.model, rollout.environment)
    if other is not None:
        if not supersede or "superseded" not in LEGAL_MOVES[other.state]:
            raise Conflict(
                f"{other.environment} has an unfinished rollout of {other.model}@{other.version} ({other.state}).",
                hint=f"wait for it, or end it with: lockgate rollback {other.environment}",
            )
        _supersede(tx, other, by_rollout=rollout)
    tx.connection.execute(
        insert(rollouts),
        {
            "rollout_id": rollout.rollout_id,
            "model": rollout.model,
            "environment": rollout.environment,
            "version": rollout.version,
            "state": rollout.state,
            "revision": rollout.revision,
            "created_at": rollout.created_at,
            "record": msgspec.json.encode(rollout).decode(),
        },
    )
    details: dict[str, Scalar] = {
        "rollout_id": rollout.rollout_id,
        "version": rollout.version,
        "strategy": rollout.strategy,
    }
    if rollout.override_reason is not None:
        details["override_reason"] = rollout.override_reason
    append_event(tx, "rollout.created", f"{rollout.model}/{rollout.environment}", details)
    return rollout


def advance_rollout(tx: Tx, rollout: Rollout, transition: RolloutTransition) -> Rollout:
    """Write one move. Raises Conflict for an illegal move and for a revision that somebody else has taken."""
    stored = get_rollout(tx.connection, rollout.rollout_id)
    if transition.rollout_id != rollout.rollout_id or (rollout.state, rollout.revision, rollout.step) != (
        transition.to_state,
        transition.revision,
        transition.step,
    ):
        raise InvalidInput("the transition does not lead to the rollout that is to be stored.")
    if stored.revision != transition.revision - 1:
        raise Conflict(
            f"the rollout {rollout.rollout_id} is at revision {stored.revision}; "
            f"a move to {transition.revision} was decided on an older one."
        )
    if stored.state != transition.from_state or transition.to_state not in LEGAL_MOVES[stored.state]:
        raise Conflict(f"a rollout cannot go from {stored.state} to {transition.to_state}.")
    fixed = [name for name in stored.__struct_fields__ if name not in _MOVED]
    changed = [name for name in fixed if getattr(stored, name) != getattr(rollout, name)]
    if changed:
        raise InvalidInput(f"a move cannot change {', '.join(changed)} of a rollout.")
    _store(tx, rollout, transition)
    return rollout


def get_rollout(connection: Connection, rollout_id: str) -> Rollout:
    """Raises NotFound."""
    record = connection.scalar(select(rollouts.c.record).where(rollouts.c.rollout_id == rollout_id))
    if record is None:
        raise NotFound(f"there is no rollout {rollout_id!r}.")
    return _rollout.decode(record)


def current_rollout(connection: Connection, model: str, environment: str) -> Rollout | None:
    """The unfinished rollout of an environment."""
    t = rollouts.c
    query = select(t.record).where(t.model == model, t.environment == environment, t.state.in_(UNFINISHED))
    record = connection.scalar(query)
    return None if record is None else _rollout.decode(record)


def list_rollouts(connection: Connection, model: str, environment: str | None, *, limit: int) -> tuple[Rollout, ...]:
    """Newest first."""
    t = rollouts.c
    query = select(t.record).where(t.model == model)
    if environment is not None:
        query = query.where(t.environment == environment)
    query = query.order_by(t.created_at.desc(), t.rollout_id.desc()).limit(limit)
    return tuple(_rollout.decode(record) for record in connection.scalars(query))


def list_transitions(connection: Connection, rollout_id: str) -> tuple[RolloutTransition, ...]:
    """In order. Raises NotFound where there is no such rollout."""
    get_rollout(connection, rollout_id)
    t = rollout_transitions.c
    query = select(t.record).where(t.rollout_id == rollout_id).order_by(t.revision)
    return tuple(_transition.decode(record) for record in connection.scalars(query))


def _supersede(tx: Tx, other: Rollout, *, by_rollout: Rollout) -> None:
    reason = f"superseded by a rollout of version {by_rollout.version}"
    ended = msgspec.structs.replace(
        other, state="superseded", revision=other.revision + 1, updated_at=tx.at, reason=reason
    )
    transition = RolloutTransition(
        rollout_id=other.rollout_id,
        revision=ended.revision,
        from_state=other.state,
        to_state="superseded",
        step=other.step,
        at=tx.at,
        by=tx.by,
        reason=reason,
        evidence={"rollout_id": by_rollout.rollout_id},
    )
    _store(tx, ended, transition)


def _store(tx: Tx, rollout: Rollout, transition: RolloutTransition) -> None:
    t = rollouts.c
    tx.connection.execute(
        update(rollouts)
        .where(t.rollout_id == rollout.rollout_id)
        .values(state=rollout.state, revision=rollout.revision, record=msgspec.json.encode(rollout).decode())
    )
    tx.connection.execute(
        insert(rollout_transitions),
        {
            "rollout_id": rollout.rollout_id,
            "revision": transition.revision,
            "record": msgspec.json.encode(transition).decode(),
        },
    )
    append_event(
        tx,
        "rollout.changed",
        f"{rollout.model}/{rollout.environment}",
        {
            "rollout_id": rollout.rollout_id,
            "version": rollout.version,
            "from": transition.from_state,
            "to": transition.to_state,
            "step": transition.step,
            "reason": transition.reason,
        },
    )
