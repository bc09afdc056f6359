import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidInput
from lockgate.metadata.filters import (
    EVERYTHING,
    MAX_COMPARISONS,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_VALUES,
    And,
    Comparison,
    Name,
    Not,
    Or,
    Order,
    parse_filter,
    parse_name,
    parse_order,
)

A = Comparison(Name("metric", "a"), ">", 1)
B = Comparison(Name("param", "b"), "=", "x")
C = Comparison(Name("tag", "c"), "IS NULL", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.auc > 0.9", Comparison(Name("metric", "auc"), ">", 0.9)),
        ("metric.auc>=-1e-3", Comparison(Name("metric", "auc"), ">=", -0.001)),
        ("params.`learning rate` = '0.1'", Comparison(Name("param", "learning rate"), "=", "0.1")),
        ('tags."mlflow.user" != "bob"', Comparison(Name("tag", "mlflow.user"), "!=", "bob")),
        ("tags.mlflow.source.name like '%a%'", Comparison(Name("tag", "mlflow.source.name"), "LIKE", "%a%")),
        ("`metrics`.`auc` > 0.9", Comparison(Name("metric", "auc"), ">", 0.9)),
        ("`tags`.mlflow.user = 'bob'", Comparison(Name("tag", "mlflow.user"), "=", "bob")),
        ("`tags.a b` = 'bob'", Comparison(Name("", "tags.a b"), "=", "bob")),
        ("status = 'FINISHED'", Comparison(Name("", "status"), "=", "FINISHED")),
        ("attributes.start_time < 17", Comparison(Name("attribute", "start_time"), "<", 17)),
        ("start_time < 99999999999999999999", Comparison(Name("", "start_time"), "<", 1e20)),
        ("run_id IN ('a', 'b')", Comparison(Name("", "run_id"), "IN", ("a", "b"))),
        ("run_id not in ('a')", Comparison(Name("", "run_id"), "NOT IN", ("a",))),
        ("tags.a NOT LIKE 'x%'", Comparison(Name("tag", "a"), "NOT LIKE", "x%")),
        ("metrics.a between 1 and 2.5", Comparison(Name("metric", "a"), "BETWEEN", (1, 2.5))),
        ("params.x IS NULL", Comparison(Name("param", "x"), "IS NULL", None)),
        ("params.x is not null", Comparison(Name("param", "x"), "IS NOT NULL", None)),
        ("name = 'it''s'", Comparison(Name("", "name"), "=", "it's")),
        ("name = 'a AND b'", Comparison(Name("", "name"), "=", "a AND b")),
    ],
)
def test_comparison_is_read(text: str, expected: Comparison) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize("text", ["", "  ", "AND", " and AND "])
def test_empty_filter_holds_for_everything(text: str) -> None:
    assert parse_filter(text) == EVERYTHING


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.a > 1 AND params.b = 'x' and tags.c IS NULL", And((A, B, C))),
        ("metrics.a > 1 OR params.b = 'x' AND tags.c IS NULL", Or((A, And((B, C))))),
        ("(metrics.a > 1 OR params.b = 'x') AND tags.c IS NULL", And((Or((A, B)), C))),
        ("NOT metrics.a > 1 AND params.b = 'x'", And((Not(A), B))),
        ("not (metrics.a > 1 and params.b = 'x')", Not(And((A, B)))),
        ("NOT NOT metrics.a > 1", Not(Not(A))),
        ("((metrics.a > 1))", A),
        ("metrics.a > 1 AND", A),
        ("AND metrics.a > 1", A),
        ("metrics.a > 1 AND AND params.b = 'x' AND and", And((A, B))),
        ("AND metrics.a > 1 OR params.b = 'x' AND tags.c IS NULL AND", Or((A, And((B, C))))),
        ("metrics.a BETWEEN 1 AND 2 AND tags.c IS NULL", And((Comparison(A.name, "BETWEEN", (1, 2)), C))),
    ],
)
def test_and_binds_tighter_than_or_and_not_tightest(text: str, expected: object) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "metrics.auc",
        "metrics.auc >",
        "metrics.auc > 1 OR",
        "metrics.auc > 1 metrics.b > 2",
        "metrics.auc > 1 OR AND",
        "(metrics.auc > 1 AND)",
        "metrics.auc > 1 AND OR metrics.b > 2",
        "NOT AND metrics.auc > 1",
        "`foo`.bar = 'x'",
        "`metrics.auc > 1",
        "NOT",
        "()",
        "(metrics.a > 1",
        "metrics.a > 1)",
        "> 1",
        "foo.bar = 'x'",
        "status = FINISHED",
        "status = 'open",
        "run_id IN ()",
        "run_id IN ('a'",
        "metrics.a BETWEEN 1",
        "metrics.a BETWEEN 1 OR 2",
        "metrics.a NOT = 1",
        "a IS 3",
        "metrics.a > 1; DROP TABLE runs",
        "name = 'a\0b'",
    ],
)
def test_unreadable_filter_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_filter(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(" * 100_001, "characters"),
        ("NOT " * (MAX_DEPTH + 1) + "metrics.a > 1", "nested"),
        ("(" * (MAX_DEPTH + 1) + "metrics.a > 1" + ")" * (MAX_DEPTH + 1), "nested"),
        (" OR ".join(["metrics.a > 1"] * (MAX_COMPARISONS + 1)), "comparisons"),
        (f"run_id IN ({','.join(['1'] * (MAX_VALUES + 1))})", "values"),
    ],
)
def test_endless_filter_is_refused_before_it_costs_anything(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_filter(text)


def test_number_is_known_as_it_was_written() -> None:
    def written(text: str) -> str:
        found = parse_filter(text)
        assert isinstance(found, Comparison)
        return found.number

    assert [written(f"params.lr = {text}") for text in ("1e-3", "3.10", "-07", ".5")] == ["1e-3", "3.10", "-07", ".5"]
    assert written("params.lr LIKE 3") == "3"
    assert written("params.lr = '3'") == written("params.lr IN (3)") == written("params.lr BETWEEN 1 AND 3") == ""


def test_filter_at_the_limits_is_read() -> None:
    assert isinstance(parse_filter(" OR ".join(["metrics.a > 1"] * MAX_COMPARISONS)), Or)
    assert parse_filter("(" * MAX_DEPTH + "metrics.a > 1" + ")" * MAX_DEPTH) == A
    assert parse_filter(" " * (MAX_LENGTH - len("metrics.a > 1")) + "metrics.a > 1") == A


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.auc", Name("metric", "auc")),
        ("params.`a b`", Name("param", "a b")),
        ("start_time", Name("", "start_time")),
        ("`Run name`", Name("", "Run name")),
    ],
)
def test_name_is_read(text: str, expected: Name) -> None:
    assert parse_name(text) == expected


def test_order_is_read() -> None:
    assert parse_order(["metrics.auc DESC", "params.`a b` asc", "start_time"]) == [
        Order(Name("metric", "auc"), False),
        Order(Name("param", "a b"), True),
        Order(Name("", "start_time"), True),
    ]


@pytest.mark.parametrize(
    "terms", [[""], ["metrics.a FOO"], ["metrics.a", "metric.a DESC"], ["1"], ["foo.bar"], ["a, b"]]
)
def test_unreadable_order_is_refused(terms: list[str]) -> None:
    with pytest.raises(InvalidInput):
        parse_order(terms)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        parse_filter(text)


TEXTS = st.text(max_size=30).filter(lambda value: "\0" not in value) | st.text("\\'x", max_size=8)


@given(st.lists(TEXTS, min_size=2, max_size=2), st.sampled_from(["''", "\\'"]))
def test_any_value_survives_quoting(values: list[str], quote: str) -> None:
    doubled = [re.sub(r"\\+(?='|\Z)", lambda found: found[0] * 2, value) for value in values]
    first, second = (text.replace("'", quote) for text in doubled)
    found = parse_filter(f"params.a IN ('{first}', '{second}')")
    assert found == Comparison(Name("param", "a"), "IN", tuple(values))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r"'C:\dir\file'", r"C:\dir\file"),
        (r"'\\host\share'", r"\\host\share"),
        (r"'C:\dir\\'", "C:\\dir\\"),
        (r"'it\'s'", "it's"),
        (r"'\\'", "\\"),
        (r"'\\\''", "\\'"),
    ],
)
def test_backslash_is_a_letter_but_before_a_quote_or_the_end(written: str, value: str) -> None:
    assert parse_filter(f"tags.t = {written}") == Comparison(Name("tag", "t"), "=", value)


def test_key_may_stand_in_single_quotes_after_its_entity() -> None:
    assert parse_filter("params.'my key' = 'a'") == Comparison(Name("param", "my key"), "=", "a")
    assert parse_order(["metrics.'my key' DESC"]) == [Order(Name("metric", "my key"), ascending=False)]
    with pytest.raises(InvalidInput):
        parse_filter("'my key' = 'a'")


@pytest.mark.parametrize("piece", ["\\", "'", "\\'", "1", "1.", "a", "a.", "`", " ", "("])
@pytest.mark.parametrize("before", ["params.a = '", "metrics.a > ", ""])
@pytest.mark.parametrize("after", ["", "x", "'", "x'"])
def test_longest_filter_is_read_or_refused_in_one_pass(piece: str, before: str, after: str) -> None:
    """Each takes milliseconds; a pattern that looks at everything again from every place would take minutes."""
    room = MAX_LENGTH - len(before) - len(after)
    with suppress(InvalidInput):
        parse_filter(before + piece * (room // len(piece)) + after)
