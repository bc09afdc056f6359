"""Paired comparisons on 10,000 rows with 2,000 resamples. The bar: accuracy-like metrics well under a second, the
areas under ROC and precision-recall curves a few seconds.

    .venv/bin/python benchmarks/gates.py [--rows 10000] [--resamples 2000] [--repeat 3]

Beside it, in the same run: the loop that most people write, scikit-learn's function on each resample. It is timed on 20
resamples and scaled up to all.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from lockgate.stats.metrics import compute_metric
from lockgate.stats.paired_metric import Answers, Rows, metric_difference

BINARY = ("accuracy", "f1", "log_loss", "brier", "roc_auc", "average_precision")
REGRESSION = ("mae", "rmse", "r2", "median_absolute_error")
LOOPED = 20


def binary(rows: int, rng: np.random.Generator) -> tuple[Rows, Answers, Answers]:
    y = rng.random(rows) < 0.3
    hidden = y + rng.normal(size=rows)
    scores = [1 / (1 + np.exp(-(hidden + rng.normal(size=rows) * noise))) for noise in (0.5, 0.6)]
    first, second = (Answers(one >= 0.5, one) for one in scores)
    return Rows("binary_classification", y, (False, True), True), first, second


def regression(rows: int, rng: np.random.Generator) -> tuple[Rows, Answers, Answers]:
    y = rng.normal(size=rows)
    first, second = (Answers(y + rng.normal(size=rows) * noise, None) for noise in (0.5, 0.55))
    return Rows("regression", y), first, second


def loop(name: str, rows: Rows, models: tuple[Answers, Answers], rng: np.random.Generator) -> None:
    n = len(rows.truth)
    for _ in range(LOOPED):
        at = rng.integers(0, n, n)
        for model in models:
            scores = None if model.scores is None else model.scores[at]
            compute_metric(
                name,
                rows.task,
                rows.truth[at],
                model.predictions[at],
                scores,
                classes=rows.classes,
                positive=rows.positive,
            )


def best_of(repeat: int, work: Callable[[], object]) -> tuple[float, float]:
    """Least wall and CPU seconds."""
    taken = []
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(wall for wall, _ in taken), min(cpu for _, cpu in taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=2_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print(f"{options.rows:,} rows, {options.resamples:,} resamples, best of {options.repeat}")
    print(f"{'metric':<24}{'wall s':>9}{'cpu s':>9}{'loop s':>10}{'ratio':>9}  method")
    for names, make in ((BINARY, binary), (REGRESSION, regression)):
        rows, first, second = make(options.rows, rng)
        for name in names:

            def compare(name: str = name, rows: Rows = rows, first: Answers = first, second: Answers = second) -> str:
                found = metric_difference(
                    name, rows, first, second, confidence=0.95, resamples=options.resamples, rng=rng
                )
                return found.method

            method = compare()  # imports and page faults are not what is measured
            wall, cpu = best_of(options.repeat, compare)
            looped, _ = best_of(1, lambda name=name, rows=rows, pair=(first, second): loop(name, rows, pair, rng))
            looped *= options.resamples / LOOPED
            print(f"{name:<24}{wall:>9.3f}{cpu:>9.3f}{looped:>10.1f}{looped / wall:>9.0f}  {method}")


if __name__ == "__main__":
    main()
