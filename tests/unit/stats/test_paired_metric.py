import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.delong import paired_auc
from lockgate.stats.metrics import METRICS, compute_metric
from lockgate.stats.paired_metric import Answers, Rows, metric_difference, metric_estimate

UNRESAMPLED = {"max_error"}


def binary(rng: np.random.Generator, rows: int, *, noise: tuple[float, float] = (0.5, 0.5)):
    y = rng.random(rows) < 0.4
    hidden = 1.6 * (y - 0.4) + rng.normal(size=rows)
    models = []
    for one in noise:
        scores = 1 / (1 + np.exp(-(hidden + one * rng.normal(size=rows))))
        models.append(Answers(scores >= 0.5, scores))
    return Rows("binary_classification", y, (False, True), True), *models


def multiclass(rng: np.random.Generator, rows: int):
    y = np.array(["a", "b", "c"])[rng.integers(0, 3, rows)]
    models = []
    for _ in range(2):
        scores = rng.dirichlet(np.ones(3), rows) + 0.7 * (y[:, None] == np.array(["a", "b", "c"]))
        scores /= scores.sum(axis=1, keepdims=True)
        models.append(Answers(np.array(["a", "b", "c"])[scores.argmax(axis=1)], scores))
    return Rows("multiclass_classification", y, ("a", "b", "c")), *models


def regression(rng: np.random.Generator, rows: int):
    y = rng.gamma(2, 3, rows) + 1
    return Rows("regression", y), *(Answers(y + rng.normal(size=rows), None) for _ in range(2))


MAKE = {"binary_classification": binary, "multiclass_classification": multiclass, "regression": regression}
CASES = [(name, task) for name, metric in METRICS.items() for task in sorted(metric.tasks) if name not in UNRESAMPLED]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_resampled_metric_is_centred_on_the_metric_itself(name: str, task: str) -> None:
    """Every vectorised form computes what scikit-learn's function does: a wrong one would be off by many errors."""
    rows, candidate, _ = MAKE[task](np.random.default_rng(0), 300)
    found = metric_estimate(name, rows, candidate, confidence=0.95, resamples=800, rng=np.random.default_rng(1))
    assert found.low < found.value < found.high
    assert found.standard_error > 0
    assert abs((found.low + found.high) / 2 - found.value) < 1.5 * found.standard_error


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_model_differs_from_itself_by_nothing_and_swapping_turns_the_sign(name: str, task: str) -> None:
    rows, candidate, champion = MAKE[task](np.random.default_rng(2), 200)
    again = metric_difference(
        name, rows, candidate, candidate, confidence=0.9, resamples=300, rng=np.random.default_rng(3)
    )
    assert (again.value, again.low, again.high, again.standard_error) == (0.0, 0.0, 0.0, 0.0)
    swapped = [
        metric_difference(name, rows, *pair, confidence=0.9, resamples=300, rng=np.random.default_rng(3)).value
        for pair in ((candidate, champion), (champion, candidate))
    ]
    assert swapped[0] == pytest.approx(-swapped[1])


def test_the_bootstrap_of_the_area_agrees_with_delong() -> None:
    rows, candidate, champion = binary(np.random.default_rng(4), 1500)
    found = metric_difference(
        "roc_auc", rows, candidate, champion, confidence=0.95, resamples=2000, rng=np.random.default_rng(5)
    )
    delong = paired_auc(rows.truth, candidate.scores, champion.scores)
    assert found.value == pytest.approx(delong.difference)
    assert found.standard_error == pytest.approx(delong.standard_error, rel=0.08)


def test_many_rows_take_the_fast_path_and_agree() -> None:
    rows, candidate, champion = binary(np.random.default_rng(6), 30_000)
    fast = metric_difference(
        "roc_auc", rows, candidate, champion, confidence=0.95, resamples=200, rng=np.random.default_rng(7)
    )
    assert fast.method == "DeLong"
    assert fast.low < fast.value < fast.high


def test_grouped_means_have_the_spread_of_the_rows() -> None:
    rng = np.random.default_rng(8)
    y = rng.normal(size=50_000)
    rows, answers = Rows("regression", y), Answers(y + rng.exponential(size=50_000), None)
    found = metric_estimate("mae", rows, answers, confidence=0.95, resamples=1000, rng=rng)
    assert found.standard_error == pytest.approx(1 / np.sqrt(50_000), rel=0.1)


@pytest.mark.parametrize(("name", "task"), [("accuracy", "binary_classification"), ("mae", "regression")])
def test_the_lower_bound_misses_as_rarely_as_it_says(name: str, task: str) -> None:
    """Equally good models: the gain's lower bound lies above zero in 5 % of samples."""
    rng = np.random.default_rng(9)
    above = []
    for _ in range(400):
        rows, candidate, champion = MAKE[task](rng, 250)
        found = metric_difference(name, rows, candidate, champion, confidence=0.95, resamples=400, rng=rng)
        above.append(found.low > 0)
    assert np.mean(above) <= 0.085


def test_a_better_model_is_seen() -> None:
    rng = np.random.default_rng(10)
    seen = []
    for _ in range(30):
        rows, candidate, champion = binary(rng, 1000, noise=(0.2, 1.5))
        found = metric_difference("accuracy", rows, candidate, champion, confidence=0.95, resamples=400, rng=rng)
        seen.append(found.low > 0)
    assert np.mean(seen) >= 0.9


def test_one_class_has_no_area() -> None:
    rows = Rows("binary_classification", np.ones(50, dtype=bool), (False, True), True)
    answers = Answers(np.ones(50, dtype=bool), np.linspace(0, 1, 50))
    with pytest.raises(InvalidInput, match="one class"):
        metric_estimate("roc_auc", rows, answers, confidence=0.95, resamples=200, rng=np.random.default_rng(0))


def test_a_maximum_has_no_bootstrap() -> None:
    rows, candidate, _ = regression(np.random.default_rng(0), 50)
    with pytest.raises(InvalidInput, match="max_error has no bootstrap"):
        metric_estimate("max_error", rows, candidate, confidence=0.9, resamples=200, rng=np.random.default_rng(0))


def test_the_point_is_scikit_learns() -> None:
    rows, candidate, _ = multiclass(np.random.default_rng(11), 100)
    found = metric_estimate("f1_macro", rows, candidate, confidence=0.9, resamples=200, rng=np.random.default_rng(0))
    assert found.value == compute_metric(
        "f1_macro", rows.task, rows.truth, candidate.predictions, candidate.scores, classes=rows.classes
    )
