"""Are two classifiers equally often right on the same rows? Only rows where exactly one of them is right can tell."""

import numpy as np
import numpy.typing as npt

from lockgate.stats.two_sample import TestResult


def mcnemar_exact(candidate_right: npt.NDArray[np.bool_], champion_right: npt.NDArray[np.bool_]) -> TestResult:
    """McNemar's test, exact: statistic = difference of the accuracies, two-sided p-value from the binomial.

    Where both are equally accurate, each disagreement favours either with probability one half. References: McNemar
    (1947), Psychometrika 12; Dietterich (1998), Approximate statistical tests for comparing supervised classification
    learning algorithms, Neural Computation 10.

        >>> import numpy as np
        >>> champion = np.array([True] * 80 + [False] * 20)
        >>> candidate = np.array([True] * 78 + [False] * 2 + [True] * 12 + [False] * 8)
        >>> result = mcnemar_exact(candidate, champion)
        >>> round(result.statistic, 3), round(result.p_value, 4)
        (0.1, 0.0129)
    """
    from scipy.stats import binomtest

    gained = int((candidate_right & ~champion_right).sum())
    lost = int((~candidate_right & champion_right).sum())
    if gained + lost == 0:
        return TestResult(0.0, 1.0)
    p_value = float(binomtest(gained, gained + lost, 0.5).pvalue)
    return TestResult((gained - lost) / len(candidate_right), p_value)
