"""Which environment a command means."""

from difflib import get_close_matches

from lockgate.errors import InvalidInput, NotFound
from lockgate.project import Project


def chosen_environment(project: Project, wanted: str | None) -> str:
    """`wanted`, or the last one of lockgate.yaml. Raises NotFound with the nearest name, InvalidInput without any."""
    if wanted is None:
        if project.production is None:
            raise InvalidInput("lockgate.yaml has no environments.", hint="add `environments: {production: {}}` to it")
        return project.production
    if wanted not in project.environments:
        nearest = get_close_matches(wanted, project.environments, n=1)
        known = ", ".join(project.environments) or "none"
        raise NotFound(
            f"there is no environment {wanted!r}; there are: {known}.",
            hint=f"did you mean {nearest[0]!r}?" if nearest else None,
        )
    return wanted
