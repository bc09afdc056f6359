"""A training script that says `import lockgate`, run as a user runs it: in a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.connect import connect
from lockgate.errors import Unavailable
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread
from lockgate.session import Session
from lockgate.wire.mlflow.experiments import DELETE_EXPERIMENT, ExperimentId

AWAY = "http://127.0.0.1:9"
FLUSH = "import sys, runpy; sys.argv[1:] = ['runs', 'flush']; runpy.run_module('lockgate')"

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")

    def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("LOCKGATE_", "MLFLOW_"))}
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**clean, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def records(tmp_path: Path) -> Callable[[], Client]:
    def open_() -> Client:
        return connect(Settings(), state=tmp_path / ".lockgate", user="after", clock=SystemClock())

    return open_


def only_run(client: Client):
    experiment = client.tracking.ensure_experiment("churn")
    (run,) = client.tracking.search_runs([experiment]).runs
    return run


LOGS = """
import lockgate
lockgate.log_param("depth", 3)
lockgate.log_params({"eta": 0.1})
lockgate.log_metric("auc", 0.9)
lockgate.log_metrics({"auc": 0.95, "loss": float("nan")}, step=1)
lockgate.set_tag("team", "crm")
open("notes.txt", "w").write("x")
lockgate.log_artifact("notes.txt", "docs")
"""


def test_script_makes_its_own_run_and_ends_it(script: Script, records) -> None:
    done = script(LOGS)
    assert done.returncode == 0, done.stderr
    with records() as client:
        run = only_run(client)
        assert run.info.status == "FINISHED"
        assert {item.key: item.value for item in run.data.metrics} == {"auc": 0.95, "loss": "NaN"}
        assert {item.key: item.value for item in run.data.params} == {"depth": "3", "eta": "0.1"}
        assert {item.key: item.value for item in run.data.tags}["team"] == "crm"
        assert [item.path for item in client.tracking.list_artifacts(run.info.run_id, "docs")] == ["docs/notes.txt"]


def test_script_that_dies_has_failed(script: Script, records) -> None:
    done = script(LOGS + "raise ValueError('no luck')")
    assert done.returncode == 1
    assert "no luck" in done.stderr
    with records() as client:
        assert only_run(client).info.status == "FAILED"


def test_script_that_dies_has_failed_whoever_prints_of_what(script: Script, records) -> None:
    done = script(LOGS + "import sys\nsys.excepthook = lambda *_: print('a nicer traceback')\n1 / 0")
    assert done.returncode == 1
    assert done.stdout == "a nicer traceback\n"
    with records() as client:
        assert only_run(client).info.status == "FAILED"


@pytest.mark.parametrize(
    ("end", "status"),
    [("sys.exit()", "FINISHED"), ("sys.exit(0)", "FINISHED"), ("sys.exit(3)", "FAILED"), ("sys.exit('no')", "FAILED")],
)
def test_exit_with_a_code_of_success_finishes_the_run_of_a_block(
    script: Script, records, end: str, status: str
) -> None:
    script(f"import sys, lockgate\nwith lockgate.start_run():\n    {end}")
    with records() as client:
        assert only_run(client).info.status == status


def test_handler_of_the_scripts_end_logs_to_its_run(script: Script, records) -> None:
    done = script(
        """
import atexit, lockgate
atexit.register(lambda: lockgate.log_metric("final", 2.0))
lockgate.log_metric("loss", 1.0)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    with records() as client:
        run = only_run(client)
        assert run.info.status == "FINISHED"
        assert {item.key for item in run.data.metrics} == {"loss", "final"}


def test_what_is_logged_after_the_end_waits_for_the_run_that_was(script: Script, records, tmp_path: Path) -> None:
    done = script(
        """
import atexit, threading, time
atexit.register(lambda: (lockgate.log_metric("last", 2.0), time.sleep(0.2)))  # runs after those registered later
import lockgate

def watch():
    while True:
        lockgate.log_metric("gpu", 0.5)
        time.sleep(0.01)

with lockgate.start_run():
    lockgate.log_metric("loss", 1.0)
lockgate.log_metric("loss", 1.0)
threading.Thread(target=watch, daemon=True).start()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / ".lockgate" / "outbox").iterdir())
    assert ", 0 kept, 0 refused." in script(FLUSH).stdout
    with records() as client:
        runs = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
        assert sorted(sorted(item.key for item in run.data.metrics) for run in runs) == [
            ["gpu", "last", "loss"],
            ["loss"],
        ]


@pytest.mark.parametrize("module", ["lockgate", "lockgate.training"])
def test_script_that_logged_nothing_begins_no_run_when_it_has_ended(
    script: Script, tmp_path: Path, module: str
) -> None:
    done = script(
        f"""
import atexit
atexit.register(lambda: lockgate.log_metric("last", 2.0))
import {module}
"""
    )
    assert "the script has ended and had logged nothing" in done.stderr
    assert not (tmp_path / ".lockgate").exists()


def test_block_is_one_run(script: Script, records) -> None:
    done = script(
        """
import lockgate
for name in ("a", "b"):
    with lockgate.start_run(name) as run_id:
        lockgate.log_metric("m", 1)
        assert len(run_id) == 32
"""
    )
    assert done.returncode == 0, done.stderr
    with records() as client:
        runs = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert sorted(run.info.run_name for run in runs) == ["a", "b"]


def test_stage_logs_to_the_run_of_its_pipeline(script: Script, tmp_path: Path) -> None:
    context = open_context(tmp_path / "elsewhere", user="server", clock=SystemClock())
    client = Client(LocalTransport(context), SystemClock())
    run_id = client.tracking.create_run("0")
    app = make_app(context)
    with serve_in_thread(app) as server:
        done = script(LOGS, LOCKGATE_URI=server.url, LOCKGATE_RUN_ID=run_id)
        assert done.returncode == 0, done.stderr
        run = client.tracking.get_run(run_id)
    app.close()
    context.close()
    assert run.info.status == "RUNNING"  # the pipeline ends its own run
    assert len(run.data.metrics) == 2
    assert not (tmp_path / ".lockgate" / "lockgate.db").exists()  # the records are the server's
    assert list((tmp_path / ".lockgate" / "outbox").iterdir()) == []  # and everything was sent


def test_run_id_without_a_server_is_explained(script: Script) -> None:
    done = script("import lockgate; lockgate.log_metric('m', 1)", LOCKGATE_RUN_ID="a" * 32)
    assert "LOCKGATE_URI" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user whom the machine does not know")
def test_user_without_a_home_is_asked_for_another_outbox(script: Script) -> None:
    done = script(
        """
import os, lockgate.training
os.chdir("/")
os.setuid(54321)
del os.environ["HOME"]
lockgate.log_metric("m", 1.0)
""",
        LOCKGATE_URI=AWAY,
        HOME="/",
    )
    assert "InvalidInput: this user has no home folder" in done.stderr
    assert "LOCKGATE_OUTBOX names another folder" in done.stderr


@pytest.mark.parametrize("run_id", ["../../x", "a/b", "A" * 32, "a" * 33])
def test_what_is_no_id_of_a_run_names_no_file(script: Script, tmp_path: Path, run_id: str) -> None:
    done = script("import lockgate; lockgate.log_metric('m', 1)", LOCKGATE_URI=AWAY, LOCKGATE_RUN_ID=run_id)
    assert f"InvalidInput: LOCKGATE_RUN_ID is {run_id!r}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lockgate.yaml"]


def test_worker_that_changes_its_folder_keeps_the_outbox_of_its_parent(script: Script, records, tmp_path: Path) -> None:
    done = script(
        """
import os, lockgate
os.mkdir("elsewhere")
with lockgate.start_run():
    lockgate.log_metric("parent", 1.0)
    if (child := os.fork()) == 0:
        os.chdir("elsewhere")
        lockgate.log_metric("child", 1.0)
        os._exit(0)
    os.waitpid(child, 0)
""",
        LOCKGATE_OUTBOX="waiting",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with records() as client:
        assert {item.key for item in only_run(client).data.metrics} == {"parent", "child"}


def test_project_whose_path_is_no_text_is_told_so(script: Script, tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    (tmp_path / "lockgate.yaml").rename(folder / "lockgate.yaml")
    code = "import os, lockgate; os.chdir(b'caf\\xe9'); lockgate.log_metric('m', 1.0)"
    assert "InvalidInput: the path of the project is no valid text" in script(code, LOCKGATE_OUTBOX="waiting").stderr


def test_mistake_is_found_in_the_line_that_makes_it(script: Script, records) -> None:
    done = script(
        """
import lockgate
lockgate.log_param("depth", 3)
wrong = {
    "value": lambda: lockgate.log_metric("loss", "high"),
    "name": lambda: lockgate.log_metrics({"": 1.0}),
    "step": lambda: lockgate.log_metric("loss", 1.0, step=0.5),
    "param": lambda: lockgate.log_params({"eta": 1, "depth": 4}),
    "metrics": lambda: lockgate.log_metrics([("a", 1)]),
    "tags": lambda: lockgate.set_tags(None),
    "timeout": lambda: lockgate.flush("a"),
}
for what, call in wrong.items():
    try:
        call()
    except lockgate.training.InvalidInput as error:
        print(what, error.message)
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "value the value of metric 'loss' is not a number: 'high'.",
        "name a name is a text of 1 to 250 characters, not ''.",
        "step a step is a whole number, not 0.5.",
        "param the param 'depth' is '3' and cannot become '4'.",
        "metrics names with their values were expected, as in {'depth': 3}, not [('a', 1)].",
        "tags names with their values were expected, as in {'depth': 3}, not None.",
        "timeout a timeout is a number of seconds, at most 1,000,000,000, not 'a'.",
    ]
    with records() as client:
        run = only_run(client)
        assert [item.key for item in run.data.params] == ["depth"]
        assert run.data.metrics == ()


def test_text_that_is_cut_is_told_once(script: Script, records) -> None:
    done = script(
        """
import lockgate
lockgate.log_params({"whole": "x" * 6000, "long": "x" * 6001})
for _ in range(3):
    lockgate.set_tags({"whole": "x" * 8000, "long": "x" * 8001})
"""
    )
    rest = "are kept; log_artifact keeps long texts whole."
    assert done.stderr.splitlines() == [
        f"the param 'long' has 6,001 characters, of which the first 6,000 {rest}",
        f"the tag 'long' has 8,001 characters, of which the first 8,000 {rest}",
    ]
    with records() as client:
        data = only_run(client).data
        assert {item.key: len(item.value) for item in data.params} == {"whole": 6000, "long": 6000}
        tags = {item.key: len(item.value) for item in data.tags}
        assert (tags["whole"], tags["long"]) == (8000, 8000)


def test_what_the_server_refuses_is_raised_when_the_run_ends(script: Script, records) -> None:
    code = """
import lockgate
with lockgate.start_run() as run_id:
    lockgate.log_metrics({"fine": 1.0, "what?": 2.0})
"""
    done = script(code)
    assert done.returncode == 1
    assert "1 of the logged names were refused by the server" in done.stderr
    assert "metric 'what?'" in done.stderr
    at_exit = script(code.replace("with lockgate.start_run() as run_id:", "if True:"))
    assert at_exit.returncode == 0
    assert "metric 'what?'" in at_exit.stderr
    with records() as client:
        runs = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
        assert [[item.key for item in run.data.metrics] for run in runs] == [["fine"], ["fine"]]


def test_flush_returns_when_others_can_read_it(script: Script, tmp_path: Path) -> None:
    done = script(
        """
import sqlite3, lockgate
for step in range(3000):
    lockgate.log_metric("m", step, step=step)
lockgate.flush()
print(sqlite3.connect(".lockgate/lockgate.db").execute("SELECT count(*) FROM metrics").fetchone()[0])
"""
    )
    assert done.stdout == "3000\n", done.stderr


def test_script_ends_without_its_server_and_says_where_the_values_are(script: Script, tmp_path: Path) -> None:
    done = script(
        "import lockgate; lockgate.log_metric('m', 1.0)",
        LOCKGATE_URI="http://127.0.0.1:9",
        LOCKGATE_RUN_ID="a" * 32,
        LOCKGATE_OUTBOX="waiting",
        LOCKGATE_OUTBOX_WAIT_S="0",
    )
    assert done.returncode == 0
    assert f"bytes of logged values remain in {tmp_path / 'waiting'}" in done.stderr
    assert "lockgate runs flush" in done.stderr
    assert [path.suffix for path in (tmp_path / "waiting").iterdir()] == [".segment"]


@pytest.mark.parametrize("server", ["away", "silent"])
@pytest.mark.parametrize("end", ["", "import os; os.kill(os.getpid(), 9)"])
def test_script_begins_its_run_without_its_server(script: Script, tmp_path: Path, server: str, end: str) -> None:
    code = f"""
import lockgate
for step in range(3):
    lockgate.log_metrics({{"loss": 1.0}}, step=step)
lockgate.set_tag("team", "crm")
print("logged", flush=True)
{end}
"""
    with socket.create_server(("127.0.0.1", 0)) as listening:  # takes connections, and never says a word
        port = listening.getsockname()[1]
        if server == "away":
            listening.close()
        done = script(code, LOCKGATE_URI=f"http://127.0.0.1:{port}", LOCKGATE_OUTBOX_WAIT_S="0")
        assert done.stdout == "logged\n", done.stderr
        assert done.returncode == (-9 if end else 0)

    context = open_context(tmp_path / "elsewhere", user="server", clock=SystemClock())
    app = make_app(context)
    with serve_in_thread(app, port=port), Client(LocalTransport(context), SystemClock()) as client:
        flushed = script(FLUSH)
        assert flushed.stdout == "1 sent, 0 kept, 0 refused.\n", flushed.stderr
        run = only_run(client)
        assert run.info.status == ("RUNNING" if end else "FINISHED")
        assert len(client.tracking.metric_history(run.info.run_id, "loss")) == 3
        assert {item.key: item.value for item in run.data.tags}["team"] == "crm"
    app.close()


def test_script_begins_its_run_without_its_postgresql(script: Script, own_postgres: Any, tmp_path: Path) -> None:
    url = own_postgres.create_database()
    own_postgres.stop()
    done = script(
        """
import lockgate, sys
with lockgate.start_run("first"):
    lockgate.log_metric("loss", 1.0)
    try:
        lockgate.log_artifact("lockgate.yaml")
    except lockgate.errors.Unavailable:
        print("no file")
""",
        LOCKGATE_DATABASE=url,
        LOCKGATE_OUTBOX_WAIT_S="0",
    )
    assert (done.returncode, done.stdout) == (0, "no file\n"), done.stderr
    assert "training goes on and they are kept" in done.stderr
    waiting = """
import lockgate, os
with lockgate.start_run("second"):
    lockgate.log_metric("loss", 2.0)
    if (child := os.fork()) == 0:
        lockgate.log_metric("child", 3.0)
        os._exit(0)
    os.waitpid(child, 0)
    print("logged", flush=True)
    input()
    lockgate.flush()
    lockgate.log_artifact("lockgate.yaml")
"""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LOCKGATE_")}
    with subprocess.Popen(
        [sys.executable, "-c", waiting],
        cwd=tmp_path,
        env={**clean, "LOCKGATE_DATABASE": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        own_postgres.start()
        _, said = process.communicate("\n", timeout=120)
    assert process.returncode == 0, said
    assert "values are sent again" in said
    assert script(FLUSH, LOCKGATE_DATABASE=url).stdout == "1 sent, 0 kept, 0 refused.\n"
    with connect(Settings(database=url), state=tmp_path, user="after", clock=SystemClock()) as client:
        runs = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert {run.info.run_name: (run.info.status, len(run.data.metrics)) for run in runs} == {
            "first": ("FINISHED", 1),
            "second": ("FINISHED", 2),
        }


def test_run_that_can_never_begin_is_an_error_and_no_endless_wait(script: Script, records) -> None:
    with records() as client:
        number = client.tracking.ensure_experiment("churn")
        client.transport.call(DELETE_EXPERIMENT, ExperimentId(experiment_id=number))
    block = script("import lockgate\nwith lockgate.start_run() as run_id:\n    print('begun')")
    assert block.returncode == 1
    assert block.stdout == ""
    assert "must be in the 'active' state" in block.stderr
    loop = script(
        "import lockgate\nfor step in range(100_000): lockgate.log_metrics({f'm{n}': 1.0 for n in range(100)}, step)",
        LOCKGATE_OUTBOX_MB="1",
    )
    assert loop.returncode == 1
    assert "RunClosed: the run" in loop.stderr


def test_what_an_earlier_script_left_is_no_trouble_of_the_next(script: Script, records) -> None:
    killed = script("import lockgate, os; lockgate.log_param('x/../y', 1); os.kill(os.getpid(), 9)", LOCKGATE_URI=AWAY)
    assert killed.returncode == -9
    done = script("import lockgate\nwith lockgate.start_run('one'):\n    lockgate.log_metric('m', 1)")
    with records() as client:
        runs = client.tracking.search_runs([client.tracking.ensure_experiment("churn")]).runs
        assert [(run.info.run_name, run.info.status) for run in runs if run.info.run_name == "one"] == [
            ("one", "FINISHED")
        ], done.stderr


def test_name_that_no_server_could_keep_is_refused_in_the_line_that_gives_it(script: Script) -> None:
    done = script(
        """
import lockgate
wrong = {"NUL": lambda: lockgate.start_run("a\\0b"), "half": lambda: lockgate.start_run("caf\\udce9")}
wrong["value"] = lambda: lockgate.log_param("p", "a\\0b")
for what, call in wrong.items():
    try:
        block = call()
        block.__enter__()
    except lockgate.training.InvalidInput as error:
        print(what, error.message)
with lockgate.start_run(5):
    print("begun")
"""
    )
    assert done.stdout.splitlines() == [
        "NUL the name of the run is no valid text: 'a\\x00b'.",
        "half the name of the run is no valid text: 'caf\\udce9'.",
        "value the value of 'p' is no valid text: 'a\\x00b'.",
        "begun",
    ], done.stderr


def test_first_call_that_fails_leaves_nothing_running(script: Script, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = script(
        """
import lockgate, os, threading
for _ in range(20):
    try:
        lockgate.log_metric("m", 1.0)
    except lockgate.training.InvalidInput as error:
        print("LOCKGATE_OUTBOX" in str(error), threading.active_count(), len(os.listdir("/proc/self/fd")) < 30)
""",
        LOCKGATE_OUTBOX=str(tmp_path / "file" / "outbox"),
    )
    assert done.stdout.splitlines() == ["True 1 True"] * 20, done.stderr


def test_what_is_left_outside_of_a_project_is_flushed_outside_of_it(script: Script, tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").unlink()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    places = {"LOCKGATE_URI": f"http://127.0.0.1:{port}", "XDG_STATE_HOME": str(tmp_path / "home")}
    done = script("import lockgate; lockgate.log_metric('m', 1.0)", LOCKGATE_OUTBOX_WAIT_S="0", **places)
    assert "lockgate runs flush" in done.stderr
    context = open_context(tmp_path / "elsewhere", user="server", clock=SystemClock())
    app = make_app(context)
    with serve_in_thread(app, port=port), Client(LocalTransport(context), SystemClock()) as client:
        assert script(FLUSH, **places).stdout == "1 sent, 0 kept, 0 refused.\n"
        assert len(client.tracking.search_runs(["0"]).runs) == 1
    app.close()
    assert "no lockgate.yaml" in script(FLUSH).stderr


def test_run_of_a_block_can_be_found_inside_of_it(script: Script, records) -> None:
    done = script(
        """
import sqlite3, lockgate
with lockgate.start_run("a") as run_id:
    print(sqlite3.connect(".lockgate/lockgate.db").execute("SELECT run_id FROM runs").fetchone()[0] == run_id)
"""
    )
    assert done.stdout == "True\n", done.stderr


def test_script_outside_of_a_project_logs_to_the_experiment_default(script: Script, tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").unlink()
    context = open_context(tmp_path / "elsewhere", user="server", clock=SystemClock())
    app = make_app(context)
    with serve_in_thread(app) as server, Client(LocalTransport(context), SystemClock()) as client:
        done = script(LOGS, LOCKGATE_URI=server.url, XDG_STATE_HOME=str(tmp_path / "home"))
        assert done.returncode == 0, done.stderr
        (run,) = client.tracking.search_runs(["0"]).runs
        assert run.info.status == "FINISHED"
        assert {item.key: item.value for item in run.data.params} == {"depth": "3", "eta": "0.1"}
        assert [item.path for item in client.tracking.list_artifacts(run.info.run_id, "docs")] == ["docs/notes.txt"]
    app.close()


def test_outside_of_a_project_values_wait_in_the_users_folder(script: Script, tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").unlink()
    done = script(
        "import lockgate; lockgate.log_metric('m', 1.0)",
        LOCKGATE_URI="http://127.0.0.1:9",
        LOCKGATE_RUN_ID="a" * 32,
        LOCKGATE_OUTBOX_WAIT_S="0",
        XDG_STATE_HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "home" / "lockgate" / "outbox").iterdir())) == 1


def test_logged_model_is_written_where_asked_and_kept_with_the_run(script: Script, records, tmp_path: Path) -> None:
    done = script(
        """
import lockgate
import numpy as np
from sklearn.linear_model import LogisticRegression
x = np.random.default_rng(0).normal(size=(50, 3))
model = LogisticRegression().fit(x, x[:, 0] > 0)
print(lockgate.log_model(model, "build/model", data=x[:5]))
"""
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build" / "model" / "MLmodel").is_file()
    with records() as client:
        run = only_run(client)
        kept = {item.path: item.file_size for item in client.tracking.list_artifacts(run.info.run_id, "model")}
    written = (tmp_path / "build").rglob("*")
    assert kept == {f.relative_to(tmp_path / "build").as_posix(): f.stat().st_size for f in written if f.is_file()}


def test_logged_folder_keeps_its_name_and_all_that_is_in_it(script: Script, records, tmp_path: Path) -> None:
    (tmp_path / "plots" / "deep").mkdir(parents=True)
    (tmp_path / "plots" / "roc.svg").write_text("<svg/>")
    (tmp_path / "plots" / "deep" / "a.svg").write_text("<svg/>")
    done = script("import lockgate; lockgate.log_artifact('plots'); lockgate.log_artifact('plots/', 'docs')")
    assert done.returncode == 0, done.stderr
    with records() as client:
        run_id = only_run(client).info.run_id
        for folder in ("plots", "docs/plots", "plots/deep"):
            names = {"roc.svg", "deep"} if folder.endswith("plots") else {"a.svg"}
            listed = client.tracking.list_artifacts(run_id, folder)
            assert {item.path for item in listed} == {f"{folder}/{name}" for name in names}


def test_what_is_no_file_and_no_folder_is_refused(script: Script, tmp_path: Path) -> None:
    done = script("import lockgate; lockgate.log_artifact('/dev/null')")
    assert "InvalidInput: there is no file or folder /dev/null to log." in done.stderr
    assert not (tmp_path / ".lockgate").exists()


def test_import_alone_loads_nothing(script: Script) -> None:
    done = script(
        "import sys, lockgate; print(sorted(m for m in sys.modules if m.startswith('lockgate') or m in "
        "('sqlalchemy', 'msgspec', 'numpy', 'polars', 'sklearn', 'starlette', 'click')))"
    )
    assert done.stdout.strip() == "['lockgate']"


def test_unknown_name_is_an_attribute_error(script: Script) -> None:
    assert "has no attribute 'log_everything'" in script("import lockgate; lockgate.log_everything()").stderr


def test_end_of_a_script_does_not_wait_for_a_server_that_never_ends_its_answer(script: Script) -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 20)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.5):
                connection.sendall(b" ")

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        uri = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            done = script(
                "import lockgate; lockgate.log_metric('m', 1.0)", LOCKGATE_URI=uri, LOCKGATE_OUTBOX_WAIT_S="1"
            )
        finally:
            stop.set()
            listening.shutdown(socket.SHUT_RDWR)
    assert done.returncode == 0, done.stderr
    assert "not sent within 1 s" in done.stderr


@pytest.mark.parametrize("block", ["if True:", "with lockgate.start_run():"])
def test_signal_handler_logs_to_the_run_that_is_ending(script: Script, tmp_path: Path, block: str) -> None:
    done = script(
        f"""
import os, signal, threading
import lockgate
from lockgate import training

def hear(*_):
    {block}
        lockgate.set_tag("heard", "while ending")
    lockgate.log_metric("later", 1.0)

def interrupt():
    while training._session._phase != "ending":
        pass
    os.kill(os.getpid(), signal.SIGUSR1)

signal.signal(signal.SIGUSR1, hear)
lockgate.log_metric("m", 1.0)
threading.Thread(target=interrupt, daemon=True).start()
""",
        LOCKGATE_URI=AWAY,
        LOCKGATE_OUTBOX_WAIT_S="3",
    )
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / ".lockgate" / "outbox").iterdir()
    assert b"while ending" in kept.read_bytes()
    assert b"later" in kept.read_bytes()


def test_signal_handler_that_logs_before_the_first_call_has_returned_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[str] = []

    def hear(*_: object) -> None:
        with pytest.raises(Unavailable, match="while the first log call is under way"):
            session.open()
        told.append("once")

    class Interrupting(dict[str, str]):
        def get(self, key: str, default: object = None) -> None:
            if not told:
                signal.raise_signal(signal.SIGUSR1)

    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    monkeypatch.chdir(tmp_path)
    session = Session(Interrupting())
    before = signal.signal(signal.SIGUSR1, hear)
    try:
        run_id = session.open().place.run_id
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert told == ["once"]
    assert session.open().place.run_id == run_id
    assert session.finish("FINISHED") is None
