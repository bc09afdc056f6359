"""What passed its gates goes by itself where `promote: automatic` lets it: environment by environment, in order."""

from typing import TYPE_CHECKING, Literal

from lockgate.clock import Clock
from lockgate.delivery.deploy import deploy
from lockgate.delivery.history import LOOK_BACK, Fate, fate
from lockgate.entities import Rollout
from lockgate.errors import AlreadyExists, Conflict
from lockgate.project import Folder

if TYPE_CHECKING:
    from lockgate.client.client import Client


def automatic_environments(folder: Folder) -> list[str]:
    """The environments that take whatever passed, in the order of lockgate.yaml."""
    return [name for name, environment in folder.project.environments.items() if environment.is_automatic]


def promote(
    folder: Folder, client: "Client", *, version: int, environment: str, by: str, clock: Clock
) -> Rollout | Fate | Literal["busy"]:
    """Begin the rollout of a version that passed into one automatic environment.

    Where the version has been there before, how that ended: what was rolled back does not come back by itself, not as
    another version with the same content either. `busy` while another rollout is unfinished. Repeating the call after a
    crash begins nothing twice.
    """
    model = folder.project.model
    unfinished = client.delivery.current_rollout(model, environment)
    if unfinished is not None:
        return unfinished if unfinished.version == version else "busy"
    attempts = client.delivery.list_rollouts(model, environment, limit=LOOK_BACK)
    ended = fate(attempts, version)
    if ended is not None:
        return ended
    rolled_back = {attempt.version for attempt in attempts if fate(attempts, attempt.version) == "rolled_back"}
    content = client.registry.get_release(model, version).content
    if any(client.registry.get_release(model, other).content == content for other in rolled_back):
        return "rolled_back"
    try:
        return deploy(folder, client, model=model, version=version, environment=environment, by=by, clock=clock)
    except AlreadyExists:
        return "succeeded"
    except Conflict:
        return "busy"
