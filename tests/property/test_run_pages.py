"""Pages of runs: in order whatever the way of the search, and right while runs are added and removed."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.metadata.database import Database
from lockgate.metadata.points import Point, log_points
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.run_search import search_runs
from lockgate.metadata.runs import create_run, log_params, set_run_stage
from lockgate.metadata.schema import open_database

# (start, metric m, param p, name): with ties, gaps, NaN, infinities, and a text longer than what an index holds
ROWS: tuple[tuple[int, float | None, str | None, str], ...] = (
    (10, None, None, "a"),
    (10, 1.0, "x", "b"),
    (20, 1.0, "x" * 70, "c"),
    (20, 1.0, "x" * 70 + "a", "c"),
    (30, math.nan, "", "d"),
    (30, math.inf, None, "d"),
    (40, -math.inf, "y", "e"),
    (40, None, "Y", "f"),
    (50, math.nan, "é", "g"),
    (60, 0.5, "x", "h"),
    (60, 0.5, None, "h"),
)
TERMS = ("metrics.m", "params.p", "start_time", "run_name", "attributes.end_time")
ORDERS = st.lists(st.tuples(st.sampled_from(TERMS), st.booleans()), max_size=3, unique_by=lambda term: term[0])


def run_id_of(number: int) -> str:
    return f"{number:02d}" * 16


def add(database: Database, number: int, row: tuple[int, float | None, str | None, str]) -> None:
    start, metric, param, name = row
    with database.write(at=1, by="ann") as tx:
        create_run(tx, run_id_of(number), experiment_id=0, run_name=name, user_id="u", start_time=start, tags={})
        if metric is not None:
            log_points(tx, run_id_of(number), [Point("m", metric, 1, 0)])
        if param is not None:
            log_params(tx, run_id_of(number), {"p": param})


def filled(folder: Path, setting: str) -> Database:
    found = open_database(parse_address(setting) if setting else folder / "lockgate.db")
    for number, row in enumerate(ROWS):
        add(found, number, row)
    return found


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, module_database_setting: str) -> Iterator[Database]:
    found = filled(tmp_path_factory.mktemp("pages"), module_database_setting)
    yield found
    found.close()


@pytest.fixture
def changing_database(tmp_path: Path, database_setting: str) -> Iterator[Database]:
    found = filled(tmp_path, database_setting)
    yield found
    found.close()


def page_of(database: Database, order: Sequence[str], size: int, token: str, few: int) -> tuple[list[int], str]:
    with database.read() as connection:
        page = search_runs(
            connection,
            experiment_ids=[0],
            filter_="",
            order_by=order,
            view="ACTIVE_ONLY",
            max_results=size,
            page_token=token,
            few=few,
        )
    return [int(row["run_id"][:2]) for row in page.rows], page.next_token


def key_of(number: int, terms: Sequence[tuple[str, bool]]) -> tuple[Any, ...]:
    """What Python sorts by: missing last, before it NaN, whatever the direction."""
    start, metric, param, name = ROWS[number]
    key: list[Any] = []
    for term, ascending in terms:
        sign = 1 if ascending else -1
        if term == "metrics.m":
            rank = 2 if metric is None else 1 if math.isnan(metric) else 0
            key += [rank, sign * metric if rank == 0 and metric is not None else 0.0]
        elif term == "start_time":
            key.append(sign * start)
        elif term == "params.p":
            key += [param is None, text_key(param or "", ascending)]
        elif term == "run_name":
            key.append(text_key(name, ascending))
    return (*key, -start, number)


def text_key(text: str, ascending: bool) -> tuple[int, ...]:
    return tuple(map(ord, text)) if ascending else (*(-ord(c) for c in text), 1)


@given(ORDERS, st.integers(1, 4), st.lists(st.sampled_from([0, 5, 5000]), min_size=20, max_size=20))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_together_are_the_sorted_whole(
    database: Database, terms: list[tuple[str, bool]], size: int, ways: list[int]
) -> None:
    order = [f"{term} {'ASC' if ascending else 'DESC'}" for term, ascending in terms]
    found: list[int] = []
    token = ""
    for few in ways:  # the way may change between pages: a token holds for both
        numbers, token = page_of(database, order, size, token, few)
        found += numbers
        if not token:
            break
    assert found == sorted(range(len(ROWS)), key=lambda number: key_of(number, terms))


@pytest.mark.parametrize("few", [0, 5000])
@pytest.mark.parametrize("order", [[], ["metrics.m DESC"], ["params.p ASC"], ["run_name DESC"]])
def test_no_page_moves_while_runs_come_and_go(changing_database: Database, order: list[str], few: int) -> None:
    database = changing_database
    first, token = page_of(database, order, 4, "", few)
    add(database, 90, (99, 9.0, "zz", "zz"))
    add(database, 91, (1, -9.0, "A", "A"))
    with database.write(at=2, by="ann") as tx:
        set_run_stage(tx, run_id_of(first[-1]), deleted=True)  # the row that the token names
    rest, _ = page_of(database, order, 100, token, few)
    assert len(set(first) & set(rest)) == 0
    assert set(first) | set(rest) >= set(range(len(ROWS)))
