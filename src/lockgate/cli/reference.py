"""How a command names a version: `churn@3`, `churn@champion`, `@3`, `churn`, or nothing at all."""

from typing import TYPE_CHECKING

from lockgate.errors import InvalidInput, NotFound
from lockgate.project import Folder

if TYPE_CHECKING:
    from lockgate.client.client import Client


def resolve_version(folder: Folder, client: "Client", text: str | None) -> tuple[str, int]:
    """The model and version that `text` names; without one the challenger, or else the champion.

    Raises InvalidInput for another project's model, NotFound for an unknown alias or where nothing passed yet.
    """
    model, _, wanted = (text or "").partition("@")
    model = model or folder.project.model
    if model != folder.project.model:
        raise InvalidInput(
            f"this project's model is {folder.project.model!r}, not {model!r}.",
            hint=f"lockgate -C FOLDER ... for the project of {model}",
        )
    if wanted.isdigit():
        return model, int(wanted)
    aliases = client.registry.list_aliases(model)
    if wanted:
        if wanted in aliases:
            return model, aliases[wanted]
        known = ", ".join(sorted(aliases)) or "none"
        raise NotFound(f"model {model!r} has no alias {wanted!r}; it has: {known}.", hint="lockgate models")
    for alias in ("challenger", "champion"):
        if alias in aliases:
            return model, aliases[alias]
    raise NotFound(f"no version of {model} has passed its gates yet.", hint=f"lockgate run, or name one: {model}@1")
