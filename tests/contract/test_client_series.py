import math

import pytest

from lockgate.client.client import Client
from lockgate.errors import InvalidInput, NotFound
from lockgate.wire.mlflow.runs import DELETE_RUN, OfRun, number_out
from lockgate.wire.series import VALUES_A_REQUEST, Series


def series(key: str, *values: float, first_step: int = 0) -> Series:
    steps = tuple(range(first_step, first_step + len(values)))
    numbers = tuple(number_out(value) for value in values)
    return Series(key=key, values=numbers, timestamps=tuple(1000 + step for step in steps), steps=steps)


@pytest.fixture
def run_id(client: Client) -> str:
    return client.tracking.create_run("0")


def test_values_in_columns_are_the_history(client: Client, run_id: str) -> None:
    client.tracking.log_series(run_id, [series("loss", 3.0, 2, 0.5), series("odd", math.nan, math.inf, -math.inf)])
    history = client.tracking.metric_history(run_id, "loss")
    assert [(item.timestamp, item.step, item.value) for item in history] == [(1000, 0, 3), (1001, 1, 2), (1002, 2, 0.5)]
    assert [item.value for item in client.tracking.metric_history(run_id, "odd")] == ["NaN", "Infinity", "-Infinity"]
    latest = {item.key: item.value for item in client.tracking.get_run(run_id).data.metrics}
    assert latest == {"loss": 0.5, "odd": "-Infinity"}


def test_largest_request_is_taken_and_one_more_value_is_not(client: Client, run_id: str) -> None:
    half = VALUES_A_REQUEST // 2
    client.tracking.log_series(run_id, [series("a", *[0.5] * half), series("b", *[0.5] * half)])
    assert len(client.tracking.metric_history(run_id, "b")) == half
    with pytest.raises(InvalidInput, match="takes 10000 values, this one has 10001"):
        client.tracking.log_series(run_id, [series("c", *[0.5] * half), series("d", *[0.5] * (half + 1))])
    assert client.tracking.metric_history(run_id, "c") == []


@pytest.mark.parametrize(
    "wrong",
    [
        Series(key="m", values=(1.0, 2.0), timestamps=(1,), steps=(1, 2)),
        Series(key="m", values=("high",), timestamps=(1,), steps=(1,)),
        Series(key="m", values=(1.0,), timestamps=(-1,), steps=(1,)),
        Series(key="", values=(1.0,), timestamps=(1,), steps=(1,)),
    ],
)
def test_request_with_something_wrong_is_refused_whole(client: Client, run_id: str, wrong: Series) -> None:
    with pytest.raises(InvalidInput):
        client.tracking.log_series(run_id, [series("fine", 1.0), wrong])
    assert client.tracking.metric_history(run_id, "fine") == []


def test_run_must_be_there_and_not_deleted(client: Client, run_id: str) -> None:
    with pytest.raises(NotFound):
        client.tracking.log_series("f" * 32, [series("m", 1.0)])
    client.transport.call(DELETE_RUN, OfRun(run_id=run_id))
    with pytest.raises(InvalidInput):
        client.tracking.log_series(run_id, [series("m", 1.0)])
