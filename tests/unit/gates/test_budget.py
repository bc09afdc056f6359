import polars as pl

from lockgate.clock import FakeClock
from lockgate.gates.budget import check_budget, measure_latency
from lockgate.project import BudgetGate

FRAME = pl.DataFrame({"x": [1.0, 2.0, 3.0]})


def slow_model(kit, clock: FakeClock, milliseconds: list[float]):
    def predict(columns):
        clock.sleep(milliseconds[model.calls % len(milliseconds)] / 1000)
        return columns["x"]

    model = kit.FunctionModel(predict, example=FRAME)
    return model


def test_latency_is_that_of_single_rows_after_a_warm_up(kit) -> None:
    clock = FakeClock()
    model = slow_model(kit, clock, [1.0])
    taken = measure_latency(model, {"x": FRAME["x"].to_numpy()}, clock=clock)
    assert len(taken) == 1000 and model.calls == 1030
    assert all(abs(value - 1.0) < 1e-6 for value in taken)


def test_a_slow_model_is_measured_for_a_bounded_time(kit) -> None:
    clock = FakeClock()
    taken = measure_latency(slow_model(kit, clock, [200.0]), {"x": FRAME["x"].to_numpy()}, clock=clock)
    assert len(taken) == 100


def test_both_limits_are_checked_with_the_measured_numbers() -> None:
    gate = BudgetGate(latency_ms_p50=2.0, latency_ms_p99=5.0, size_mb=1.0)
    checks = check_budget(gate, size_bytes=2_000_000, latencies_ms=[1.0] * 97 + [10.0] * 3)
    assert [(check.metric, check.status, check.value) for check in checks] == [
        ("size_mb", "failed", 2.0),
        ("latency_ms_p50", "passed", 1.0),
        ("latency_ms_p99", "failed", 10.0),
    ]
    assert "the budget is 1 MB" in checks[0].reason


def test_without_rows_latency_cannot_be_promised() -> None:
    (check,) = check_budget(BudgetGate(latency_ms_p99=5.0), size_bytes=1, latencies_ms=None)
    assert check.status == "failed" and "no row to measure on" in check.reason
