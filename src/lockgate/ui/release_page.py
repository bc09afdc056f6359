"""One version: everything that made it and everything that was decided on it, as far as there is a record of that."""

from lockgate.entities import HOW_TO_RELEASE, AliasChange, Approval, Release
from lockgate.ui.render import render
from lockgate.wire.registry import VersionSummary


def render_release(
    version: VersionSummary,
    release: Release | None,
    *,
    approvals: tuple[Approval, ...],
    moves: tuple[AliasChange, ...],
    has_older: bool = False,
) -> str:
    """`release` None: the version came from outside. `moves` are those from and to it, and there may be older ones."""
    return render(
        "release.html.j2",
        title=f"{version.model} version {version.version}",
        version=version,
        release=release,
        approvals=approvals,
        moves=moves,
        has_older=has_older,
        how_to_release=HOW_TO_RELEASE,
    )
