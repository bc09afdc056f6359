import enum
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from lockgate.client.outbox.batch import ITEMS_A_RECORD
from lockgate.client.outbox.values import numbers, parts, seconds, texts, whole
from lockgate.errors import InvalidInput


@pytest.mark.parametrize("value", [1.5, np.float32(1.5), np.float64(1.5), np.array(1.5), Decimal("1.5")])
def test_number_of_any_library_is_a_float(value: Any) -> None:
    found = numbers({"m": value})["m"]
    assert found == 1.5
    assert type(found) is float


def test_whole_numbers_and_truth_values_are_numbers() -> None:
    assert numbers({"a": 3, "b": True, "c": np.int64(4)}) == {"a": 3.0, "b": 1.0, "c": 4.0}


@pytest.mark.parametrize("value", ["1.5", b"1", None, [1.0], {}, 1j, np.zeros(2), 10**400])
def test_what_is_no_number_is_refused_with_its_name(value: Any) -> None:
    with pytest.raises(InvalidInput, match="the value of metric 'loss' is not a number"):
        numbers({"fine": 1.0, "loss": value})


HUGE = pytest.param(10**5000, id="huge")  # more digits than int writes


class Broken:
    """Fails in its own way wherever it is asked."""

    def __float__(self) -> float:
        raise AttributeError("no float")

    def __index__(self) -> int:
        raise KeyError("no index")

    def __str__(self) -> str:
        raise LookupError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(10**5000, "<int>", id="huge"),
        pytest.param(Broken(), "<Broken>", id="broken"),
        pytest.param("x" * 999, "'xxx", id="long"),
    ],
)
def test_value_that_is_refused_is_shown_shortly_whatever_it_is(value: Any, shown: str) -> None:
    for check in (lambda: numbers({"loss": value}), lambda: whole(value)):
        with pytest.raises(InvalidInput) as error:
            check()
        assert shown in error.value.message
        assert len(error.value.message) < 400


@pytest.mark.parametrize("value", [HUGE, Broken()])
def test_param_without_a_text_is_refused_with_its_name(value: Any) -> None:
    with pytest.raises(InvalidInput, match="the value of 'depth' cannot be written as text: <"):
        texts({"depth": value})


@pytest.mark.parametrize("name", ["", "x" * 251, 3, None, b"x", "\ud800", HUGE])
def test_name_that_cannot_be_stored_is_refused(name: Any) -> None:
    for check in (numbers, texts):
        with pytest.raises(InvalidInput, match="1 to 250 characters"):
            check({name: 1.0})
    assert numbers({"x" * 250: 1.0})


@pytest.mark.parametrize("given", [[("a", 1)], None, "x", 3, dict, np.zeros(2), Broken()])
def test_what_is_no_mapping_is_refused(given: Any) -> None:
    for check in (numbers, texts):
        with pytest.raises(InvalidInput, match="names with their values were expected"):
            check(given)


@pytest.mark.parametrize("timeout", ["1", b"1", None, [1], float("nan"), float("inf"), 1e300, HUGE, Broken()])
def test_timeout_that_is_no_time_is_refused(timeout: Any) -> None:
    with pytest.raises(InvalidInput, match="a timeout is a number of seconds"):
        seconds(timeout)


def test_timeout_is_seconds() -> None:
    assert [seconds(timeout) for timeout in (60, 0.5, np.float32(2), -1)] == [60.0, 0.5, 2.0, -1.0]


def test_refused_name_is_refused_the_second_time_too() -> None:
    for _ in range(2):
        with pytest.raises(InvalidInput):
            numbers({"fine": 1.0, "y" * 251: 1.0})


def test_texts_are_what_str_says() -> None:
    assert texts({"a": 3, "b": True, "c": 0.1, "d": "é", np.str_("e"): None}) == {  # type: ignore[dict-item]  # a user's
        "a": "3",
        "b": "True",
        "c": "0.1",
        "d": "é",
        "e": "None",
    }
    with pytest.raises(InvalidInput, match="no valid text"):
        texts({"path": "caf\udce9"})


class Epoch(enum.IntEnum):
    FIRST = 1


@pytest.mark.parametrize("step", [1, np.int64(1), True, Epoch.FIRST])
def test_step_is_a_whole_number(step: Any) -> None:
    assert whole(step) == 1


@pytest.mark.parametrize("step", [1.0, "1", None, 2**63, -(2**63) - 1])
def test_other_step_is_refused(step: Any) -> None:
    with pytest.raises(InvalidInput, match="step"):
        whole(step)


@pytest.mark.parametrize("count", [0, 1, ITEMS_A_RECORD, ITEMS_A_RECORD + 1, 3 * ITEMS_A_RECORD])
def test_parts_are_all_of_it_in_order(count: int) -> None:
    values = {str(i): i for i in range(count)}
    found = list(parts(values))
    assert max(len(part) for part in found) <= ITEMS_A_RECORD
    assert [item for part in found for item in part.items()] == list(values.items())
