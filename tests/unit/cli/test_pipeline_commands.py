"""`lockgate run --no-gates`, `status`, `gc` and `verify` as a user types them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lockgate.cli.main import lockgate
from lockgate.errors import DataDamaged, LockgateError
from lockgate.store.store import Store

PROJECT = """
model: m
task: regression
data: {raw: {path: raw.txt}}
stages:
  up: {cmd: "echo working; tr a-z A-Z < raw.txt > up.txt", deps: [raw.txt], outs: [up.txt]}
  count: {cmd: "wc -c < up.txt > n.json", deps: [up.txt], outs: [n.json]}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "lockgate.yaml").write_text(PROJECT)
    (tmp_path / "raw.txt").write_text("hello\n")
    return tmp_path


def call(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(lockgate, ["-C", str(root), *arguments], standalone_mode=False)


def ok(root: Path, *arguments: str) -> str:
    result = call(root, *arguments)
    if result.exception:
        raise result.exception
    return result.stdout


def test_status_then_run_then_status(root: Path) -> None:
    assert ok(root, "status").splitlines() == [
        "up     run      never ran",
        "count  run      never ran, after up",
        "data raw (raw.txt) has not been seen by a run.",
    ]
    assert "up | working\n" in ok(root, "run", "--no-gates")
    assert ok(root, "status").splitlines() == ["up     cached   nothing changed", "count  cached   nothing changed"]
    (root / "raw.txt").write_text("other")
    assert json.loads(ok(root, "status", "--json", "up"))["stages"] == [
        {"stage": "up", "state": "run", "reason": "dependency raw.txt changed"}
    ]


def test_run_as_json_keeps_progress_out_of_the_way(root: Path) -> None:
    printed = json.loads(ok(root, "run", "--no-gates", "--json"))
    assert [stage["status"] for stage in printed["stages"]] == ["ran", "ran"]


def test_a_failed_stage_is_exit_code_1_and_in_the_json(root: Path) -> None:
    (root / "lockgate.yaml").write_text(PROJECT.replace("wc -c", "false; exit 4; wc -c"))
    result = call(root, "run", "--no-gates", "--json")
    assert isinstance(result.exception, LockgateError)
    assert result.exception.exit_code == 1
    assert [stage["status"] for stage in json.loads(result.stdout)["stages"]] == ["ran", "failed"]


def age(root: Path) -> None:
    for path in (root / ".lockgate" / "store").rglob("*"):
        moved = path.stat().st_mtime_ns - 10 * 3600 * 10**9
        os.utime(path, ns=(moved, moved))


def test_gc_keeps_what_the_lock_and_the_last_results_name(root: Path) -> None:
    for i in range(8):
        (root / "raw.txt").write_text(f"text {i}\n")
        ok(root, "run", "--no-gates")
    stray = Store(root / ".lockgate" / "store").put_bytes(b"nobody wants this")
    assert json.loads(ok(root, "gc", "--json"))["content"]["deleted"] == []
    age(root)
    dry = json.loads(ok(root, "gc", "--dry-run", "--json"))
    assert stray in dry["content"]["deleted"]
    assert len(dry["content"]["deleted"]) == 4  # and what three old results of `up` wrote
    assert json.loads(ok(root, "gc", "--json"))["content"] == dry["content"]
    assert set(json.loads(ok(root, "gc", "--json"))["content"]["deleted"]) == set()
    for path in ("up.txt", "n.json"):
        (root / path).unlink()
    assert "2 restored" in ok(root, "run", "--no-gates")


def test_verify_names_damage_and_removes_it_on_request(root: Path) -> None:
    ok(root, "run", "--no-gates")
    assert "everything" in ok(root, "verify")
    store = Store(root / ".lockgate" / "store")
    damaged = store.path_of(store.put_bytes(b"HELLO\n"))
    damaged.chmod(0o644)
    damaged.write_bytes(b"JELLO\n")
    result = call(root, "verify", "--json")
    assert isinstance(result.exception, DataDamaged)
    assert [item["kind"] for item in json.loads(result.stdout)["damaged"]] == ["file"]
    ok(root, "verify", "--remove")
    assert "everything" in ok(root, "verify")
    (root / "up.txt").unlink()
    assert "up: done" in ok(root, "run", "--no-gates")


HEAVY = ("sqlalchemy", "polars", "numpy", "rich", "sklearn", "starlette", "granian", "dbos", "alembic", "mlflow")


@pytest.mark.parametrize("command", [["status"], ["run", "--no-gates"]])
def test_with_nothing_to_do_no_heavy_library_is_loaded(root: Path, command: list[str]) -> None:
    ok(root, "run", "--no-gates")
    script = f"""
import sys
import time
from lockgate.cli.main import lockgate
lockgate(["-C", {str(root)!r}, *{command!r}], standalone_mode=False)
print("heavy:", sorted(set(sys.modules) & set({HEAVY!r})))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_a_polite_kill_stops_the_stages_too(root: Path) -> None:
    (root / "lockgate.yaml").write_text(PROJECT.replace("echo working;", "echo $$ > pid; sleep 60;"))
    with subprocess.Popen(
        [sys.executable, "-m", "lockgate", "-C", str(root), "run", "--no-gates"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not (root / "pid").exists() or not (root / "pid").read_text().strip():
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        assert process.wait(20) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((root / "pid").read_text()), 0)
