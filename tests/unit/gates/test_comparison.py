import msgspec
import numpy as np
import pytest

from lockgate.gates.comparison import check_comparison
from lockgate.gates.measured import Measured
from lockgate.project import ComparisonGate

NO_WORSE = ComparisonGate(metric="roc_auc", no_worse_than="champion", margin=0.01)
BETTER = ComparisonGate(metric="roc_auc", better_than="champion")


def test_without_a_champion_it_is_skipped(measure) -> None:
    measured, _ = measure(0.5)
    check = check_comparison(NO_WORSE, measured)
    assert check.status == "skipped" and "no champion yet" in check.reason


def test_a_champion_without_a_release_is_named_and_not_compared_with(measure) -> None:
    measured, _ = measure(0.5)
    measured.unreleased_champion = 2
    check = check_comparison(NO_WORSE, measured)
    assert check.status == "skipped" and "champion version 2 was registered from outside" in check.reason


def test_a_worse_candidate_is_refused(measure) -> None:
    measured, _ = measure(4.0, 0.1)
    check = check_comparison(NO_WORSE, measured)
    assert check.status == "failed" and check.reason.startswith("worse by")
    assert check.high < 0 and check.details["champion_version"] == 3


def test_a_better_candidate_passes_both_questions(measure) -> None:
    measured, _ = measure(0.1, 4.0)
    assert check_comparison(NO_WORSE, measured).status == "passed"
    check = check_comparison(BETTER, measured)
    assert check.status == "passed" and check.low > 0


def test_the_same_model_is_no_worse_and_not_better(measure) -> None:
    measured, _ = measure(0.5, 0.5)
    check = check_comparison(msgspec.structs.replace(NO_WORSE, margin=0.0), measured)
    assert (check.status, check.low, check.high) == ("passed", 0.0, 0.0)
    assert check_comparison(BETTER, measured).status == "failed"


def test_metrics_that_should_be_small_count_the_other_way_round(measure) -> None:
    measured, _ = measure(0.1, 4.0)
    gate = ComparisonGate(metric="log_loss", better_than="champion")
    check = check_comparison(gate, measured)
    assert check.status == "passed" and check.value < check.champion_value and check.details["gain"] > 0


def test_too_few_rows_to_rule_out_harm_are_named(kit, measure) -> None:
    measured, _ = measure(1.0, 1.2, frame=kit.binary_frame(40))
    check = check_comparison(msgspec.structs.replace(NO_WORSE, margin=0.0), measured)
    assert check.details["gain"] > 0 > check.low
    assert check.status == "failed" and "cannot rule out" in check.reason


def test_accuracy_carries_the_exact_test(measure) -> None:
    measured, _ = measure(0.1, 4.0)
    details = check_comparison(msgspec.structs.replace(NO_WORSE, metric="accuracy"), measured).details
    assert details["gained_rows"] > details["lost_rows"] and details["mcnemar_p"] < 0.01


def test_a_champion_that_cannot_answer_refuses_with_the_reason(measure) -> None:
    measured, _ = measure(0.5)
    broken = Measured(measured.candidate, None, 4, "it lacks the column 'age'.", 0)
    check = check_comparison(NO_WORSE, broken)
    assert check.status == "failed" and "version 4 cannot be asked: it lacks the column" in check.reason


def test_a_verdict_does_not_depend_on_other_gates(measure) -> None:
    alone, _ = measure(0.5, 0.6)
    after, _ = measure(0.5, 0.6)
    check_comparison(BETTER, after)
    check_comparison(msgspec.structs.replace(NO_WORSE, metric="brier"), after)
    assert check_comparison(NO_WORSE, alone) == check_comparison(NO_WORSE, after)


@pytest.mark.parametrize("better", [True, False])
def test_equal_models_are_promoted_as_rarely_as_the_confidence_says(measure, better: bool) -> None:
    """Champion and candidate have equal noise of their own: `better_than` passes in about 5 % of evaluations."""
    rng = np.random.default_rng(0)
    from lockgate.stats.paired_metric import Answers, Rows, metric_difference

    passed = []
    for _ in range(200):
        y = rng.random(200) < 0.5
        candidate, champion = (Answers(y ^ (rng.random(200) < 0.2), None) for _ in range(2))
        rows = Rows("binary_classification", y, (False, True), True)
        gain = metric_difference("f1", rows, candidate, champion, confidence=0.95, resamples=400, rng=rng)
        passed.append(gain.low > 0 if better else gain.high < 0)
    assert np.mean(passed) <= 0.09
