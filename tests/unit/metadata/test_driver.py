import math
import re
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Database, Tx
from lockgate.metadata.driver import KNOWN_IS_FINE, Given, Insert, insert, rows_among
from lockgate.metadata.modes import Raced
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.runs import IN_ACTIVE_RUN, NAME_TAG, create_run
from lockgate.metadata.schema import open_database
from lockgate.metadata.tables import latest_metrics, run_tags

Write = Callable[..., AbstractContextManager[Tx]]

RUN = "a" * 32
TEXTS = ["", " ", "plain", 'say "hi"', "back\\slash", "\\", '"', "{a,b}", "NULL", "two\nlines", "ü€😀", "it's", "%s"]
NUMBERS = [0.0, 0.1, 5e-324, -1.7976931348623157e308, math.inf, -math.inf]


@pytest.fixture
def run(write: Write) -> None:
    with write() as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="ann", start_time=1, tags={})


@pytest.mark.usefixtures("run")
def test_texts_are_written_and_looked_up_as_they_are(database: Database, write: Write) -> None:
    into = Insert(run_tags, "run_id", ("key", "value"), KNOWN_IS_FINE)
    with write() as tx:
        insert(tx, RUN, (into, [(text, text[::-1]) for text in TEXTS]), given=IN_ACTIVE_RUN)
    statement = "SELECT key, value FROM run_tags WHERE run_id = ? AND key IN ?"
    with database.read() as connection:
        found = dict(rows_among(connection, statement, RUN, among=TEXTS))
        assert found == {text: text[::-1] for text in TEXTS}
        assert rows_among(connection, statement, RUN, among=[]) == []
        assert rows_among(connection, statement, RUN, among=[TEXTS[3]]) == [(TEXTS[3], TEXTS[3][::-1])]


def test_texts_are_written_as_they_are_whatever_encoding_the_address_asks_for(postgres_url: str) -> None:
    database = open_database(parse_address(f"{postgres_url}&client_encoding=latin1"))
    into = Insert(run_tags, "run_id", ("key", "value"), KNOWN_IS_FINE)
    with database.write(at=1, by="a") as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="ann", start_time=1, tags={})
        insert(tx, RUN, (into, [("größe", "€")]), given=IN_ACTIVE_RUN)
    with database.read() as connection:
        statement = "SELECT value FROM run_tags WHERE run_id = ? AND key IN ?"
        assert rows_among(connection, statement, RUN, among=["größe"]) == [("€",)]
    database.close()


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("count", [1, 513])  # one row, and more than fit one statement
def test_numbers_and_truth_are_written_as_they_are(database: Database, write: Write, count: int) -> None:
    into = Insert(latest_metrics, "run_id", ("key", "step", "timestamp", "value", "is_nan"), KNOWN_IS_FINE)
    rows = [(f"m{i}", 2**63 - 1 - i, -i, NUMBERS[i % len(NUMBERS)], i % 2) for i in range(count)]
    with write() as tx:
        insert(tx, RUN, (into, rows), given=IN_ACTIVE_RUN)
    t = latest_metrics.c
    with database.read() as connection:
        found = connection.execute(select(t.key, t.step, t.timestamp, t.value, t.is_nan)).all()
    assert sorted(map(repr, found)) == sorted(repr((*row[:4], bool(row[4]))) for row in rows)


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(("run_id", "found"), [(RUN, "active"), ("b" * 32, None)])
@pytest.mark.parametrize("wanted", ["active", "deleted"])
def test_rows_are_written_only_where_what_they_need_is_given(
    database: Database, run_id: str, found: str | None, wanted: str
) -> None:
    given = Given("SELECT lifecycle_stage FROM runs WHERE run_id = ?", wanted)
    tags = Insert(run_tags, "run_id", ("key", "value"), KNOWN_IS_FINE)
    latest = Insert(latest_metrics, "run_id", ("key", "step", "timestamp", "value", "is_nan"), KNOWN_IS_FINE)
    for is_single in (False, True):
        rows = [(f"{is_single}", "v")]
        with database.write(at=1, by="a", decision=False, is_single=is_single) as tx:
            assert insert(tx, run_id, (tags, rows), (latest, [(*rows[0][:1], 1, 1, 1.0, 0)]), given=given) == found
    expected = ["False", "True"] if found == wanted else []
    with database.read() as connection:
        for table in (run_tags, latest_metrics):
            keys = connection.scalars(select(table.c.key).where(table.c.key != NAME_TAG).order_by(table.c.key))
            assert keys.all() == expected


@pytest.mark.parametrize("is_single", [False, True])
def test_rows_that_are_there_already_or_given_twice_are_left_out(
    database: Database, run: None, *, is_single: bool
) -> None:
    into = Insert(latest_metrics, "run_id", ("key", "step", "timestamp", "value", "is_nan"), KNOWN_IS_FINE)
    old, new = ("old", 1, 1, 1.0, 0), ("new", 2, 2, 2.0, 0)
    for rows in ([old], [old], [new, old], [new, new, old]):
        with database.write(at=1, by="a", decision=False, is_single=is_single) as tx:
            assert insert(tx, RUN, (into, rows), given=IN_ACTIVE_RUN) == "active"
    with database.read() as connection:
        found = connection.execute(select(latest_metrics.c.key, latest_metrics.c.step)).all()
    assert sorted(found) == [("new", 2), ("old", 1)]


def test_single_write_that_fails_leaves_nothing_and_the_next_goes_through(database: Database, run: None) -> None:
    tags = Insert(run_tags, "run_id", ("key", "value"), "")
    latest = Insert(latest_metrics, "run_id", ("key", "step", "timestamp", "value", "is_nan"), "")
    for _ in range(2):
        with (
            pytest.raises((IntegrityError, Raced, sqlite3.IntegrityError)),
            database.write(at=1, by="a", decision=False, is_single=True) as tx,
        ):
            insert(tx, RUN, (latest, [("m", 1, 1, 1.0, 0)]), (tags, [(NAME_TAG, "taken")]), given=IN_ACTIVE_RUN)
    with database.read() as connection:
        assert connection.scalars(select(latest_metrics.c.key)).all() == []
    with database.write(at=1, by="a", decision=False, is_single=True) as tx:
        insert(tx, RUN, (tags, [("k", "v")]), given=IN_ACTIVE_RUN)


def test_single_write_goes_through_when_its_connection_has_forgotten_it(database: Database, run: None) -> None:
    tags = Insert(run_tags, "run_id", ("key", "value"), "")
    for key in ("a", "b"):
        with database.write(at=1, by="a", decision=False, is_single=True) as tx:
            if not tx.is_sqlite:
                tx.connection.exec_driver_sql("DEALLOCATE ALL")
            insert(tx, RUN, (tags, [(key, "v")]), given=IN_ACTIVE_RUN)
    with database.read() as connection:
        assert set(connection.scalars(select(run_tags.c.key))) == {"a", "b", NAME_TAG}


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("count", [1, 2])
def test_zero_byte_is_refused_or_kept_and_never_cuts_a_row_in_two(database: Database, write: Write, count: int) -> None:
    into = Insert(run_tags, "run_id", ("key", "value"), KNOWN_IS_FINE)
    try:
        with write() as tx:
            insert(tx, RUN, (into, [("a\0b", "c\0d"), ("other", "v")][:count]), given=IN_ACTIVE_RUN)
    except InvalidInput as error:
        assert re.search("NUL|a text is not valid", error.message)  # PostgreSQL's texts cannot have one
        return
    with database.read() as connection:
        assert ("a\0b", "c\0d") in connection.execute(select(run_tags.c.key, run_tags.c.value)).all()


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("row", [("m", 2**63, 1, 1.0, 0), ("\ud800", 1, 1, 1.0, 0)])
def test_what_a_column_cannot_hold_is_refused(
    database: Database, count: int, row: tuple[str, int, int, float, int]
) -> None:
    into = Insert(latest_metrics, "run_id", ("key", "step", "timestamp", "value", "is_nan"), KNOWN_IS_FINE)
    rows = [row, ("other", 1, 1, 1.0, 0)][:count]
    with (
        pytest.raises(InvalidInput, match=r"too large|not valid"),
        database.write(at=1, by="a", decision=False, is_single=True) as tx,
    ):
        insert(tx, RUN, (into, rows), given=IN_ACTIVE_RUN)
