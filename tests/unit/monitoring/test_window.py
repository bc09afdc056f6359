"""Looks at a real prediction log, recorded through the in-process client."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.data.predictions import PredictionLog, append_feedback
from lockgate.data.profile import PREDICTION, encode_profile, profile_frame
from lockgate.documents import parse_document
from lockgate.entities import Feedback, MonitorWindow, Prediction, Release
from lockgate.errors import InvalidInput
from lockgate.monitoring.alerts import notify, settle
from lockgate.monitoring.window import look, next_windows
from lockgate.project import Folder, decode_project
from lockgate.store.store import Store

HOUR = 3_600_000
NOW = 472_222 * HOUR  # a full hour
PROJECT = """
model: churn
task: binary_classification
evaluate: {data: test.csv, label: y}
environments: {production: {}}
monitor:
  window: 1h
  performance: {metric: roc_auc, min: 0.75}
  health: {error_rate: 0.02, latency_ms_p99: 50}
alerts: [{url: "env:ALERT_URL"}, {url: "json://second"}]
"""


class Scene:
    """A project with one released version and a clock that stands at NOW."""

    def __init__(self, root: Path, text: str = PROJECT) -> None:
        self.folder = Folder(root, decode_project(parse_document(root / "lockgate.yaml", text)))
        self.clock = FakeClock(NOW)
        self.store = Store(self.folder.state / "store")
        self.client: Client = connect(Settings(), state=self.folder.state, user="ann", clock=self.clock)
        self.rng = np.random.default_rng(5)
        self.serving = self.folder.state / "serving" / "production"
        self.client.registry.ensure_model("churn")
        run = self.client.tracking.create_run(self.client.tracking.ensure_experiment("churn"))
        profile = profile_frame(self.rows(4000).drop("y"))
        self.release = self.client.registry.create_release(
            Release(
                model="churn",
                version=0,
                content=self.store.put_tree(_folder_with_a_file(root / "m")),
                run_id=run,
                created_at=NOW,
                created_by="ann",
                flavor="sklearn",
                profile=self.store.put_bytes(encode_profile(profile)),
            )
        )

    def rows(self, n: int, shift: float = 0.0) -> pl.DataFrame:
        x = self.rng.normal(shift, size=n)
        score = 1 / (1 + np.exp(-2 * x))
        return pl.DataFrame(
            {
                "x": x,
                "plan": self.rng.choice(["a", "b"], n),
                PREDICTION: score,
                "y": (self.rng.random(n) < score).astype(int),
            }
        )

    def serve(self, rows: pl.DataFrame, *, at: int, version: int | None = None, status: int = 200) -> list[str]:
        """Log one prediction a row, spread over the hour from `at`."""
        self.clock.sleep((at - self.clock.now_ms()) / 1000)
        log = PredictionLog(
            self.serving / "predictions",
            replica=f"r{at}-{status}-{version}",
            clock=self.clock,
            keep_days=30,
            keep_mb=64,
        )
        ids = [f"{at:x}-{version}-{status}-{i}" for i in range(rows.height)]
        log.append(
            [
                Prediction(
                    prediction_id=name,
                    at=at + i * HOUR // rows.height,
                    model="churn",
                    version=version or self.release.version,
                    environment="production",
                    inputs={"x": row["x"], "plan": row["plan"]},
                    output=int(row[PREDICTION] >= 0.5),
                    scores=(1 - row[PREDICTION], row[PREDICTION]),
                    latency_ms=2.0 + i % 3,
                    status=status,
                )
                for i, (name, row) in enumerate(zip(ids, rows.iter_rows(named=True), strict=True))
            ]
        )
        log.close()
        return ids

    def label(self, ids: list[str], rows: pl.DataFrame, *, at: int) -> None:
        labels = [Feedback(prediction_id=name, label=y, at=at) for name, y in zip(ids, rows["y"], strict=True)]
        append_feedback(self.serving / "feedback", labels)

    def look(self, start_at: int) -> MonitorWindow:
        self.clock.sleep((start_at + HOUR + 2000 - self.clock.now_ms()) / 1000)
        window = look(
            self.folder,
            client=self.client,
            store=self.store,
            environment="production",
            start_at=start_at,
            end_at=start_at + HOUR,
            clock=self.clock,
        )
        settle(self.folder, client=self.client, window=window, clock=self.clock)
        return window


def _folder_with_a_file(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "MLmodel").write_text("metadata: {lockgate_classes: [0, 1]}\n")
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.client.close()


def test_healthy_traffic_raises_nothing_and_is_measured(scene: Scene) -> None:
    rows = scene.rows(800)
    scene.label(scene.serve(rows, at=NOW), rows, at=NOW + 10)

    window = scene.look(NOW)

    assert window.alerts == ()
    assert (window.rows, window.labelled_rows, window.error_rate, window.version) == (800, 800, 0.0, 1)
    assert {drift.column for drift in window.drift} == {"x", "plan", PREDICTION}
    assert window.performance["roc_auc"] > 0.8
    assert window.latency_ms_p50 == 3.0
    assert window.profile is not None
    assert scene.client.monitoring.list_windows("churn", "production") == [window]


def test_a_shift_raises_one_drift_alert_that_a_healthy_window_closes(scene: Scene) -> None:
    scene.serve(scene.rows(800, shift=1.0), at=NOW)
    scene.serve(scene.rows(800, shift=1.0), at=NOW + HOUR)
    scene.serve(scene.rows(800), at=NOW + 2 * HOUR)

    first, second = scene.look(NOW), scene.look(NOW + HOUR)
    (alert,) = scene.client.monitoring.list_alerts("churn", open_only=True)
    third = scene.look(NOW + 2 * HOUR)

    assert first.drift[0].drift_detected
    assert first.alerts == second.alerts == ("drift",)
    assert "x (PSI" in alert.summary
    assert alert.window_id == first.window_id
    assert third.alerts == ()
    assert scene.client.monitoring.list_alerts("churn", open_only=True) == []


def test_looking_twice_records_once(scene: Scene) -> None:
    scene.serve(scene.rows(300), at=NOW)

    first = scene.look(NOW)
    scene.clock.sleep(5)

    assert scene.look(NOW) == first
    assert len(scene.client.monitoring.list_windows("churn", "production")) == 1


def test_few_rows_decide_nothing_and_leave_alerts_as_they_are(scene: Scene) -> None:
    scene.serve(scene.rows(800, shift=1.0), at=NOW)
    scene.serve(scene.rows(20), at=NOW + HOUR)

    scene.look(NOW)
    window = scene.look(NOW + HOUR)

    assert window.drift == ()
    assert "20 rows: too few" in window.notes[0]
    assert [alert.kind for alert in scene.client.monitoring.list_alerts("churn", open_only=True)] == ["drift"]


def test_an_empty_window_is_recorded(scene: Scene) -> None:
    window = scene.look(NOW)

    assert (window.rows, window.alerts, window.latency_ms_p99) == (0, (), None)


def test_bad_answers_raise_performance_and_server_errors_raise_health(scene: Scene) -> None:
    rows = scene.rows(400)
    ids = scene.serve(rows, at=NOW)
    scene.label(ids, rows.with_columns(y=1 - pl.col("y")), at=NOW + 10)
    scene.serve(scene.rows(40), at=NOW, status=500)
    scene.serve(scene.rows(40), at=NOW, status=400)

    window = scene.look(NOW)

    assert set(window.alerts) == {"performance", "health"}
    assert window.error_rate == pytest.approx(40 / 440)
    assert window.performance["roc_auc"] < 0.3


def test_few_labels_say_so_and_decide_nothing(scene: Scene) -> None:
    rows = scene.rows(400)
    ids = scene.serve(rows, at=NOW)
    scene.label(ids[:10], rows.head(10), at=NOW + 10)

    window = scene.look(NOW)

    assert (window.labelled_rows, window.performance) == (10, {})
    assert any("10 labels: too few" in note for note in window.notes)


def test_delayed_labels_are_joined_to_the_predictions_of_an_earlier_window(tmp_path: Path) -> None:
    scene = Scene(tmp_path, PROJECT.replace("min: 0.75", "min: 0.75, label_delay: 2h"))
    rows = scene.rows(300)
    ids = scene.serve(rows, at=NOW)
    scene.serve(scene.rows(300), at=NOW + 2 * HOUR)
    scene.label(ids, rows, at=NOW + 2 * HOUR + 5)

    assert scene.look(NOW + 2 * HOUR).labelled_rows == 300
    scene.client.close()


def test_broken_inputs_are_named(scene: Scene) -> None:
    rows = scene.rows(500).with_columns(
        x=pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise("x"),
        plan=pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("gold")).otherwise("plan"),
    )
    scene.serve(rows, at=NOW)

    window = scene.look(NOW)

    assert "quality" in window.alerts
    assert window.quality == (
        "column 'x': 50 of 500 rows (10.00%) are missing (never in training)",
        "column 'plan': 100 of 500 rows (20.00%) have a category that training did not see",
    )


def test_a_mixture_of_versions_is_noted_and_the_larger_one_reported(scene: Scene) -> None:
    scene.serve(scene.rows(300), at=NOW)
    scene.serve(scene.rows(50), at=NOW, version=7)

    window = scene.look(NOW)

    assert (window.version, window.rows) == (1, 300)
    assert "version 7 (50 rows)" in window.notes[0]


def test_a_version_without_a_release_is_counted_and_not_judged(scene: Scene) -> None:
    scene.serve(scene.rows(300), at=NOW, version=7)

    window = scene.look(NOW)

    assert (window.version, window.rows, window.drift) == (7, 300, ())
    assert any("no training profile" in note for note in window.notes)


def test_a_window_that_is_not_over_is_refused(scene: Scene) -> None:
    with pytest.raises(InvalidInput, match="not over"):
        look(
            scene.folder,
            client=scene.client,
            store=scene.store,
            environment="production",
            start_at=NOW,
            end_at=NOW + HOUR,
            clock=scene.clock,
        )
    with pytest.raises(InvalidInput, match="no environment 'prod'; there are: production"):
        look(
            scene.folder,
            client=scene.client,
            store=scene.store,
            environment="prod",
            start_at=NOW - HOUR,
            end_at=NOW,
            clock=scene.clock,
        )


def test_windows_that_were_missed_are_due_and_old_ones_are_not(scene: Scene) -> None:
    def due(now: int, **options: int) -> list[int]:
        found = next_windows(scene.folder, client=scene.client, environment="production", now=now, **options)
        assert all(end - start == HOUR for start, end in found)
        return [(start - NOW) // HOUR for start, _ in found]

    assert due(NOW + HOUR + 5000) == [0]
    scene.look(NOW)
    assert due(NOW + HOUR + 5000) == []
    assert due(NOW + 2 * HOUR) == []  # the last rows may still be on their way
    assert due(NOW + 4 * HOUR + 5000) == [1, 2, 3]
    assert due(NOW + 100 * HOUR + 5000, limit=3) == [97, 98, 99]
    assert due(NOW + 100 * HOUR + 5000, limit=90, keep_days=1) == list(range(77, 100))


class Post:
    """Addresses that may be down."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.down: set[str] = set()

    def __call__(self, url: str, title: str, text: str) -> bool:
        if url in self.down:
            raise ConnectionError(url)
        self.sent.append(url)
        return True


def test_every_address_is_told_once_and_a_failed_one_again(scene: Scene) -> None:
    scene.serve(scene.rows(800, shift=1.0), at=NOW)
    scene.look(NOW)
    post = Post()
    post.down = {"json://second"}

    def told() -> int:
        environ = {"ALERT_URL": "json://first"}
        return len(notify(scene.folder, client=scene.client, clock=scene.clock, environ=environ, send=post))

    assert told() == 0
    assert told() == 0
    post.down = set()
    assert told() == 1
    assert told() == 0
    assert post.sent == ["json://first", "json://second"]
    (alert,) = scene.client.monitoring.list_alerts("churn", open_only=True)
    assert alert.notified_at is not None


def test_a_missing_secret_neither_blocks_the_others_nor_loses_the_alert(scene: Scene) -> None:
    scene.serve(scene.rows(800, shift=1.0), at=NOW)
    scene.look(NOW)
    post = Post()

    assert notify(scene.folder, client=scene.client, clock=scene.clock, environ={}, send=post) == []
    assert post.sent == ["json://second"]
    environ = {"ALERT_URL": "json://first"}
    assert len(notify(scene.folder, client=scene.client, clock=scene.clock, environ=environ, send=post)) == 1
    assert post.sent == ["json://second", "json://first"]


def test_looking_back_at_an_older_window_changes_no_alert(scene: Scene) -> None:
    scene.serve(scene.rows(800), at=NOW)
    scene.serve(scene.rows(800, shift=1.0), at=NOW + HOUR)
    scene.look(NOW + HOUR)

    assert scene.look(NOW).alerts == ()

    assert [alert.kind for alert in scene.client.monitoring.list_alerts("churn", open_only=True)] == ["drift"]
