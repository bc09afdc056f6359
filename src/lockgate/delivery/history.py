"""What an environment served before, and what became of a version, read from rollouts."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from lockgate.delivery.rollout import last_good
from lockgate.entities import Rollout

if TYPE_CHECKING:
    from lockgate.client.client import Client

# Far more rollouts than anybody goes back; bounds the read.
LOOK_BACK = 200

Fate = Literal["succeeded", "rolled_back", "superseded"]


def versions_served(client: "Client", model: str, environment: str) -> tuple[int, ...]:
    """The versions that `environment` fully served and could return to, the present one last; empty for none."""
    newest_first = client.delivery.list_rollouts(model, environment, limit=LOOK_BACK)
    return last_good(tuple(reversed(newest_first)))


def fate(newest_first: Iterable[Rollout], version: int) -> Fate | None:
    """How the last attempt with `version` ended; None where there was none.

    A version that was fully served and then left by a rollback is rolled back, too.
    """
    for rollout in newest_first:
        was_left = rollout.strategy == "rollback" and rollout.baseline_version == version
        if was_left and rollout.state == "succeeded":
            return "rolled_back"
        if rollout.version == version and rollout.state in ("succeeded", "rolled_back", "superseded"):
            return rollout.state
    return None
