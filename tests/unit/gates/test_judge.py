"""Real model directories, judged and put on paper."""

import os
import sys
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from lockgate.clock import FakeClock
from lockgate.errors import InvalidInput, NotFound
from lockgate.gates.judge import judge
from lockgate.gates.report import write_report
from lockgate.models.save import save_model
from lockgate.project import BoundGate, BudgetGate, ComparisonGate, Evaluate, Project, SliceGate, TestsGate

BINARY, MULTI, REGRESSION = "binary_classification", "multiclass_classification", "regression"
METRIC = {BINARY: "roc_auc", MULTI: "accuracy", REGRESSION: "mae"}


def labels(x: np.ndarray, task: str, rng: np.random.Generator) -> np.ndarray:
    hidden = 2 * x[:, 0] - x[:, 1] + rng.normal(size=len(x))
    if task == REGRESSION:
        return hidden
    if task == BINARY:
        return np.where(hidden > 0, "yes", "no")
    return np.digitize(hidden, [-1, 1])


@pytest.fixture(scope="module", params=[BINARY, MULTI, REGRESSION])
def folder(request, tmp_path_factory) -> tuple[Path, str]:
    """`good` and `bad` models, and evaluation rows with a column to slice by."""
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression

    task = request.param
    root = tmp_path_factory.mktemp(task)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 2))
    y = labels(x, task, rng)
    good = (LinearRegression() if task == REGRESSION else LogisticRegression()).fit(x[:300], y[:300])
    dummy = DummyRegressor() if task == REGRESSION else DummyClassifier(strategy="stratified", random_state=0)
    example = pl.DataFrame(x[:20], schema=["a", "b"])
    save_model(good, root / "good", example=example)
    save_model(dummy.fit(x[:300], y[:300]), root / "bad", example=example)
    frame = pl.DataFrame(x[300:], schema=["a", "b"])
    group = pl.Series("group", rng.choice(["p", "q<script>|"], 500))
    frame.with_columns(pl.Series("label", y[300:]), group).write_parquet(root / "test.parquet")
    return root, task


def project(task: str, *gates) -> Project:
    return Project(model="m", task=task, evaluate=Evaluate(data="test.parquet", label="label"), gates=list(gates))


def ask(root: Path, project: Project, *, candidate: str, champion: str | None = None):
    return judge(
        project,
        root=root,
        candidate=root / candidate,
        champion=root / champion if champion else None,
        champion_version=7 if champion else None,
        clock=FakeClock(),
        seed=1,
    )


def demands(task: str) -> tuple:
    bound = BoundGate(metric="mae", max=1.2) if task == REGRESSION else BoundGate(metric=METRIC[task], min=0.6)
    return bound, ComparisonGate(metric=METRIC[task], no_worse_than="champion", margin=0.01)


def test_a_better_model_passes(folder) -> None:
    root, task = folder
    found = ask(root, project(task, *demands(task)), candidate="good", champion="bad")
    assert found.verdict.passed, found.verdict
    assert found.verdict.champion_version == 7 and found.verdict.rows == 500
    assert found.verdict.decided_at == FakeClock().now_ms()


def test_a_worse_model_is_refused(folder) -> None:
    root, task = folder
    found = ask(root, project(task, *demands(task)), candidate="bad", champion="good")
    assert [check.status for check in found.verdict.checks] == ["failed", "failed"]


def test_a_first_model_needs_no_champion(folder) -> None:
    root, task = folder
    found = ask(root, project(task, *demands(task)), candidate="good")
    assert found.verdict.passed
    assert [check.status for check in found.verdict.checks] == ["passed", "skipped"]


def test_the_same_question_gets_the_same_verdict(folder) -> None:
    root, task = folder
    first, second = (ask(root, project(task, *demands(task)), candidate="good", champion="bad") for _ in range(2))
    assert first.verdict == second.verdict and first.table == second.table


def test_the_profile_has_features_and_prediction(folder) -> None:
    root, task = folder
    found = ask(root, project(task), candidate="good")
    assert found.profile_frame.columns == ["a", "b", "prediction"]
    assert found.profile is not None


def test_the_report_is_complete_safe_and_reproducible(folder, tmp_path) -> None:
    root, task = folder
    gates = (*demands(task), SliceGate(metric=METRIC[task], slices=["group", "a"], max_gap=0.9), BudgetGate(size_mb=5))
    found = ask(root, project(task, *gates), candidate="good", champion="bad")
    first, second = tmp_path / "1", tmp_path / "2"
    for out in (first, second):
        out.mkdir()
        write_report(found, out)
    files = sorted(path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file())
    assert [(second / name).read_bytes() for name in files] == [(first / name).read_bytes() for name in files]
    page, text = (first / "report.html").read_text(), (first / "report.md").read_text()
    assert "<script" not in page and "q&lt;script&gt;|" in page and "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    for name in files:
        if name.startswith("plots/"):
            assert f"]({name})" in text
    assert "## ✅ m: passed 4 checks" in text and "champion version 7" in text
    assert msgspec.json.decode((first / "report.json").read_bytes())["verdict"]["passed"] is True


def test_a_report_of_a_first_model_without_gates_is_written(folder, tmp_path) -> None:
    root, task = folder
    write_report(ask(root, project(task), candidate="good"), tmp_path)
    assert "no gate is set" in (tmp_path / "report.md").read_text()


@pytest.fixture
def binary(tmp_path) -> Path:
    """A model of one column and no evaluation rows yet."""
    from sklearn.linear_model import LogisticRegression

    x = np.linspace(-1, 1, 40)[:, None]
    model = LogisticRegression().fit(x, (x[:, 0] > 0).astype(int))
    save_model(model, tmp_path / "good", example=pl.DataFrame(x, schema=["a"]))
    return tmp_path


def test_no_rows_at_all_are_a_refusal_with_a_report(binary, tmp_path_factory) -> None:
    schema = {"a": pl.Float64, "label": pl.Int64}
    pl.DataFrame(schema=schema).write_parquet(binary / "test.parquet")
    found = ask(binary, project(BINARY, BoundGate(metric="roc_auc", min=0.5)), candidate="good")
    assert not found.verdict.passed and "no rows to evaluate on" in found.verdict.checks[0].reason
    assert found.profile is None
    out = tmp_path_factory.mktemp("report")
    write_report(found, out)
    assert "refused" in (out / "report.html").read_text()


def test_one_class_refuses_a_ranking_gate_with_the_reason(binary) -> None:
    pl.DataFrame({"a": [0.1, 0.2], "label": [1, 1]}).write_parquet(binary / "test.parquet")
    found = ask(binary, project(BINARY, BoundGate(metric="roc_auc", min=0.5)), candidate="good")
    assert "one class" in found.verdict.refusals[0].reason


def test_a_champion_of_another_schema_refuses_the_comparison_only(binary) -> None:
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(50, 2))
    old = LogisticRegression().fit(x, (x[:, 0] > 0).astype(int))
    save_model(old, binary / "old", example=pl.DataFrame(x, schema=["a", "gone"]))
    a = np.linspace(-1, 1, 100)
    pl.DataFrame({"a": a, "label": (a > 0).astype(int)}).write_parquet(binary / "test.parquet")
    gates = (BoundGate(metric="roc_auc", min=0.5), ComparisonGate(metric="roc_auc", no_worse_than="champion"))
    found = ask(binary, project(BINARY, *gates), candidate="good", champion="old")
    assert [check.status for check in found.verdict.checks] == ["passed", "failed"]
    assert "gone" in found.verdict.checks[1].reason and "gone" in found.notes[0]


def test_without_evaluation_budgets_and_tests_are_still_judged(binary) -> None:
    (binary / "test_model.py").write_text(
        "import os\ndef test_it():\n    assert os.path.isfile(os.environ['LOCKGATE_MODEL_PATH'] + '/MLmodel')\n"
    )
    command = f"{sys.executable} -m pytest -p no:cacheprovider test_model.py"
    gates = [BudgetGate(size_mb=1.0), TestsGate(tests=command)]
    found = ask(binary, Project(model="m", task=BINARY, gates=gates), candidate="good")
    assert found.verdict.passed and [check.kind for check in found.verdict.checks] == ["budget", "tests"]
    assert found.evaluation is None and found.profile is None


def test_a_candidate_that_is_not_there_raises(tmp_path) -> None:
    with pytest.raises(NotFound):
        ask(tmp_path, project(BINARY), candidate="none")


def test_an_unknown_metric_is_the_users_error(binary) -> None:
    pl.DataFrame({"a": [0.1, -0.2], "label": [1, 0]}).write_parquet(binary / "test.parquet")
    with pytest.raises(InvalidInput, match="no metric 'acuracy'"):
        ask(binary, project(BINARY, BoundGate(metric="acuracy", min=0.5)), candidate="good")


def test_judging_leaves_the_environment_alone(binary) -> None:
    before = dict(os.environ)
    ask(binary, Project(model="m", task=BINARY, gates=[TestsGate(tests="true")]), candidate="good")
    assert dict(os.environ) == before
