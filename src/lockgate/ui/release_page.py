"""One release: everything that made a version and everything that was decided on it."""

from lockgate.entities import AliasChange, Approval, Release
from lockgate.ui.render import render


def render_release(release: Release, *, approvals: tuple[Approval, ...], history: tuple[AliasChange, ...]) -> str:
    """`history` is the model's; the moves that touch this version are shown."""
    moves = [change for change in history if release.version in (change.from_version, change.to_version)]
    return render(
        "release.html.j2",
        title=f"{release.model} version {release.version}",
        release=release,
        approvals=approvals,
        moves=moves,
    )
