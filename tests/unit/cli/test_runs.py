import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.app import App
from lockgate.cli.runs import runs
from lockgate.client.outbox.batch import Metrics, encode
from lockgate.client.outbox.segment import Header, Segment, frame
from lockgate.clock import FakeClock
from lockgate.config import Settings
from lockgate.errors import InvalidInput, NotFound, Unavailable
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: regression\n")
    return App(start=tmp_path, clock=FakeClock())


@pytest.fixture
def run_ids(app: App) -> list[str]:
    tracking = app.client.tracking
    found = []
    for i in range(3):
        run_id = tracking.create_run(tracking.ensure_experiment("churn"), run_name=f"r{i}")
        tracking.log_metrics(run_id, {"rmse": i / 10})
        tracking.log_batch(run_id, params={"depth": str(i)})
        app.clock.sleep(1)
        tracking.finish_run(run_id)
        found.append(run_id)
    tracking.create_run(tracking.ensure_experiment("elsewhere"), run_name="other")
    return found


def call(app: App, *words: str) -> str:
    result = CliRunner().invoke(runs, words, obj=app, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def names(app: App, *words: str) -> list[str]:
    return [run["name"] for run in json.loads(call(app, *words, "--json"))]


def test_runs_of_the_model_are_listed_newest_first(app: App, run_ids: list[str]) -> None:
    assert names(app) == ["r2", "r1", "r0"]
    assert names(app, "--limit", "1") == ["r2"]
    assert names(app, "--all")[0] == "other"
    assert names(app, "--filter", "metrics.rmse < 0.15", "--order", "metrics.rmse ASC") == ["r0", "r1"]
    shown = call(app)
    assert "FINISHED" in shown
    assert "rmse=0.2" in shown
    assert run_ids[0][:12] in shown


@pytest.fixture
def served(app: App) -> Iterator[str]:
    """A server of the project's records."""
    with (
        closing(open_context(app.folder.state, user="ann", clock=app.clock)) as context,
        serve_in_thread(make_app(context, settings=Settings())) as server,
    ):
        yield server.url


def test_outside_of_a_project_runs_of_a_server_are_of_every_experiment(
    run_ids: list[str], served: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = App(start=tmp_path_factory.mktemp("outside"), clock=FakeClock(), uri=served)
    for words in ((), ("--all",)):
        assert set(names(outside, *words)) == {"r0", "r1", "r2", "other"}
    assert "elsewhere" in call(outside)
    outside.client.close()


def test_outside_of_a_project_a_server_must_be_named(tmp_path: Path) -> None:
    for words in ([], ["--all"]):
        refused = CliRunner().invoke(runs, words, obj=App(start=tmp_path)).exception
        assert isinstance(refused, NotFound)
        assert "LOCKGATE_URI" in str(refused)


def test_no_runs_says_what_to_do(app: App) -> None:
    assert "lockgate run" in call(app)
    app.client.tracking.create_run(app.client.tracking.ensure_experiment("elsewhere"))
    assert "--all lists those of every experiment" in call(app)
    assert "--all" not in call(app, "--all", "--filter", "metrics.rmse > 1")


def test_filter_that_finds_nothing_is_not_taken_for_no_runs(app: App, run_ids: list[str]) -> None:
    found = call(app, "--filter", "metrics.rmse > 1")
    assert found.strip() == "no run satisfies the filter; --all lists those of every experiment."
    assert call(app, "--filter", "metrics.rmse > 1", "--all").strip() == "no run satisfies the filter."


def test_unreadable_filter_is_the_users_mistake(app: App, run_ids: list[str]) -> None:
    with pytest.raises(InvalidInput):
        call(app, "--filter", "rmse is good")


def test_one_run_is_shown_whole_by_a_part_of_its_id(app: App, run_ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    app.client.tracking.upload_artifact(run_ids[1], tmp_path / "notes.txt", "out")
    found = json.loads(call(app, "show", run_ids[1][:10], "--json"))
    assert (found["run_id"], found["experiment"], found["duration_s"]) == (run_ids[1], "churn", 1.0)
    assert (found["params"], found["metrics"], found["artifacts"]) == ({"depth": "1"}, {"rmse": 0.1}, ["out/"])
    shown = call(app, "show", run_ids[1])
    assert "out/" in shown
    assert "depth" in shown


def test_id_that_names_no_run_or_several_is_refused(app: App, run_ids: list[str]) -> None:
    with pytest.raises(NotFound):
        call(app, "show", "x" * 32)
    with pytest.raises(NotFound):
        call(app, "show", "zzz")
    with pytest.raises(InvalidInput):
        call(app, "show", "%")
    ids = run_ids + [app.client.tracking.create_run("0") for _ in range(14)]
    firsts = [run_id[0] for run_id in ids]
    shared = next(first for first in firsts if firsts.count(first) > 1)  # 17 ids begin with one of 16 digits
    with pytest.raises(InvalidInput, match="several"):
        call(app, "show", shared)


def leave(app: App, run_id: str, uri: str) -> Path:
    """What a killed script leaves: one value that was not sent."""
    segment = Segment.create(app.folder.state / "outbox", f"{run_id}-aa-000000", Header(run_id, uri), room=100)
    segment.append(frame(encode(Metrics(1, 7, {"late": 1.0}))))
    segment.close()
    return segment.path


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("own_home")
def test_flush_sends_what_killed_scripts_left(app: App, run_ids: list[str]) -> None:
    assert call(app, "flush") == "0 sent, 0 kept, 0 refused.\n"
    path = leave(app, run_ids[0], "")
    assert json.loads(call(app, "flush", "--json")) == {"sent": [str(path)], "kept": [], "refused": []}
    assert [item.step for item in app.client.tracking.metric_history(run_ids[0], "late")] == [7]
    assert not path.exists()


@pytest.mark.usefixtures("own_home")
def test_flush_keeps_what_its_server_does_not_take_and_says_why(app: App, run_ids: list[str]) -> None:
    unknown, away = leave(app, "e" * 32, ""), leave(app, "f" * 32, "http://127.0.0.1:9")
    result = CliRunner().invoke(runs, ["flush", "--json"], obj=app)
    assert isinstance(result.exception, Unavailable)
    assert result.exception.exit_code == 5
    kept = json.loads(result.output)["kept"]
    assert [item["file"] for item in kept] == [str(unknown), str(away)]
    assert "not found. The file belongs to the project that it lies in. Next: lockgate runs flush" in kept[0]["reason"]
    assert "cannot be reached" in kept[1]["reason"]
    assert unknown.exists()
    assert away.exists()


@contextmanager
def wanting_a_login() -> Iterator[tuple[str, list[str | None]]]:
    """A server that lets nobody in, and notes with which login it was asked."""
    logins: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            logins.append(self.headers.get("Authorization"))
            said = b'{"error_code": "UNAUTHENTICATED", "message": "this server asks for a login."}'
            self.send_response(401)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_GET  # noqa: N815  # the name that the library calls

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", logins
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("own_home")
def test_token_is_sent_to_the_configured_server_alone(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    with wanting_a_login() as (uri, logins):
        path = leave(app, "f" * 32, uri)
        result = CliRunner().invoke(runs, ["flush", "--json"], obj=app)
        assert isinstance(result.exception, Unavailable)
        (kept,) = json.loads(result.output)["kept"]
        assert f"LOCKGATE_URI={uri} lockgate runs flush" in kept["reason"]
        assert set(logins) == {None}
        logins.clear()
        there = App(start=app.start, clock=FakeClock(), uri=uri)
        assert isinstance(CliRunner().invoke(runs, ["flush"], obj=there).exception, Unavailable)
        assert set(logins) == {"Bearer secret"}
    assert path.exists()
