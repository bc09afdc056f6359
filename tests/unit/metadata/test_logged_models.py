import pytest

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import logged_models
from lockgate.metadata.logged_model_search import Order, search_logged_models
from lockgate.metadata.points import ModelPoint, Point, log_model_points
from lockgate.metadata.runs import create_run

RUN = "a" * 32


@pytest.fixture
def three(write):
    with write(at=1) as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
    for i in range(3):
        with write(at=10 + i) as tx:
            logged_models.create_logged_model(
                tx,
                f"m-{i}",
                experiment_id=0,
                name=f"model{i}",
                model_type="",
                source_run_id=RUN,
                params={"depth": str(i)},
                tags={"k": "v"} if i else {},
            )
            log_model_points(tx, RUN, [ModelPoint(f"m-{i}", Point("auc", i / 10, 1, 0), "rows", "d")])
    return write


def found(tx, filter_: str = "", *, order: list[Order] | None = None, datasets=()) -> list[str]:
    page = search_logged_models(
        tx.connection,
        experiment_ids=[0],
        filter_=filter_,
        datasets=datasets,
        order_by=order or [],
        max_results=10,
        page_token="",
    )
    return [row["model_id"] for row in page.rows]


def test_models_are_searched_by_everything_they_have(three) -> None:
    with three() as tx:
        assert found(tx) == ["m-2", "m-1", "m-0"]
        assert found(tx, "metrics.auc > 0.05") == ["m-2", "m-1"]
        assert found(tx, "metrics.auc > 0.05", datasets=[("other", None)]) == []
        assert found(tx, datasets=[("rows", "d")]) == ["m-2", "m-1", "m-0"]
        assert found(tx, "params.depth = '1' AND tags.k = 'v'") == ["m-1"]
        assert found(tx, f"source_run_id = '{RUN}' AND name LIKE 'model%' AND creation_timestamp >= 11") == [
            "m-2",
            "m-1",
        ]
        assert found(tx, order=[Order("metrics.auc", True, "rows", None)]) == ["m-0", "m-1", "m-2"]
        assert found(tx, order=[Order("name", True, None, None)]) == ["m-0", "m-1", "m-2"]
        with pytest.raises(InvalidInput):
            found(tx, "nothing = 'x'")
        with pytest.raises(InvalidInput):
            found(tx, order=[Order("nothing", True, None, None)])


def test_deleted_model_is_gone(three) -> None:
    with three() as tx:
        logged_models.delete_logged_model(tx, "m-1")
        assert found(tx) == ["m-2", "m-0"]
        with pytest.raises(NotFound):
            logged_models.get_logged_model(tx.connection, "m-1")


def test_finalised_model_leaves_an_event(three) -> None:
    with three() as tx:
        logged_models.finalize_logged_model(tx, "m-1", "LOGGED_MODEL_READY")
        assert logged_models.get_logged_model(tx.connection, "m-1")["status"] == "LOGGED_MODEL_READY"
        with pytest.raises(NotFound):
            logged_models.delete_logged_model_tag(tx, "m-1", "nothing")
