"""Where Lockgate can be extended, all on one page, and how an extension is found: through entry points only.

    lockgate.ci    writes the pipeline of one CI system    `lockgate ci init NAME`

A package that declares an entry point in one of these groups is found by its name as soon as it is installed; nothing
of it is imported before it is asked for. Lockgate's own integrations are found the same way.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol

from lockgate.errors import InvalidInput, NotFound

CI = "lockgate.ci"


class CiFacts(NamedTuple):
    """What a pipeline is written from."""

    model: str
    folder: str  # of the project inside the repository, posix, "." where it is the repository itself
    environment: str | None  # where the main branch deploys to; None where lockgate.yaml has no environment
    test_command: str | None  # the project's own tests
    requirements: str | None  # the project's pip requirements file, relative to `folder`
    branch: str  # the main branch
    python: str  # 3.11


class CiProvider(Protocol):
    """One CI system."""

    title: str

    def files(self, facts: CiFacts) -> Mapping[str, str]:
        """The text of each file, by its path from the root of the repository."""
        ...


def plugin_names(group: str) -> list[str]:
    """The names that are installed in a group, sorted."""
    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: str, name: str) -> Any:  # what the group's Protocol above says
    """The plugin's object. Raises NotFound with the nearest name, InvalidInput where it is installed but broken."""
    for point in entry_points(group=group, name=name):
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            raise InvalidInput(
                f"the plugin {name!r} of {group} ({point.value}) cannot be loaded: {error}.",
                hint="reinstall the package that it belongs to",
            ) from error
    names = plugin_names(group)
    nearest = get_close_matches(name, names, n=1)
    raise NotFound(
        f"there is no {name!r} in {group}; there are: {', '.join(names) or 'none'}.",
        hint=f"did you mean {nearest[0]!r}?" if nearest else None,
    )
