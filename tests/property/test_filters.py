"""A filter means on the database what it says: a naive reading of random expressions finds the same runs."""

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lockgate.metadata.database import Database
from lockgate.metadata.filters import And, Comparison, Filter, Name, Not, Or, parse_filter
from lockgate.metadata.points import Point, log_points
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.run_search import search_runs
from lockgate.metadata.runs import create_run, log_params, update_run
from lockgate.metadata.schema import open_database


@dataclass(frozen=True)
class Example:
    run_id: str
    name: str
    start: int
    end: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


LONG = "x" * 70  # longer than what an index holds
EXAMPLES = (
    Example("0" * 32, "plain", 10),
    Example("1" * 32, "One", 20, 30, {"a": 0.5, "b b": -1.0}, {"p": "1", "q": LONG}, {"t": "x"}),
    Example("2" * 32, "two", 20, 25, {"a": math.nan}, {"p": "2", "q": LONG + "y"}, {"t": "X%"}),
    Example("3" * 32, "it's", 30, None, {"a": math.inf, "b b": 2.0}, {"p": ""}, {"t": "a_b", "u": "\\", "v": "C:\\x"}),
    Example("4" * 32, "two", 40, 41, {"a": -math.inf, "b b": 0.5}, {"p": "1"}, {"u": "x"}),
    Example("5" * 32, "ONE", 50, 30, {"b b": math.nan}, {"q": LONG}, {"t": "x", "u": "é"}),
    Example("6" * 32, "six", 60, 90, {"a": 2.0}, {"p": "10", "q": ""}, {}),
)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        found = open_database(tmp_path_factory.mktemp("filters") / "lockgate.db")
    else:
        found = open_database(parse_address(request.getfixturevalue("postgres").create_database()))
    with found.write(at=1, by="ann") as tx:
        for item in EXAMPLES:
            create_run(
                tx, item.run_id, experiment_id=0, run_name=item.name, user_id="u", start_time=item.start, tags=item.tags
            )
            log_params(tx, item.run_id, item.params)
            log_points(tx, item.run_id, [Point(key, value, 1, 0) for key, value in item.metrics.items()])
            if item.end is not None:
                update_run(tx, item.run_id, status="FINISHED", end_time=item.end)
    yield found
    found.close()


# -- random expressions -----------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([-1.0, -1, 0, 0.5, 1, 2, 2.0, 20, 25, 30, 41.5, 1e300])
TEXTS = st.sampled_from(
    [
        "",
        "1",
        "2",
        "10",
        "x",
        "X%",
        "a_b",
        "%",
        "_",
        "x%",
        "%o%",
        "\\",
        "C:\\x",
        "it's",
        "two",
        "é",
        LONG,
        LONG + "y",
        "ON_",
    ]
)
NUMBER_NAMES = st.sampled_from(
    [
        Name("metric", "a"),
        Name("metric", "b b"),
        Name("metric", "no"),
        Name("", "start_time"),
        Name("attribute", "end_time"),
    ]
)
TEXT_NAMES = st.sampled_from(
    [Name("param", "p"), Name("param", "q"), Name("tag", "t"), Name("tag", "u"), Name("tag", "v"), Name("", "run_name")]
)
PRESENCE = st.builds(Comparison, NUMBER_NAMES | TEXT_NAMES, st.sampled_from(["IS NULL", "IS NOT NULL"]), st.none())
OF_NUMBERS = st.one_of(
    st.builds(Comparison, NUMBER_NAMES, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), NUMBERS),
    st.builds(
        Comparison,
        NUMBER_NAMES,
        st.sampled_from(["IN", "NOT IN"]),
        st.lists(NUMBERS, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Comparison, NUMBER_NAMES, st.sampled_from(["BETWEEN", "NOT BETWEEN"]), st.tuples(NUMBERS, NUMBERS)),
)
OF_TEXTS = st.one_of(
    st.builds(Comparison, TEXT_NAMES, st.sampled_from(["=", "!=", "LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE"]), TEXTS),
    st.builds(
        Comparison, TEXT_NAMES, st.sampled_from(["IN", "NOT IN"]), st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
    ),
)
TREES = st.recursive(
    OF_NUMBERS | OF_TEXTS | PRESENCE,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


def rendered(tree: Filter) -> str:
    """With every inner expression in parentheses."""
    if isinstance(tree, Comparison):
        return rendered_comparison(tree)
    if isinstance(tree, Not):
        return f"NOT ({rendered(tree.part)})"
    return f" {'AND' if isinstance(tree, And) else 'or'} ".join(f"({rendered(part)})" for part in tree.parts)


def rendered_comparison(comparison: Comparison) -> str:
    (entity, key), operator_, value = comparison.name, comparison.operator, comparison.value
    name = f"{entity}s.`{key}`" if entity else key
    if value is None:
        return f"{name} {operator_}"
    if not isinstance(value, tuple):
        return f"{name} {operator_} {rendered_value(value)}"
    if operator_.endswith("BETWEEN"):
        return f"{name} {operator_} {rendered_value(value[0])} AND {rendered_value(value[1])}"
    return f"{name} {operator_} ({', '.join(map(rendered_value, value))})"


def rendered_value(value: str | int | float) -> str:
    if not isinstance(value, str):
        return repr(value)
    # Backslashes count before a quote or the end only.
    doubled = re.sub(r"\\+(?='|\Z)", lambda found: found[0] * 2, value)
    return "'" + doubled.replace("'", "\\'") + "'"


# -- the naive reading ------------------------------------------------------------------------------------------------


def is_like(text: str, pattern: str, *, ignore_case: bool = False) -> bool:
    if ignore_case:
        text, pattern = text.lower(), pattern.lower()
    glob = "".join({"%": "*", "_": "?"}.get(c, f"[{c}]" if c in "*?[" else c) for c in pattern)
    return re.fullmatch(fnmatch.translate(glob), text) is not None


SENSES: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "IN": lambda value, among: value in among,
    "NOT IN": lambda value, among: value not in among,
    "BETWEEN": lambda value, ends: ends[0] <= value <= ends[1],
    "NOT BETWEEN": lambda value, ends: not ends[0] <= value <= ends[1],
    "LIKE": is_like,
    "NOT LIKE": lambda text, pattern: not is_like(text, pattern),
    "ILIKE": lambda text, pattern: is_like(text, pattern, ignore_case=True),
    "NOT ILIKE": lambda text, pattern: not is_like(text, pattern, ignore_case=True),
}


def is_true(tree: Filter, run: Example) -> bool:
    if isinstance(tree, Not):
        return not is_true(tree.part, run)
    if isinstance(tree, And):
        return all(is_true(part, run) for part in tree.parts)
    if isinstance(tree, Or):
        return any(is_true(part, run) for part in tree.parts)
    value = value_of(tree.name, run)
    if tree.operator == "IS NULL":
        return value is None
    if tree.operator == "IS NOT NULL":
        return value is not None
    return value is not None and SENSES[tree.operator](value, tree.value)


def value_of(name: Name, run: Example) -> Any:
    kept: dict[str, dict[str, Any]] = {"metric": run.metrics, "param": run.params, "tag": run.tags}
    if name.entity in kept:
        return kept[name.entity].get(name.key)
    return {"start_time": run.start, "end_time": run.end, "run_name": run.name}[name.key]


# -- the properties ---------------------------------------------------------------------------------------------------


@given(TREES)
def test_expression_is_read_back_as_it_was_written(tree: Filter) -> None:
    assert parse_filter(rendered(tree)) == tree


@given(TREES)
@example(Not(Comparison(Name("metric", "a"), ">", 1)))
@example(Not(Comparison(Name("attribute", "end_time"), ">", 1)))
@example(Comparison(Name("metric", "a"), "IS NOT NULL", None))  # of a NaN
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_search_finds_what_a_naive_reading_finds(database: Database, tree: Filter) -> None:
    expected = {run.run_id[0] for run in EXAMPLES if is_true(tree, run)}
    for few in (0, 3, 5000):  # both ways of the search
        with database.read() as connection:
            page = search_runs(
                connection,
                experiment_ids=[0],
                filter_=rendered(tree),
                order_by=(),
                view="ACTIVE_ONLY",
                max_results=100,
                page_token="",
                few=few,
            )
        assert {row["run_id"][0] for row in page.rows} == expected
