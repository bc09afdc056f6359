"""May this version enter this environment? If so, a rollout is begun; who drives it is another matter."""

from difflib import get_close_matches
from typing import TYPE_CHECKING

from lockgate.clock import Clock
from lockgate.delivery.history import versions_served
from lockgate.entities import Release, Rollout
from lockgate.errors import AlreadyExists, GateFailed, NotFound, PermissionDenied
from lockgate.ids import new_sortable_id
from lockgate.project import Environment, Folder, duration_s

if TYPE_CHECKING:
    from lockgate.client.client import Client


def deploy(
    folder: Folder,
    client: "Client",
    *,
    model: str,
    version: int,
    environment: str,
    by: str,
    clock: Clock,
    override_reason: str | None = None,
    supersede: bool = False,
) -> Rollout:
    """A new rollout in state `pending`.

    Raises NotFound (model, version, or environment with the nearest name), GateFailed naming the checks that refused
    the version, PermissionDenied where approvals are missing, Conflict where another rollout of the environment is
    unfinished and `supersede` is not set, AlreadyExists where it serves the version already. An `override_reason`
    lets a refused version in and is kept with the rollout; it replaces no approval.
    """
    target = find_environment(folder, environment)
    release = client.registry.get_release(model, version)
    require_passed(release, environment=environment, override_reason=override_reason)
    require_approved(client, release, environment=environment, needed=target.approvals)
    served = versions_served(client, model, environment)
    baseline = served[-1] if served else None
    if baseline == version and client.delivery.current_rollout(model, environment) is None:
        raise AlreadyExists(f"{environment} serves version {version} of {model} already.")
    # There is nothing to compare a first version with.
    is_canary = target.rollout.strategy == "canary" and baseline is not None
    now = clock.now_ms()
    rollout = Rollout(
        rollout_id=new_sortable_id(),
        model=model,
        environment=environment,
        version=version,
        baseline_version=baseline,
        strategy="canary" if is_canary else "replace",
        steps=target.rollout.steps if is_canary else (100,),
        bake_s=duration_s(target.rollout.bake) if is_canary else 0.0,
        false_rollback_rate=target.rollout.false_rollback_rate,
        min_requests=target.rollout.min_requests,
        latency_tolerance=target.rollout.latency_tolerance,
        state="pending",
        step=-1,
        revision=0,
        created_at=now,
        created_by=by,
        updated_at=now,
        reason=f"override: {override_reason}" if override_reason else "",
        override_reason=override_reason,
    )
    return client.delivery.create_rollout(rollout, supersede=supersede)


def find_environment(folder: Folder, name: str) -> Environment:
    """The environment of that name. Raises NotFound with the nearest one."""
    environments = folder.project.environments
    if name in environments:
        return environments[name]
    nearest = get_close_matches(name, environments, n=1)
    known = ", ".join(environments) or "none; add `environments:` to lockgate.yaml"
    raise NotFound(
        f"there is no environment {name!r}; there are: {known}.",
        hint=f"did you mean {nearest[0]!r}?" if nearest else None,
    )


def require_passed(release: Release, *, environment: str, override_reason: str | None) -> None:
    """Raises GateFailed for a version that its gates refused, or were never asked about."""
    if override_reason or (release.verdict is not None and release.verdict.passed):
        return
    override = f"lockgate deploy {release.model}@{release.version} --to {environment} --override --reason TEXT"
    if release.verdict is None:
        raise GateFailed(f"no gate has judged version {release.version} of {release.model}.", hint=override)
    reasons = "; ".join(f"{check.gate} ({check.reason})" for check in release.verdict.refusals)
    raise GateFailed(f"version {release.version} of {release.model} was refused by its gates: {reasons}", hint=override)


def require_approved(client: "Client", release: Release, *, environment: str, needed: int) -> None:
    """Raises PermissionDenied where fewer than `needed` people said yes to this version in this environment."""
    if not needed:
        return
    approvals = client.registry.list_approvals(release.model, release.version, environment)
    approvers = sorted({approval.approver for approval in approvals})
    missing = needed - len(approvers)
    if missing > 0:
        said = f"approved by {', '.join(approvers)}" if approvers else "approved by nobody"
        raise PermissionDenied(
            f"{environment} needs {needed} approval(s) for version {release.version} of {release.model}: {missing} "
            f"missing, {said}.",
            hint=f"lockgate approve {release.model}@{release.version} --for {environment}",
        )
