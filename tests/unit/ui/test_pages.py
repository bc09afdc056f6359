"""Pages show what the records say, escape what people wrote, and fetch nothing from outside."""

import math
import re

import msgspec
import numpy as np
import polars as pl
import pytest

from lockgate.data.profile import profile_frame
from lockgate.entities import (
    Alert,
    AliasChange,
    Approval,
    Check,
    ColumnDrift,
    Content,
    Event,
    MonitorWindow,
    Release,
    Rollout,
    Traffic,
    TrafficShare,
    Verdict,
)
from lockgate.ui.monitor_page import render_monitor
from lockgate.ui.overlay import overlay, rebin
from lockgate.ui.overview_page import EnvironmentCard, ModelCard, Overview, render_overview
from lockgate.ui.release_page import render_release
from lockgate.wire.registry import VersionSummary

AT = 1_700_000_000_000
HOSTILE = '<script>alert("x")</script>'


def release(**changes: object) -> Release:
    check = Check(gate="roc_auc >= 0.8", kind="bound", status="failed", reason=HOSTILE, value=0.7, bound=0.8)
    verdict = Verdict(
        passed=False, checks=(check,), metrics={"roc_auc": 0.7}, champion_version=2, rows=100, decided_at=AT
    )
    values: dict[str, object] = {
        "model": "churn",
        "version": 3,
        "content": Content(kind="tree", digest="a" * 64, size_bytes=10, files=3),
        "run_id": "f" * 32,
        "created_at": AT,
        "created_by": "ada",
        "flavor": "sklearn",
        "commit": "c" * 40,
        "data": {"customers": Content(kind="file", digest="d" * 64, size_bytes=5)},
        "verdict": verdict,
    }
    return Release(**{**values, **changes})


def version(number: int = 3, **changes: object) -> VersionSummary:
    values: dict[str, object] = {"model": "churn", "version": number, "created_at": AT, "created_by": "ada"}
    return VersionSummary(**{**values, **changes})


def window(drift: tuple[ColumnDrift, ...] = (), **changes: object) -> MonitorWindow:
    values: dict[str, object] = {
        "window_id": "w1",
        "model": "churn",
        "environment": "production",
        "version": 3,
        "start_at": AT,
        "end_at": AT + 3_600_000,
        "rows": 1000,
        "labelled_rows": 10,
        "error_rate": 0.01,
        "latency_ms_p50": 1.0,
        "latency_ms_p99": 3.0,
        "drift": drift,
        "quality": (),
        "performance": {"roc_auc": 0.81},
        "alerts": ("drift",) if any(d.drift_detected for d in drift) else (),
        "created_at": AT,
    }
    return MonitorWindow(**{**values, **changes})


def column(name: str, *, detected: bool) -> ColumnDrift:
    return ColumnDrift(
        column=name, method="ks", statistic=0.4, p_value=1e-9, p_adjusted=1e-8, effect=0.5, drift_detected=detected
    )


def require_self_contained(page: str) -> None:
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)


def test_overview_shows_models_environments_alerts_and_events() -> None:
    traffic = Traffic(
        model="churn",
        environment="production",
        revision=1,
        shares=(
            TrafficShare(version=2, digest="b" * 64, share=0.95),
            TrafficShare(version=3, digest="a" * 64, share=0.05, role="canary"),
        ),
        changed_at=AT,
    )
    rollout = Rollout(
        rollout_id="r",
        model="churn",
        environment="production",
        version=3,
        baseline_version=2,
        strategy="canary",
        steps=(5, 100),
        bake_s=1.0,
        false_rollback_rate=0.01,
        state="baking",
        step=0,
        revision=2,
        created_at=AT,
        created_by="ada",
        updated_at=AT,
        reason="baked 1 of 10 s",
    )
    page = render_overview(
        Overview(
            models=(
                ModelCard(
                    name="churn",
                    versions=(version(4, source=HOSTILE), version(3, aliases=("challenger",))),
                    releases={3: release()},
                ),
            ),
            environments=(
                EnvironmentCard(model="churn", name="production", traffic=traffic, rollout=rollout, window=window()),
            ),
            alerts=(
                Alert(
                    alert_id="1", model="churn", environment="production", kind="drift", summary=HOSTILE, opened_at=AT
                ),
            ),
            events=(Event(sequence=1, kind="version.created", subject="churn/3", at=AT, by="ada"),),
            at=AT,
        )
    )
    for text in (
        "churn",
        "challenger",
        "95 %",
        "5 %, canary",
        "baking",
        "version.created",
        "refused by roc_auc &gt;= 0.8",
        '<a href="/releases/churn/4">4</a>',
        "no release record",
        "&lt;script&gt;",
    ):
        assert text in page
    assert HOSTILE not in page
    require_self_contained(page)


def test_time_that_no_calendar_has_takes_no_page_away() -> None:
    late = AT * 1_000_000
    alert = Alert(alert_id="1", model="churn", environment="production", kind="drift", summary="s", opened_at=late)
    for page in (
        render_overview(Overview(models=(), environments=(), alerts=(alert,), events=(), at=AT)),
        render_release(version(), release(created_at=late), approvals=(), moves=()),
        render_monitor(window(start_at=late), reference=None, current=None),
    ):
        assert str(late) in page


def test_an_empty_installation_says_what_to_do_first() -> None:
    page = render_overview(Overview(models=(), environments=(), alerts=(), events=(), at=AT))
    assert "lockgate run" in page


def test_links_and_field_of_many_models_hold_what_people_wrote_as_text() -> None:
    page = render_overview(
        Overview(
            models=(), prefix=HOSTILE, after=HOSTILE, next_after='a&b"', environments=(), alerts=(), events=(), at=AT
        )
    )
    assert HOSTILE not in page
    assert "&amp;after=a%26b%22" in page
    assert "No model of that name" in page and "lockgate run" not in page


def test_release_page_shows_lineage_verdict_approvals_and_alias_moves() -> None:
    move = AliasChange(
        model="churn", alias="challenger", from_version=None, to_version=3, changed_at=AT, changed_by="ada"
    )
    approval = Approval(
        model="churn", version=3, environment="production", approver="bob", approved_at=AT, comment=HOSTILE
    )
    page = render_release(version(), release(), approvals=(approval,), moves=(move,))
    for text in ("c" * 40, "d" * 16, "compared with version 2", "refused", "bob", "challenger"):
        assert text in page
    assert HOSTILE not in page


def test_page_of_a_version_from_outside_says_where_it_is_from_and_how_to_get_a_release() -> None:
    registered = version(source="s3://bucket/x", run_id="f" * 32, tags={"note": HOSTILE})
    move = AliasChange(model="churn", alias="best", from_version=1, to_version=3, changed_at=AT, changed_by="ada")
    page = render_release(registered, None, approvals=(), moves=(move,))
    for text in ("s3://bucket/x", "f" * 32, "note", "best", "it has no release record", "lockgate run judges"):
        assert text in page
    assert HOSTILE not in page
    require_self_contained(page)


def test_monitor_page_draws_drifted_columns_first_with_both_distributions() -> None:
    rng = np.random.default_rng(1)
    before = profile_frame(pl.DataFrame({"age": rng.normal(40, 5, 500), "plan": ["a", "b"] * 250}))
    after = profile_frame(pl.DataFrame({"age": rng.normal(60, 5, 500), "plan": ["a", HOSTILE] * 250}), reference=before)
    page = render_monitor(
        window((column("plan", detected=False), column("age", detected=True))), reference=before, current=after
    )
    assert page.index("<h3>age</h3>") < page.index("<td>plan</td>")
    assert page.count('class="overlay"') == 2
    assert HOSTILE not in page


def test_monitor_page_without_profiles_still_names_the_columns() -> None:
    page = render_monitor(window((column("age", detected=True),)), reference=None, current=None)
    assert "age" in page
    assert "<svg" not in page


def test_overlay_of_a_constant_column_and_of_an_empty_window_is_drawn() -> None:
    before = profile_frame(pl.DataFrame({"x": [5.0] * 20}))
    for rows in ([5.0], [], [7.0, math.nan, None]):
        after = profile_frame(pl.DataFrame({"x": rows}, schema={"x": pl.Float64}), reference=before)
        assert overlay(before.columns["x"], after.columns["x"]).startswith("<svg")


def test_column_with_other_bins_than_in_training_is_not_drawn() -> None:
    before = profile_frame(pl.DataFrame({"x": [1.0, 2.0], "plan": ["a", "b"]})).columns
    after = profile_frame(pl.DataFrame({"x": [1.0, 9.0], "plan": ["a", "zzz"]})).columns
    assert [overlay(before[name], after[name]) for name in before] == ["", ""]
    for column in before.values():
        assert overlay(column, column).startswith("<svg")
        overlay(column, msgspec.structs.replace(column, counts=(1,)))  # what others recorded may be short of counts
        overlay(column, msgspec.structs.replace(column, counts=()))


@pytest.mark.parametrize("seed", range(20))
def test_rebinning_keeps_every_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.normal(size=20)).tolist()
    counts = rng.integers(0, 50, size=19).tolist()
    grid = np.linspace(edges[0], edges[-1], 33).tolist()
    assert sum(rebin(edges, counts, grid)) == pytest.approx(1.0)
