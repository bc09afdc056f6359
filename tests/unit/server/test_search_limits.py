"""Searches that are as large as they may be, and a little larger: answered or refused, never an error of the server."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from lockgate.metadata.filters import MAX_DEPTH
from lockgate.metadata.limits import MOST_ORDERS

MLFLOW = "/api/2.0/mlflow"
ORDERS: list[list[str]] = [[], ["metrics.m DESC", "params.p"], ["params.p", "tags.t"]]


def search(asked: Any, what: str, filter_: str = "", **more: object) -> tuple[int, Any]:
    if what in ("registered-models", "model-versions"):
        return asked.ask("GET", f"{MLFLOW}/{what}/search?{urlencode({'filter': filter_})}")[:2]
    scope = {} if what == "experiments" else {"experiment_ids": ["0"]}
    body = json.dumps({**scope, "filter": filter_, "max_results": 5, **more})
    return asked.ask("POST", f"{MLFLOW}/{what}/search", body.encode())[:2]


def deep(word: str, levels: int, term: str) -> str:
    """NOT is a level, and so are parentheses."""
    text = term
    for level in range(levels // 2 if word == "NOT" else levels):
        text = f"NOT ({term} OR {text})" if word == "NOT" else f"({term} {('OR', 'AND')[level % 2]} {text})"
    return f"({text})" if word == "NOT" and levels % 2 else text


@pytest.mark.parametrize("word", ["NOT", "AND"])
@pytest.mark.parametrize(
    ("what", "term"),
    [
        ("runs", "params.p = '0'"),
        ("runs", "metrics.m > 0"),
        ("runs", "dataset.name = 'd'"),
        ("experiments", "tags.t = '0'"),
        ("logged-models", "metrics.m > 0"),
        ("registered-models", "tags.t = '0'"),
        ("model-versions", "tags.t = '0'"),
    ],
)
def test_filter_may_be_as_deep_as_is_said(asked: Any, what: str, term: str, word: str) -> None:
    for order in ORDERS if what == "runs" else [[]]:
        status, body = search(asked, what, deep(word, MAX_DEPTH, term), order_by=order)
        assert status == 200, body
    status, body = search(asked, what, deep(word, MAX_DEPTH + 1, term))
    assert (status, body["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert f"nested more than {MAX_DEPTH} deep" in body["message"]


@pytest.mark.parametrize("operator", ["LIKE", "ILIKE", "NOT LIKE"])
@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("runs", "run_name"),
        ("runs", "params.p"),
        ("experiments", "name"),
        ("logged-models", "name"),
        ("registered-models", "name"),
    ],
)
def test_pattern_may_be_as_long_as_is_said(asked: Any, what: str, name: str, operator: str) -> None:
    for pattern, expected in (("a" * 50_000, 200), ("a" * 50_001, 400), ("\u00e9" * 25_001, 400), ("\\" * 25_001, 400)):
        status, body = search(asked, what, f"{name} {operator} '{pattern}'")
        assert status == expected, body


def test_order_may_be_as_long_as_is_said_and_leads_to_the_next_page(asked: Any) -> None:
    tags = [{"key": f"t{number}", "value": "\u6f22" * (8_000 if number < 8 else 1)} for number in range(MOST_ORDERS)]
    for name in ("a", "b"):
        body = json.dumps({"experiment_id": "0", "run_name": name, "tags": tags}).encode()
        assert asked.ask("POST", f"{MLFLOW}/runs/create", body)[0] == 200
    order = [f"tags.t{number} {('ASC', 'DESC')[number % 2]}" for number in range(MOST_ORDERS)]
    seen, token = set(), ""
    for _ in range(2):
        status, body = search(
            asked, "runs", deep("AND", MAX_DEPTH, "tags.t0 != ''"), max_results=1, order_by=order, page_token=token
        )
        assert status == 200, body
        seen |= {run["info"]["run_name"] for run in body["runs"]}
        token = body.get("next_page_token", "")
    assert (seen, token) == ({"a", "b"}, "")
