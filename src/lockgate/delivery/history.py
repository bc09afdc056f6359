"""What an environment served before, read from its rollouts."""

from typing import TYPE_CHECKING

from lockgate.delivery.rollout import last_good

if TYPE_CHECKING:
    from lockgate.client.client import Client

# Far more rollouts than anybody goes back; bounds the read.
_LOOK_BACK = 200


def versions_served(client: "Client", model: str, environment: str) -> tuple[int, ...]:
    """The versions that `environment` fully served and could return to, the present one last; empty for none."""
    newest_first = client.delivery.list_rollouts(model, environment, limit=_LOOK_BACK)
    return last_good(tuple(reversed(newest_first)))
