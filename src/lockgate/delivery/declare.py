"""The server is told of the environments in lockgate.yaml, so that it holds clients to them that never saw the file.

What it was told last is kept in a small file: while that says what lockgate.yaml says, nobody has to be asked.
"""

from typing import TYPE_CHECKING

import msgspec

from lockgate.project import Folder

if TYPE_CHECKING:
    from lockgate.client.client import Client

_TOLD = "declared.json"


def declare(folder: Folder, client: "Client", *, model: str, may_loosen: bool) -> None:
    """Tell the server which environments there are, and how many approvals each needs.

    Without `may_loosen` it forgets none and asks for no less than before. Raises PermissionDenied where somebody else
    has to say that fewer approvals are enough.
    """
    from lockgate.store.atomic import write_atomically

    client.registry.declare_environments(model, _approvals(folder), may_loosen=may_loosen)
    # Afterwards: what was not heard must be said again.
    write_atomically(folder.state / _TOLD, _said(folder, model))


def is_declared(folder: Folder, model: str) -> bool:
    """Whether lockgate.yaml says what this project has told last."""
    try:
        return (folder.state / _TOLD).read_bytes() == _said(folder, model)
    except FileNotFoundError:
        return False


def _said(folder: Folder, model: str) -> bytes:
    return msgspec.json.encode([model, list(_approvals(folder).items())])


def _approvals(folder: Folder) -> dict[str, int]:
    """In the order of promotion."""
    return {name: environment.approvals for name, environment in folder.project.environments.items()}
