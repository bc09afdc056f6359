from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import InvalidInput
from lockgate.metadata.filters import Comparison, Name, parse_filter, parse_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", []),
        ("metrics.auc > 0.9", [Comparison(Name("metric", "auc"), ">", 0.9)]),
        ("metric.auc>=-1e-3", [Comparison(Name("metric", "auc"), ">=", -0.001)]),
        ("params.`learning rate` = '0.1'", [Comparison(Name("param", "learning rate"), "=", "0.1")]),
        ('tags."mlflow.user" != "bob"', [Comparison(Name("tag", "mlflow.user"), "!=", "bob")]),
        ("tags.mlflow.source.name like '%a%'", [Comparison(Name("tag", "mlflow.source.name"), "LIKE", "%a%")]),
        ("status = 'FINISHED'", [Comparison(Name("", "status"), "=", "FINISHED")]),
        ("attributes.start_time < 17", [Comparison(Name("attribute", "start_time"), "<", 17.0)]),
        ("run_id IN ('a', 'b')", [Comparison(Name("", "run_id"), "IN", ("a", "b"))]),
        ("run_id not in ('a')", [Comparison(Name("", "run_id"), "NOT IN", ("a",))]),
        ("params.x IS NULL", [Comparison(Name("param", "x"), "IS NULL", None)]),
        ("params.x is not null", [Comparison(Name("param", "x"), "IS NOT NULL", None)]),
        ("name = 'it''s'", [Comparison(Name("", "name"), "=", "it's")]),
        ("name = 'a AND b'", [Comparison(Name("", "name"), "=", "a AND b")]),
        (
            "metrics.a > 1 AND params.b = 'x' and dataset.name = 'd'",
            [
                Comparison(Name("metric", "a"), ">", 1.0),
                Comparison(Name("param", "b"), "=", "x"),
                Comparison(Name("dataset", "name"), "=", "d"),
            ],
        ),
    ],
)
def test_filter_is_read(text: str, expected: list[Comparison]) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "metrics.auc",
        "metrics.auc >",
        "metrics.auc > 1 OR metrics.b > 2",
        "metrics.auc > 1 metrics.b > 2",
        "metrics.auc > 1 AND",
        "> 1",
        "foo.bar = 'x'",
        "status = FINISHED",
        "status = 'open",
        "run_id IN ()",
        "run_id IN ('a'",
        "a IS 3",
        "metrics.a > 1; DROP TABLE runs",
        "(metrics.a > 1)",
    ],
)
def test_unreadable_filter_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_filter(text)


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


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        parse_filter(text)


@given(st.text(max_size=30).filter(lambda value: "\\" not in value))
def test_any_value_survives_quoting(value: str) -> None:
    quoted = value.replace("'", "''")
    assert parse_filter(f"params.a = '{quoted}'") == [Comparison(Name("param", "a"), "=", value)]
