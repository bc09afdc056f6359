"""Random and mutated paths against a running server: no file outside of the root is ever read, written or deleted."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lockgate.clock import SystemClock
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import RunningServer, serve_in_thread

ROOT = "/api/2.0/mlflow-artifacts/artifacts"
SECRET = b"nobody may see this"

# Steps of which attacks are made, some of them encoded already.
STEPS = (
    *(
        "..",
        ".",
        "",
        "0",
        "link",
        "secret",
        "etc",
        "passwd",
        "content",
        ".partial",
        "state",
        "artifacts",
        "lockgate.db",
    ),
    *("%2e%2e", "%252e%252e", "%c0%ae%c0%ae", "..%00", "..;", "...", "\uff0e\uff0e", "\u2025", "~", "C:", "file:"),
    *("\\", "..\\", "a\\..\\..", "\0", "x" * 300, "\u202e", "é", " ", "%2f", "%5c", "%", "?", "#", "\r\n"),
)
steps = st.sampled_from(STEPS) | st.text(max_size=8)
paths = st.lists(steps, min_size=1, max_size=8).map("/".join) | st.text(max_size=40)
# How a client may send it: as it is where that can be sent at all, encoded, encoded twice, encoded throughout.
encodings = st.sampled_from(
    [
        lambda path: quote(path, safe="/%.~:;\\"),
        quote,
        lambda path: quote(path, safe=""),
        lambda path: quote(quote(path, safe=""), safe=""),
        lambda path: "".join(f"%{byte:02x}" for byte in path.encode()),
        lambda path: "/" + quote(path),
        lambda path: "//" + quote(path),
    ]
)
methods = st.sampled_from(["GET", "PUT", "DELETE", "HEAD"])


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a secret, and in it the state of a server, whose artifacts have a link that leads out."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "secret").write_bytes(SECRET)
    (folder / "state" / "artifacts" / "0").mkdir(parents=True)
    (folder / "state" / "secret").write_bytes(SECRET)
    (folder / "state" / "artifacts" / "0" / "link").symlink_to(folder)
    (folder / "state" / "artifacts" / "link").symlink_to(folder / "secret")
    return folder


@pytest.fixture(scope="module")
def server(outside: Path, module_database_setting: str) -> Iterator[RunningServer]:
    context = open_context(outside / "state", user="a", clock=SystemClock(), database=module_database_setting)
    app = make_app(context)
    with serve_in_thread(app) as running:
        yield running
    app.close()
    context.close()


def everything_outside(folder: Path) -> dict[str, bytes]:
    """All that a client must not change; the database is written by every audited request."""
    found = {}
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        is_artifact = inside.parts[:2] == ("state", "artifacts") and len(inside.parts) > 2
        if path.is_file() and not is_artifact and not path.name.startswith("lockgate.db"):
            found[str(inside)] = path.read_bytes()
    return found


def ask(port: int, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, target, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=methods, path=paths, encode=encodings)
@example(method="GET", path="../../secret", encode=lambda path: path)
@example(method="GET", path="../secret", encode=lambda path: "".join(f"%{byte:02x}" for byte in path.encode()))
@example(method="GET", path="0/link/secret", encode=quote)
@example(method="GET", path="link", encode=quote)
@example(method="PUT", path="0/link/new", encode=quote)
@example(method="DELETE", path="0/link/secret", encode=quote)
@example(method="DELETE", path="", encode=quote)
@example(method="DELETE", path=".", encode=quote)
@example(method="GET", path="\r\n/", encode=quote)
def test_no_path_leaves_the_root(server: RunningServer, outside: Path, method: str, path: str, encode) -> None:  # type: ignore[no-untyped-def]  # a function of text to text
    before = everything_outside(outside)
    status, body = ask(server.port, method, f"{ROOT}/{encode(path)}", b"new" if method == "PUT" else None)
    assert everything_outside(outside) == before
    assert SECRET not in body
    assert status == 200 or 400 <= status < 500, (status, body)
    if status != 200 and method != "HEAD":
        assert json.loads(body)["error_code"], body


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=paths)
@example(path="..")
@example(path="0/link")
def test_no_listing_leaves_the_root(server: RunningServer, outside: Path, path: str) -> None:
    status, body = ask(server.port, "GET", f"{ROOT}?path={quote(path, safe='')}", None)
    assert status in (200, 400), body
    assert len(SECRET) not in [item.get("file_size") for item in json.loads(body).get("files", ())]


@pytest.fixture(scope="module")
def run_id(server: RunningServer) -> str:
    answer = ask(server.port, "POST", "/api/2.0/mlflow/runs/create", b"{}")[1]
    found: str = json.loads(answer)["run"]["info"]["run_id"]
    return found


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=paths)
@example(path="..")
@example(path="a:b/../../../link/new")
@example(path="C:/new")
@example(path="/new")
@example(path="0:/../x")
@example(path="#/.")
def test_no_path_of_a_run_leaves_the_run(server: RunningServer, outside: Path, run_id: str, path: str) -> None:
    def beside() -> set[Path]:
        return {found for found in outside.rglob("*") if found.is_file() and run_id not in found.parts} - {
            outside / "state" / f"lockgate.db{end}" for end in ("", "-wal", "-shm")
        }

    before, contents = beside(), everything_outside(outside)
    asked = quote(path, safe="")
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path={asked}"
    status, body = ask(server.port, "POST", upload, b"new")
    assert status in (200, 400), body
    assert (beside(), everything_outside(outside)) == (before, contents)
    stored, body = ask(server.port, "GET", f"/get-artifact?run_id={run_id}&path={asked}", None)
    assert (stored, body) == (200, b"new") if status == 200 else stored in (400, 404), body
    listed, body = ask(server.port, "GET", f"/api/2.0/mlflow/artifacts/list?run_id={run_id}&path={asked}", None)
    assert listed in (200, 400), body
    assert len(SECRET) not in [item.get("file_size") for item in json.loads(body).get("files", ())]
