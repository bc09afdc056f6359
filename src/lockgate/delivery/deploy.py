"""May this version enter this environment? If so, a rollout is begun; who drives it is another matter."""

from difflib import get_close_matches
from typing import TYPE_CHECKING

from lockgate.clock import Clock
from lockgate.delivery.declare import declare
from lockgate.delivery.history import versions_served
from lockgate.entities import Rollout
from lockgate.errors import AlreadyExists, NotFound
from lockgate.ids import new_sortable_id
from lockgate.project import Environment, Folder

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
    the version, PermissionDenied where approvals are missing or only an admin may ask for fewer, Conflict where another
    rollout of the environment is unfinished and `supersede` is not set, AlreadyExists where it serves the version
    already. An `override_reason` lets a refused version in and is kept with the rollout; it replaces no approval.
    """
    target = find_environment(folder, environment)
    client.registry.get_release(model, version)
    # The server decides, by the file as it is now: whoever comes to it by another door meets the same rule.
    declare(folder, client, model=model, may_loosen=True)
    served = versions_served(client, model, environment)
    baseline = served[-1] if served else None
    if baseline == version and client.delivery.current_rollout(model, environment) is None:
        raise AlreadyExists(f"{environment} serves version {version} of {model} already.")
    # There is nothing to compare a first version with, and nothing to go back to.
    is_canary = target.rollout.strategy == "canary" and baseline is not None
    now = clock.now_ms()
    because = f"override: {override_reason}" if override_reason else ""
    rollout = Rollout(
        rollout_id=new_sortable_id(),
        model=model,
        environment=environment,
        version=version,
        baseline_version=baseline,
        strategy="canary" if is_canary else "replace",
        steps=target.rollout.steps if is_canary else (100,),
        bake_s=target.rollout.bake_s if baseline is not None else 0.0,
        false_rollback_rate=target.rollout.false_rollback_rate,
        min_requests=target.rollout.min_requests,
        latency_tolerance=target.rollout.latency_tolerance,
        state="pending",
        step=-1,
        revision=0,
        created_at=now,
        created_by=by,
        updated_at=now,
        reason=because,
        override_reason=override_reason,
        begun_because=because,
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
