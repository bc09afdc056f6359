"""Candidate and champion on the same rows, with every estimate computed once: what gates and report both read."""

import zlib
from dataclasses import dataclass, field

import numpy as np

from lockgate.errors import InvalidInput
from lockgate.gates.evaluate import Evaluation
from lockgate.stats.metrics import find_metric
from lockgate.stats.paired_metric import Estimate, metric_difference, metric_estimate


@dataclass
class Measured:
    """`champion_problem` says why there is a champion and yet no `champion`. State: estimates made so far.

    `unreleased_champion` is a version that has the alias and no release: no gate can ask it.
    """

    candidate: Evaluation
    champion: Evaluation | None
    champion_version: int | None
    champion_problem: str | None
    seed: int
    unreleased_champion: int | None = None
    _estimates: dict[tuple[str, bool, float, int], Estimate] = field(default_factory=dict)

    def value(self, metric: str, *, confidence: float, resamples: int) -> Estimate:
        """The candidate's metric with its interval. Raises InvalidInput where it has none."""
        assert self.candidate.answers is not None
        key = (metric, False, confidence, resamples)
        if key not in self._estimates:
            self._estimates[key] = metric_estimate(
                metric,
                self.candidate.rows,
                self.candidate.answers,
                confidence=confidence,
                resamples=resamples,
                rng=self._rng(metric),
            )
        return self._estimates[key]

    def gain(self, metric: str, *, confidence: float, resamples: int) -> Estimate:
        """How much better the candidate is than the champion; positive is better whatever the metric's direction.

        Raises InvalidInput where the rows do not define the metric for both.
        """
        if self.champion is None or self.champion.answers is None or self.candidate.answers is None:
            raise InvalidInput("candidate and champion did not both answer.")
        if self.champion.rows.positive != self.candidate.rows.positive:
            raise InvalidInput(
                f"the champion's positive class is {self.champion.rows.positive!r}, "
                f"the candidate's {self.candidate.rows.positive!r}.",
                hint="set evaluate.positive in lockgate.yaml",
            )
        key = (metric, True, confidence, resamples)
        if key not in self._estimates:
            difference = metric_difference(
                metric,
                self.candidate.rows,
                self.candidate.answers,
                self.champion.answers,
                confidence=confidence,
                resamples=resamples,
                rng=self._rng(metric),
            )
            if not find_metric(metric, self.candidate.rows.task).greater_is_better:
                difference = difference._replace(value=-difference.value, low=-difference.high, high=-difference.low)
            self._estimates[key] = difference
        return self._estimates[key]

    def _rng(self, metric: str) -> np.random.Generator:
        # By name, not by turn: another gate in the file must not change this one's draw.
        return np.random.default_rng([self.seed, zlib.crc32(metric.encode())])
