import numpy as np
import pytest

from lockgate.errors import InvalidInput
from lockgate.stats.delong import paired_auc


def sample(rng: np.random.Generator, rows: int, *, signal: float = 1.2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y = rng.random(rows) < 0.4
    hidden = y * signal + rng.normal(size=rows)
    return y, hidden + rng.normal(size=rows) * 0.6, hidden + rng.normal(size=rows) * 0.6


def test_areas_are_scikit_learns_with_ties() -> None:
    from sklearn.metrics import roc_auc_score

    y, a, b = sample(np.random.default_rng(0), 500)
    a, b = a.round(1), b.round(0)
    found = paired_auc(y, a, b)
    assert found.candidate == pytest.approx(roc_auc_score(y, a))
    assert found.champion == pytest.approx(roc_auc_score(y, b))


def test_the_standard_error_is_the_spread_over_samples() -> None:
    rng = np.random.default_rng(1)
    found = [paired_auc(*sample(rng, 300)) for _ in range(600)]
    spread = np.std([one.difference for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.1)


def test_one_class_is_refused() -> None:
    with pytest.raises(InvalidInput, match="one class"):
        paired_auc(np.ones(3, dtype=bool), np.arange(3.0), np.arange(3.0))
