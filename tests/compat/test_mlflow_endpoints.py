"""Every endpoint of MLflow's protocol has an answer: the client's are served, the GenAI ones say that they are not."""

import http.client
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

Endpoint = tuple[str, str, str]


def _endpoints() -> list[Endpoint]:
    lines = (Path(__file__).parent / "mlflow_endpoints.txt").read_text().splitlines()
    found: list[Endpoint] = []
    for line in lines:
        if line and not line.startswith("#"):
            kind, method, path = line.split()
            found.append((kind, method, re.sub(r"{\w+}", "x1", path)))
    return found


ENDPOINTS = _endpoints()


def ask(url: str, method: str, path: str) -> tuple[int, str]:
    """The status, and the error code where the answer has one."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        body = b"{}" if method in ("POST", "PATCH") else b""
        connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    try:
        return answer.status, json.loads(data).get("error_code", "")
    except ValueError:
        return answer.status, ""


def test_the_list_is_whole() -> None:
    assert [sum(kind == wanted for kind, _, _ in ENDPOINTS) for wanted in ("served", "refused")] == [63, 164]


@pytest.mark.parametrize("prefix", ["/api/", "/ajax-api/"])
def test_what_the_client_calls_is_served(served, prefix: str) -> None:
    missing = []
    for kind, method, path in ENDPOINTS:
        if kind != "served":
            continue
        status, code = ask(served.url, method, path.replace("/api/", prefix, 1))
        # 404 is right for a model that is not there; ENDPOINT_NOT_FOUND is what a missing endpoint answers.
        if status in (405, 501) or status >= 500 or code == "ENDPOINT_NOT_FOUND" or (status == 404 and not code):
            missing.append((method, path, status, code))
    assert missing == []


def test_what_is_genai_is_refused_with_a_reason(served) -> None:
    answers = {(m, p): ask(served.url, m, p) for kind, m, p in ENDPOINTS if kind == "refused"}
    assert {key: answer for key, answer in answers.items() if answer != (501, "NOT_IMPLEMENTED")} == {}


@pytest.mark.parametrize("path", ["/api/2.0/mlflow/nothing", "/api/3.0/mlflow/nothing", "/api/2.0/mlflow/runs/nothing"])
def test_what_nobody_has_is_not_found(served, path: str) -> None:
    assert ask(served.url, "POST", path) == (404, "ENDPOINT_NOT_FOUND")
