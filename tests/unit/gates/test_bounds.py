from lockgate.gates.bounds import check_bound, describe_bound
from lockgate.project import BoundGate


def test_a_met_demand_passes_with_its_interval(measure) -> None:
    measured, _ = measure(0.2)
    check = check_bound(BoundGate(metric="roc_auc", min=0.6), measured)
    assert check.status == "passed" and check.low < check.value < check.high
    assert check.bound == 0.6 and check.reason == f"roc_auc is {check.value:.4g}, at least 0.6."


def test_a_missed_demand_fails_with_the_numbers(measure) -> None:
    measured, _ = measure(0.2)
    check = check_bound(BoundGate(metric="log_loss", max=0.01), measured)
    assert check.status == "failed" and "above the most allowed 0.01" in check.reason


def test_a_demand_within_chance_says_so(measure) -> None:
    measured, _ = measure(0.2)
    limit = measured.candidate.metrics["accuracy"] - 0.001
    check = check_bound(BoundGate(metric="accuracy", min=limit), measured)
    assert check.status == "passed" and "more rows would tell" in check.reason


def test_an_undefined_metric_fails_with_the_reason(kit, measure) -> None:

    frame = kit.binary_frame()
    measured, _ = measure(0.2, frame=frame.filter(frame["label"] == 1))
    check = check_bound(BoundGate(metric="roc_auc", min=0.6), measured)
    assert check.status == "failed" and "one class" in check.reason and check.value is None


def test_a_gate_reads_as_a_formula() -> None:
    assert describe_bound(BoundGate(metric="mae", max=3.0)) == "mae <= 3"
    assert describe_bound(BoundGate(metric="recall", min=0.5, max=0.9)) == "0.5 <= recall <= 0.9"
