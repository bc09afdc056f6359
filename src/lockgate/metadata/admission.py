"""May this version enter this environment? One rule, whichever way somebody comes in.

    lockgate deploy, promote: automatic     -> a rollout is created   -> require_rollout_admitted
    lockgate models alias churn production  -> our own alias          -> require_alias_admitted
    MlflowClient.set_registered_model_alias -> MLflow's alias         -> require_alias_admitted
    transition_model_version_stage          -> stage Production       -> require_alias_admitted
    the driver of a rollout that succeeded  -> aliases that follow it -> require_alias_follows

What an environment takes: a version that its gates let pass, or that was brought there with `--override`, approved by
as many people as `lockgate.yaml` asks for. What it served before may always come back: a rollback asks nobody. An alias
stands for an environment when it has its name, in capitals or not: who follows `@Production` means what is in
production. A rollout into `Production` is held to what `production` asks for, too. `champion` stands for the last one,
and `challenger` for what may try to become it. A model that no project has declared environments for has one,
`production`; where no gate has judged any of its releases, it takes what was never judged. What was said of a version
is not said of its copies. A model with neither environments nor releases is held to nothing: it is a registry of
MLflow and nothing else.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from lockgate.entities import HOW_TO_RELEASE, Rollout
from lockgate.errors import GateFailed, InvalidInput, PermissionDenied
from lockgate.metadata.approvals import list_approvals
from lockgate.metadata.environments import KnownEnvironment, environments_of, list_environments
from lockgate.metadata.releases import find_release_of, has_verdicts
from lockgate.metadata.tables import rollouts
from lockgate.project import CHALLENGER, CHAMPION


def require_alias_admitted(connection: Connection, model: str, alias: str, version: int) -> None:
    """Raises GateFailed or PermissionDenied where `alias` stands for an environment that may not take the version."""
    door = _door(connection, model, alias)
    if door is not None and not _has_served(connection, model, version, door.name):
        require_admitted(connection, model, version, door.name, approvals=door.approvals, override_reason=None)


def require_alias_follows(connection: Connection, rollout: Rollout, alias: str) -> None:
    """The same for an alias that a rollout brings along: its version was admitted where it went, and nowhere else."""
    door, entered = _door(connection, rollout.model, alias), _entered(connection, rollout)
    if door is not None and door.name != entered.name:
        require_alias_admitted(connection, rollout.model, alias, rollout.version)


def require_admitted(
    connection: Connection, model: str, version: int, environment: str, *, approvals: int, override_reason: str | None
) -> None:
    """Raises GateFailed naming the gates that refused the version, PermissionDenied where approvals are missing.

    An override lets a refused version in and replaces no approval.
    """
    if not override_reason:
        _require_passed(connection, model, version, environment)
    given = list_approvals(connection, model, version, environment) if approvals else ()
    approvers = sorted({approval.approver for approval in given})
    missing = approvals - len(approvers)
    if missing > 0:
        said = f"approved by {', '.join(approvers)}" if approvers else "approved by nobody"
        raise PermissionDenied(
            f"{environment} needs {approvals} approval(s) for version {version} of {model}: {missing} missing, {said}.",
            hint=f"lockgate approve {model}@{version} --for {environment}",
        )


def require_rollout_admitted(connection: Connection, rollout: Rollout) -> None:
    """The same for a rollout that is about to begin. What the environment has served before needs no permission.

    Raises InvalidInput for a baseline that it has not served: a rollout may send traffic to its baseline.
    """
    baseline = rollout.baseline_version
    if baseline is not None and not _has_served(connection, rollout.model, baseline, rollout.environment):
        raise InvalidInput(f"{rollout.environment} has never served version {baseline} of {rollout.model}.")
    if rollout.strategy == "rollback" and _has_served(connection, rollout.model, rollout.version, rollout.environment):
        return
    entered = _entered(connection, rollout)
    require_admitted(
        connection,
        rollout.model,
        rollout.version,
        entered.name,
        approvals=entered.approvals,
        override_reason=rollout.override_reason,
    )


def stage_environment(connection: Connection, model: str, stage: str) -> str | None:
    """The environment that one of MLflow's stages stands for: the one of its name, in small letters or however else."""
    names = [item.name for item in environments_of(connection, model) if item.name.lower() == stage.lower()]
    return max(names, default=None)  # small letters come last


def _door(connection: Connection, model: str, alias: str) -> KnownEnvironment | None:
    """What an alias stands for, and the approvals that it needs there."""
    known = environments_of(connection, model)
    named = _named(known, alias)
    if named is not None:
        return named
    if alias.lower() not in (CHAMPION, CHALLENGER) or not known:
        return None
    # The challenger has not entered anything yet: it needs its gates' word and nobody's approval.
    return known[-1] if alias.lower() == CHAMPION else known[-1]._replace(approvals=0)


def _entered(connection: Connection, rollout: Rollout) -> KnownEnvironment:
    """What a rollout leads into; an environment that nobody has declared needs no approvals."""
    known = _named(environments_of(connection, rollout.model), rollout.environment)
    return known or KnownEnvironment(rollout.environment, 0)


def _named(known: Sequence[KnownEnvironment], name: str) -> KnownEnvironment | None:
    """The one of that name, in capitals or not; the strictest, where an older server has taken several."""
    named = [item for item in known if item.name.lower() == name.lower()]
    return max(named, key=lambda item: item.approvals, default=None)


def _require_passed(connection: Connection, model: str, version: int, environment: str) -> None:
    release = find_release_of(connection, model, version)
    verdict = None if release is None else release.verdict
    if verdict is not None and verdict.passed:
        return
    override = f"lockgate deploy {model}@{version} --to {environment} --override --reason TEXT"
    if verdict is None:
        if not (list_environments(connection, model) or has_verdicts(connection, model)):
            return  # nobody has said that this model is promoted by gates
        raise GateFailed(
            f"no gate has judged version {version} of {model}.",
            hint=override if release else f"{HOW_TO_RELEASE}; of a copy, take the version that was judged",
        )
    reasons = "; ".join(f"{check.gate} ({check.reason})" for check in verdict.refusals)
    raise GateFailed(f"version {version} of {model} was refused by its gates: {reasons}.", hint=override)


def _has_served(connection: Connection, model: str, version: int, environment: str) -> bool:
    t = rollouts.c
    query = select(t.rollout_id).where(t.model == model, t.environment == environment, t.version == version)
    return connection.scalar(query.where(t.state == "succeeded").limit(1)) is not None
