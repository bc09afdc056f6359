"""What a reader sees where a page cannot be shown."""

from lockgate.errors import LockgateError
from lockgate.ui.render import render


def render_problem(error: LockgateError) -> str:
    return render("problem.html.j2", title="Not here", error=error)
