"""What passed its gates goes by itself where `promote: automatic` lets it: environment by environment, in order."""

from typing import TYPE_CHECKING, Literal

from lockgate.clock import Clock
from lockgate.delivery.deploy import deploy
from lockgate.entities import Rollout
from lockgate.errors import AlreadyExists, Conflict
from lockgate.project import Folder

if TYPE_CHECKING:
    from lockgate.client.client import Client

_LOOK_BACK = 200


def automatic_environments(folder: Folder) -> list[str]:
    """The environments that take whatever passed, in the order of lockgate.yaml."""
    return [name for name, environment in folder.project.environments.items() if environment.is_automatic]


def promote(
    folder: Folder, client: "Client", *, version: int, environment: str, by: str, clock: Clock
) -> Rollout | Literal["busy", "done"]:
    """Begin the rollout of a version that passed into one automatic environment.

    `done` where the version has been there before, however that ended: what was rolled back does not come back by
    itself. `busy` while another rollout is unfinished. Repeating the call after a crash begins nothing twice.
    """
    model = folder.project.model
    unfinished = client.delivery.current_rollout(model, environment)
    if unfinished is not None:
        return unfinished if unfinished.version == version else "busy"
    attempts = client.delivery.list_rollouts(model, environment, limit=_LOOK_BACK)
    if any(attempt.version == version for attempt in attempts):
        return "done"
    try:
        return deploy(folder, client, model=model, version=version, environment=environment, by=by, clock=clock)
    except AlreadyExists:
        return "done"
    except Conflict:
        return "busy"
