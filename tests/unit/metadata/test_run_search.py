import math
import random
import re
from collections.abc import Callable, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select, update

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Database, Tx
from lockgate.metadata.filters import parse_filter
from lockgate.metadata.inputs import DatasetUse, log_datasets
from lockgate.metadata.pages import Page
from lockgate.metadata.points import Point, log_points
from lockgate.metadata.run_filter import satisfies
from lockgate.metadata.run_search import search_runs
from lockgate.metadata.runs import create_run, log_params, set_run_stage, update_run
from lockgate.metadata.schema import open_database
from lockgate.metadata.tables import latest_metrics, params, runs


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
        log_datasets(tx, "2" * 32, [use, use])
        log_datasets(tx, "2" * 32, [use])
    return database


def search(connection: Connection, filter_: str, order: Sequence[str], **asked: Any) -> Page:
    """Of the default experiment, the first ten that are not deleted, where nothing else is `asked`."""
    usual = {"experiment_ids": [0], "view": "ACTIVE_ONLY", "max_results": 10, "page_token": ""}
    return search_runs(connection, filter_=filter_, order_by=order, **{**usual, **asked})


def found(database: Database, filter_: str = "", *, order: tuple[str, ...] = (), view: str = "ACTIVE_ONLY") -> str:
    """The first digits of the ids."""
    with database.read() as connection:
        page = search(connection, filter_, order, view=view, max_results=100)
    return "".join(row["run_id"][0] for row in page.rows)


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("", "4320"),
        ("metrics.auc >= 0.2", "32"),
        ("metrics.auc != 0.2", "430"),  # NaN is not 0.2
        ("metrics.auc NOT IN (0.2, 0.3)", "40"),
        ("metrics.auc BETWEEN 0.2 AND 0.3", "32"),
        ("NOT metrics.auc > 0.2", "420"),
        ("metrics.auc > 0.2 OR tags.parity = 'even'", "4320"),
        ("metrics.auc > 0.2 OR tags.parity = 'even' AND params.depth = '0'", "30"),
        ("NOT (end_time > 1)", "432"),
        ("NOT dataset.name = 'rows'", "430"),
        ("dataset.name IS NULL", "430"),
        ("run_name NOT LIKE 'Run 3'", "420"),
        ("start_time >= 102.5", "43"),
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
        (("metrics.auc DESC", "params.depth DESC"), "3204"),
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
        ("", ("metrics.auc", "metric.auc DESC")),
        ("metrics.auc > 'x'", ()),
        ("params.depth BETWEEN '1' AND '2'", ()),
        ("end_time LIKE '1'", ()),
        ("run_name = 3", ()),
        ("", ("",)),
    ],
)
def test_senseless_question_is_refused(five_runs: Database, filter_: str, order: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        found(five_runs, filter_, order=order)


def test_order_by_what_gives_none_says_what_does(five_runs: Database) -> None:
    with pytest.raises(InvalidInput) as refused:
        found(five_runs, order=("metrics.auc", "dataset.name"))
    assert refused.value.message == "runs cannot be ordered by dataset.name, only by a metric, param, tag or attribute."


PLANS = {
    "newest": ("", ()),
    "of several experiments": ("", ()),
    "filtered": ("metrics.auc > 0.5 AND params.depth = '3' AND tags.parity = 'odd'", ()),
    "by a metric": ("metrics.auc > 0.5", ("metrics.auc DESC",)),
    "by a param": ("", ("params.depth ASC",)),
    "by name": ("run_name = 'Run 3'", ()),
    "complement": ("NOT metrics.auc > 0.5", ("metrics.loss",)),
}


def plans_of(
    database: Database, filter_: str, order: tuple[str, ...], *, experiment_ids: Sequence[int] = (0,), few: int = 0
) -> list[str]:
    """The steps of all statements of a search on SQLite."""
    said: list[tuple[str, object]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *a: said.append((a[2], a[3])))
    with database.read() as connection:
        search(connection, filter_, order, experiment_ids=experiment_ids, few=few)
        driver = connection.connection.driver_connection
        assert driver is not None
        return [row[3] for text, values in list(said) for row in driver.execute(f"EXPLAIN QUERY PLAN {text}", values)]


@pytest.mark.parametrize("case", PLANS)
@pytest.mark.parametrize("few", [0, 5000])
def test_no_statement_scans_a_table(five_runs: Database, case: str, few: int) -> None:
    """What an index can serve is never read whole; an index may be walked, for it is left when the page is full."""
    if five_runs.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by its statistics, and reads small tables whole")
    filter_, order = PLANS[case]
    plans = plans_of(five_runs, filter_, order, experiment_ids=[0, 1] if "several" in case else [0], few=few)
    assert plans
    harmless = ("INDEX", "anon", "CONSTANT ROW")  # a walk, what was limited before, a statement without a table
    assert [step for step in plans if step.startswith("SCAN") and not any(word in step for word in harmless)] == []


@pytest.mark.parametrize(("operator", "is_by_value"), [("= 'odd'", True), ("IN ('odd', 'even')", False)])
def test_walk_checks_a_text_where_the_runs_of_its_value_lie_together(
    five_runs: Database, operator: str, is_by_value: bool
) -> None:
    """Not by the primary key, in which each run is on a page of its own; but of many values each would be sought."""
    if five_runs.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by its statistics, and reads small tables whole")
    plans = plans_of(five_runs, f"tags.parity {operator}", ("metrics.auc DESC",))
    checks = [step for step in plans if step.startswith("SEARCH run_tags")]
    by_value = [step for step in checks if step.endswith("ix_run_tags_key_value (key=? AND value=? AND run_id=?)")]
    assert (bool(by_value), any("PRIMARY KEY" in step for step in checks)) == (is_by_value, not is_by_value)


@pytest.mark.parametrize("ids", ["sunny_apple_{:04}", "5{:031x}", "{:05}", "zebra-{}"])
def test_ids_that_were_made_elsewhere_are_no_sample(database: Database, ids: str) -> None:
    """As imports bring them; ours are random."""
    with database.write(at=1, by="ann") as tx:
        for number in range(260):
            run_id = ids.format(number)
            create_run(tx, run_id, experiment_id=0, run_name="r", user_id="ann", start_time=number, tags={})
            log_params(tx, run_id, {"depth": str(number % 2)})
    for filter_, count in (("", 260), ("params.depth = '1'", 130), ("params.depth = '2'", 0)):
        with database.read() as connection:
            page = search(connection, filter_, ["params.depth"], max_results=1000)
        assert len(page.rows) == count


def test_metric_is_looked_up_only_where_a_text_is_the_one_asked_for(five_runs: Database) -> None:
    if five_runs.engine.dialect.name == "sqlite":
        pytest.skip("SQLite asks in the order of the statement, and does not count")
    scans = "SELECT seq_scan + idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'latest_metrics'"
    with five_runs.read() as connection:
        for condition in ("metrics.auc >= 0 AND params.depth = '3'", "NOT (metrics.auc >= 0 AND params.depth = '3')"):
            before = connection.exec_driver_sql(scans).scalar_one()
            connection.execute(select(runs.c.run_id).where(satisfies(parse_filter(condition)))).all()
            assert connection.exec_driver_sql(scans).scalar_one() - before == 1


MANY = 2000  # so few that a planner with statistics would rather sort them than walk


def insert_runs(tx: Tx, numbered: Sequence[tuple[int, str]]) -> None:
    """Past everything else, which would take seconds; each has values of its own, and one that all have."""
    fixed = {"experiment_id": 0, "user_id": "u", "status": "FINISHED", "lifecycle_stage": "active", "artifact_uri": "x"}
    rows = [{**fixed, "run_id": i, "run_name": i, "start_time": number} for number, i in numbered]
    tx.connection.execute(insert(runs), rows)
    insert_metric(tx, "auc", [(i, number / 10) for number, i in numbered])
    insert_metric(tx, "same", [(i, 1.0) for _, i in numbered])
    tx.connection.execute(insert(params), [{"run_id": i, "key": "depth", "value": i} for _, i in numbered])
    tx.connection.execute(insert(params), [{"run_id": i, "key": "same", "value": "s"} for _, i in numbered])


def insert_metric(tx: Tx, key: str, values: Sequence[tuple[str, float]], *, is_nan: bool = False) -> None:
    last = tx.connection.scalar(select(func.max(latest_metrics.c.series))) or 0
    fixed = {"key": key, "is_nan": is_nan, "timestamp": 1, "step": 0}
    rows = [{**fixed, "run_id": run_id, "value": value} for run_id, value in values]
    if tx.is_sqlite:  # PostgreSQL counts
        rows = [{**row, "series": number} for number, row in enumerate(rows, last + 1)]
    tx.connection.execute(insert(latest_metrics), rows)


def count_rows(database: Database) -> None:
    """As PostgreSQL does by itself, every minute or so."""
    if database.engine.dialect.name != "sqlite":
        with database.engine.connect().execution_options(lockgate_mode=None) as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


@pytest.mark.parametrize("is_analyzed", [False, True])
@pytest.mark.parametrize(
    "order",
    ["metrics.auc DESC", "params.depth ASC", "run_name ASC", "start_time DESC", "metrics.same ASC", "params.same DESC"],
)
def test_walk_goes_along_the_index_of_its_order_whatever_statistics_say(
    tmp_path: Path, order: str, is_analyzed: bool
) -> None:
    database = open_database(tmp_path / "lockgate.db")
    with database.write(at=1, by="ann") as tx:
        insert_runs(tx, [(number, f"{number:032x}") for number in range(MANY)])
        connection = tx.connection
        if is_analyzed:
            connection.exec_driver_sql("ANALYZE")
    database.engine.dispose()  # a connection reads the statistics when it is opened
    said: list[tuple[str, object]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *a: said.append((a[2], a[3])))
    with database.read() as connection:
        page = search(connection, "metrics.auc != 0.5", [order], max_results=2, few=0)
        driver = connection.connection.driver_connection
        assert driver is not None
        text, values = next(item for item in said if "_sort_0" in item[0])
        plan = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    database.close()
    assert len(page.rows) == 2
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan, plan
    # That a run has the value is seen where the runs of this value lie together.
    assert ("same" in order) == any("first" in step and "value=? AND run_id=?" in step for step in plan), plan


@pytest.mark.parametrize("few", [0, 5000])
@pytest.mark.parametrize(
    ("order", "is_newest_first"),
    [
        (("metrics.nan",), True),
        (("metrics.nan", "metrics.auc ASC"), False),
        (("metrics.nan", "start_time ASC"), False),
        (("metrics.same",), True),
        (("metrics.same", "params.depth ASC"), False),
        (("metrics.same", "start_time ASC"), False),
        (("params.same DESC", "metrics.auc ASC"), False),
    ],
)
def test_runs_that_share_a_value_are_each_looked_at_a_few_times(
    database: Database,
    rows_read: Callable[[Connection], int],
    order: tuple[str, ...],
    is_newest_first: bool,
    few: int,
) -> None:
    """PostgreSQL, kept from sorting where no index has the order, looked for each of them in all the others."""
    ids = [f"{number:032x}" for number in range(MANY)]
    with database.write(at=1, by="ann") as tx:
        insert_runs(tx, list(enumerate(ids)))
        insert_metric(tx, "nan", [(run_id, 0.0) for run_id in ids], is_nan=True)
    count_rows(database)
    found: list[str] = []
    token = ""
    with database.read() as connection:
        before = rows_read(connection)
        for _ in range(3):
            page = search(connection, "metrics.auc != 0.7", order, page_token=token, few=few)
            found += [row["run_id"] for row in page.rows]
            token = page.next_token
        assert rows_read(connection) - before < 3 * 10 * MANY
    expected = ids[::-1] if is_newest_first else ids[:7] + ids[8:]
    assert found == expected[:30]


@pytest.mark.parametrize("statistics", ["none", "older than the names"])
def test_search_needs_no_statistics(
    uncounted_database: Database, rows_read: Callable[[Connection], int], statistics: str
) -> None:
    """PostgreSQL has none in the first minute, or after an upgrade, and went through all runs for each of them.

    So it did for a name of which they do not tell, which is that of a metric that somebody begins to log.
    """
    rng = random.Random(0)
    older, ids = ([f"{rng.getrandbits(128):032x}" for _ in range(MANY)] for _ in range(2))
    if statistics != "none":
        with uncounted_database.write(at=1, by="ann") as tx:
            insert_runs(tx, list(enumerate(older, -MANY)))
            for table in (latest_metrics, params):
                tx.connection.execute(update(table).values(key="older " + table.c.key))
        count_rows(uncounted_database)
    with uncounted_database.write(at=1, by="ann") as tx:
        insert_runs(tx, list(enumerate(ids)))
    searches: list[tuple[str, tuple[str, ...]]] = [
        ("params.same = 's' AND metrics.auc >= 0", ("metrics.auc ASC",)),
        ("metrics.auc >= 0 AND params.same = 's'", ()),
        ("metrics.auc < 0 OR params.same = 's'", ()),
        ("", ("metrics.same", "start_time ASC")),
        ("metrics.same = 1", ("metrics.auc", "params.depth")),
        ("metrics.same > 0 AND metrics.auc >= 0", ("params.same", "start_time ASC")),
    ]
    for (filter_, order), few in product(searches, (0, 5000)):
        with uncounted_database.read() as connection:
            before = rows_read(connection)
            page = search(connection, filter_, order, max_results=5, few=few)
            assert rows_read(connection) - before < 5 * MANY, (filter_, order, few)
        assert [row["run_id"] for row in page.rows] == (ids[:5] if order else ids[::-1][:5])


@pytest.mark.parametrize(("share", "is_counted"), [(2, False), (50, True)])
def test_runs_with_a_common_value_are_not_counted(database: Database, share: int, is_counted: bool) -> None:
    rng = random.Random(0)
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(600)]
    with database.write(at=1, by="ann") as tx:
        insert_runs(tx, list(enumerate(ids)))
        nans = [run_id for number, run_id in enumerate(ids) if number % share == 0]
        insert_metric(tx, "nan", [(run_id, 0.0) for run_id in nans], is_nan=True)
    said: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    with database.read() as connection:
        page = search(connection, "", ["metrics.nan"], max_results=5, few=400)
    assert [row["run_id"] for row in page.rows] == nans[::-1][:5]
    assert any(text.startswith("SELECT first.run_id") for text in said) == is_counted


@pytest.mark.parametrize(
    ("filter_", "counted"),
    [
        ("metrics.auc > 0.5", []),
        ("metrics.auc > 0.99", [["runs", "latest_metrics"]]),
        ("params.is = 'many' AND metrics.auc > 0.9", [["runs", "latest_metrics"]]),
        ("params.is = 'few' AND metrics.auc > 0", [["runs", "params", "latest_metrics"]]),
    ],
)
def test_what_a_sample_shows_to_hold_for_many_is_not_counted(
    database: Database, filter_: str, counted: list[list[str]]
) -> None:
    rng = random.Random(0)
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(600)]
    with database.write(at=1, by="ann") as tx:
        for number, run_id in enumerate(ids):
            create_run(tx, run_id, experiment_id=0, run_name="r", user_id="ann", start_time=number, tags={})
            log_points(tx, run_id, [Point("auc", number / 600, 1, 0)])
            log_params(tx, run_id, {"is": "few" if number % 20 == 19 else "many"})
    said: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    with database.read() as connection:
        page = search(connection, filter_, ["metrics.auc ASC"], few=100)
    least, few = float(filter_.split()[-1]), "few" in filter_
    found = (run_id for number, run_id in enumerate(ids) if number / 600 > least and (number % 20 == 19 or not few))
    assert [row["run_id"] for row in page.rows] == list(islice(found, 10))
    counts = [text for text in said if text.startswith("SELECT (SELECT count(*)")]
    assert [re.findall(r"FROM \(SELECT (\w+)\.run_id", text) for text in counts] == counted
