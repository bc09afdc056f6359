"""One look at production: drifted columns first, each as training's distribution with production's drawn over it."""

from markupsafe import Markup

from lockgate.data.profile import Profile
from lockgate.entities import ColumnDrift, MonitorWindow
from lockgate.ui.overlay import overlay
from lockgate.ui.render import render

_DRAWN = 60  # drawings of columns that did not drift are only useful while they can be looked through


def render_monitor(
    window: MonitorWindow,
    *,
    reference: Profile | None,
    current: Profile | None,
    history: tuple[MonitorWindow, ...] = (),
) -> str:
    """`reference` is the profile stored with the version, `current` the window's own; without them nothing is drawn."""
    columns = sorted(window.drift, key=lambda drift: (not drift.drift_detected, drift.p_adjusted, -drift.effect))
    drawings = {
        drift.column: _draw(drift, reference, current)
        for i, drift in enumerate(columns)
        if drift.drift_detected or i < _DRAWN
    }
    return render(
        "monitor.html.j2",
        title=f"{window.model} in {window.environment}",
        window=window,
        columns=columns,
        drawings=drawings,
        history=history,
    )


def _draw(drift: ColumnDrift, reference: Profile | None, current: Profile | None) -> Markup:
    before = reference.columns.get(drift.column) if reference else None
    after = current.columns.get(drift.column) if current else None
    # The drawing is our own markup; names and values inside it are escaped where it is made.
    return Markup(overlay(before, after)) if before and after else Markup("")
