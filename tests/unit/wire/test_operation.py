import math

import pytest

from lockgate.errors import InvalidInput
from lockgate.server.table import ROUTES
from lockgate.wire.mlflow.logged_models import DELETE_LOGGED_MODEL_TAG
from lockgate.wire.mlflow.runs import SEARCH_RUNS, OfRun, number_in, number_out
from lockgate.wire.registry import SET_ALIAS


def test_path_names_its_group_and_operation() -> None:
    assert (SET_ALIAS.method, SET_ALIAS.path) == ("POST", "/api/lockgate/1/registry/set-alias")
    assert SEARCH_RUNS.path == "/api/2.0/mlflow/runs/search"


def test_fields_in_the_path_are_known() -> None:
    assert DELETE_LOGGED_MODEL_TAG.path_fields == ("model_id", "tag_key")
    assert "order_by" in SEARCH_RUNS.list_fields


def test_no_two_operations_answer_at_one_place() -> None:
    places = [(route.operation.method, route.operation.path) for route in ROUTES]
    assert len(set(places)) == len(places)


def test_every_field_of_a_path_is_a_field_of_its_request() -> None:
    for route in ROUTES:
        assert set(route.operation.path_fields) <= set(route.operation.request.__struct_fields__)


@pytest.mark.parametrize(
    ("value", "text"), [(1.5, 1.5), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")]
)
def test_number_travels_there_and_back(value: float, text: float | str) -> None:
    assert number_out(value) == text
    back = number_in(text, "m")
    assert back == value or (math.isnan(back) and math.isnan(value))


def test_number_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="'auc'"):
        number_in("high", "auc")


def test_run_is_named_by_either_field() -> None:
    assert OfRun(run_uuid="b").id == "b"
    assert OfRun(run_id="a", run_uuid="b").id == "a"
    with pytest.raises(InvalidInput):
        _ = OfRun().id
