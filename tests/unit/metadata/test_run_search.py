import math

import pytest

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Database
from lockgate.metadata.inputs import DatasetUse, log_dataset
from lockgate.metadata.metrics import Point, log_points
from lockgate.metadata.run_search import search_runs
from lockgate.metadata.runs import create_run, log_params, set_run_stage, update_run


@pytest.fixture
def five_runs(database: Database) -> Database:
    with database.write(at=1, by="ann") as tx:
        for i in range(5):
            run_id = f"{i}" * 32
            create_run(
                tx,
                run_id,
                experiment_id=0,
                run_name=f"Run {i}",
                user_id="ann",
                start_time=100 + i,
                tags={"parity": "odd" if i % 2 else "even"},
            )
            if i < 4:
                log_points(tx, run_id, [Point("auc", i / 10, 1, 0)])
            log_params(tx, run_id, {"depth": str(i)})
        log_points(tx, "4" * 32, [Point("auc", math.nan, 1, 0)])
        update_run(tx, "0" * 32, status="FINISHED", end_time=500)
        set_run_stage(tx, "1" * 32, deleted=True)
        use = DatasetUse("rows", "d1", "local", "{}", None, None, {"mlflow.data.context": "training"})
        log_dataset(tx, "2" * 32, use)
        log_dataset(tx, "2" * 32, use)
    return database


def found(database: Database, filter_: str = "", *, order: tuple[str, ...] = (), view: str = "ACTIVE_ONLY") -> str:
    """The first digits of the ids."""
    with database.read() as connection:
        page = search_runs(
            connection,
            experiment_ids=[0],
            filter_=filter_,
            order_by=order,
            view=view,
            max_results=100,
            page_token="",
        )
    return "".join(row["run_id"][0] for row in page.rows)


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("", "4320"),
        ("metrics.auc >= 0.2", "32"),
        ("metrics.auc != 0.2", "30"),
        ("metrics.auc IS NULL", ""),
        ("params.depth = '3'", "3"),
        ("params.depth IN ('0', '4')", "40"),
        ("params.missing IS NULL AND tags.parity = 'odd'", "3"),
        ("tags.parity != 'odd'", "420"),
        ("run_name LIKE 'Run%'", "4320"),
        ("run_name LIKE 'run%'", ""),
        ("run_name ILIKE 'run%'", "4320"),
        ("status = 'FINISHED'", "0"),
        ("end_time IS NULL", "432"),
        ("start_time > 102", "43"),
        ("attributes.user_id = 'ann' AND metrics.auc < 0.3", "20"),
        ("datasets.name = 'rows' AND dataset.context = 'training'", "2"),
        ("dataset.digest = 'other'", ""),
    ],
)
def test_filter_selects(five_runs: Database, filter_: str, expected: str) -> None:
    assert found(five_runs, filter_) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (("metrics.auc DESC",), "3204"),
        (("metrics.auc",), "0234"),
        (("params.depth ASC",), "0234"),
        (("tags.parity DESC", "start_time ASC"), "3024"),
        (("attributes.end_time DESC",), "0432"),
        (("metrics.nothing",), "4320"),
    ],
)
def test_order_puts_missing_and_nan_last(five_runs: Database, order: tuple[str, ...], expected: str) -> None:
    assert found(five_runs, order=order) == expected


def test_deleted_runs_are_seen_when_asked_for(five_runs: Database) -> None:
    assert found(five_runs, view="DELETED_ONLY") == "1"
    assert found(five_runs, view="ALL") == "43210"


@pytest.mark.parametrize(
    ("filter_", "order"),
    [
        ("nothing = 'x'", ()),
        ("metrics.auc = 'x'", ()),
        ("metrics.auc LIKE '1'", ()),
        ("params.depth > 3", ()),
        ("params.depth > '3'", ()),
        ("dataset.size = '1'", ()),
        ("", ("nothing",)),
        ("", ("dataset.name",)),
        ("", ("",)),
    ],
)
def test_senseless_question_is_refused(five_runs: Database, filter_: str, order: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        found(five_runs, filter_, order=order)
