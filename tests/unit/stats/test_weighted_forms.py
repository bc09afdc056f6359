"""Each vectorised form with counts drawn at random equals scikit-learn's function with the same sample weights."""

import numpy as np
import pytest
from sklearn import metrics as sk

from lockgate.stats.ranking_bootstrap import weighted_auc, weighted_average_precision, weighted_median
from lockgate.stats.resampling import iter_counts
from lockgate.stats.table_bootstrap import LABEL_METRICS, combinations, margins

SKLEARN = {
    "accuracy": (sk.accuracy_score, {}),
    "balanced_accuracy": (sk.balanced_accuracy_score, {}),
    "matthews_corrcoef": (sk.matthews_corrcoef, {}),
    "precision_macro": (sk.precision_score, {"average": "macro", "zero_division": 0.0}),
    "recall_macro": (sk.recall_score, {"average": "macro", "zero_division": 0.0}),
    "f1_macro": (sk.f1_score, {"average": "macro", "zero_division": 0.0}),
    "f1_weighted": (sk.f1_score, {"average": "weighted", "zero_division": 0.0}),
}


@pytest.mark.parametrize("ties", [False, True])
def test_rankings_equal_scikit_learns_on_the_resampled_rows(ties: bool) -> None:
    rng = np.random.default_rng(0)
    y = rng.random(120) < 0.3
    scores = rng.normal(size=120) + y
    scores = scores.round(1) if ties else scores
    for counts in iter_counts(120, 8, rng):
        auc, ap = weighted_auc(y, scores)(counts), weighted_average_precision(y, scores)(counts)
        for j in range(counts.shape[1]):
            drawn = np.repeat(np.arange(120), counts[:, j])
            assert auc[j] == pytest.approx(sk.roc_auc_score(y[drawn], scores[drawn]))
            assert ap[j] == pytest.approx(sk.average_precision_score(y[drawn], scores[drawn]))


@pytest.mark.parametrize("rows", [7, 8])
def test_the_median_is_numpys_on_the_resampled_rows(rows: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=rows)
    for counts in iter_counts(rows, 20, rng):
        expected = [np.median(np.repeat(values, counts[:, j])) for j in range(counts.shape[1])]
        np.testing.assert_allclose(weighted_median(values)(counts), expected)


@pytest.mark.parametrize("name", sorted(SKLEARN))
def test_label_metrics_equal_scikit_learns(name: str) -> None:
    rng = np.random.default_rng(2)
    truth, labels = rng.integers(0, 4, 90), rng.integers(0, 4, 90)
    table = combinations(truth, [labels], 4)
    function, options = SKLEARN[name]
    found = LABEL_METRICS[name](margins(table, table.counts[None, :], 0))
    assert found[0] == pytest.approx(function(truth, labels, **options))


@pytest.mark.parametrize(
    ("name", "function"), [("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)]
)
def test_metrics_of_the_positive_class_equal_scikit_learns(name: str, function) -> None:
    rng = np.random.default_rng(3)
    truth, labels = rng.integers(0, 2, 90), rng.integers(0, 2, 90)
    table = combinations(truth, [labels], 2)
    assert LABEL_METRICS[name](margins(table, table.counts[None, :], 0))[0] == pytest.approx(function(truth, labels))


def test_a_resample_without_a_class_is_undefined_and_not_zero() -> None:
    y = np.array([True, False])
    counts = np.array([[2, 1], [0, 1]], dtype=np.int32)
    assert np.isnan(weighted_auc(y, np.array([0.2, 0.1]))(counts)[0])
    assert weighted_auc(y, np.array([0.2, 0.1]))(counts)[1] == 1.0


def test_combinations_keep_every_model_apart() -> None:
    table = combinations(np.array([0, 1, 2, 2]), [np.array([0, 1, 2, 0]), np.array([2, 1, 0, 0])], 3)
    assert sorted(zip(table.truth, *table.labels, table.counts, strict=True)) == [
        (0, 0, 2, 1),
        (1, 1, 1, 1),
        (2, 0, 0, 1),
        (2, 2, 0, 1),
    ]
