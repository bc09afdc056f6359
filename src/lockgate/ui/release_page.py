"""One version: everything that made it and everything that was decided on it, as far as there is a record of that."""

from lockgate.entities import HOW_TO_RELEASE, AliasChange, Approval, Release
from lockgate.ui.render import render
from lockgate.wire.registry import VersionSummary


def render_release(
    version: VersionSummary,
    release: Release | None,
    *,
    approvals: tuple[Approval, ...],
    history: tuple[AliasChange, ...],
) -> str:
    """`release` None: the version came from outside. Of `history`, the model's, the moves that touch it are shown."""
    moves = [change for change in history if version.version in (change.from_version, change.to_version)]
    return render(
        "release.html.j2",
        title=f"{version.model} version {version.version}",
        version=version,
        release=release,
        approvals=approvals,
        moves=moves,
        how_to_release=HOW_TO_RELEASE,
    )
