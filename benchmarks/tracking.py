"""The tracking server beside MLflow's: what a request costs the server, and how many it answers.

    .venv/bin/python benchmarks/tracking.py [--mlflow /path/to/bin/mlflow] [--postgres postgresql://... --postgres ...]

Without --mlflow only ours is measured. With it, MLflow's server is started twice: as `mlflow server` starts by itself,
and with one worker and no job runners. Every operation is measured on all servers, one after the other, by a bare HTTP
client: the released mlflow client takes 2 ms of its own for a call, more than our server does. Server CPU is that of
all its processes, the least of some windows; calls a second are the most. Each --postgres is an empty database for the
next server of the list, PostgreSQL's own work is not counted; MLflow needs psycopg2 for it. Needs Linux.
"""

import argparse
import http.client
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from memory import answers, free_port, tree
from serving import cpu_s, resident_mb

OURS = str(Path(sys.executable).parent / "lockgate")
POINTS = 100_000
MODELS = 100
EACH_OF_8 = 25  # calls of each connection, a window
PREFIX = "/api/2.0/mlflow"


class Server(NamedTuple):
    name: str
    port: int
    pid: int
    start_cpu_s: float

    def cpu_s(self) -> float:
        return sum(cpu_s(pid) for pid in tree(self.pid))


class Figure(NamedTuple):
    """Of one operation; `items` is what it counts: calls, metrics or points."""

    items_per_s: float
    cpu_ms: float  # of the server, a call


class Connection:
    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._used_at = 0.0

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        if time.monotonic() - self._used_at > 1:  # servers close connections that nobody uses, MLflow's after 5 s
            self._http.close()
            self._http.connect()
            self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = None if body is None else json.dumps(body)
        self._http.request("GET" if data is None else "POST", PREFIX + path, data, {"Content-Type": "application/json"})
        answer = self._http.getresponse()
        content = answer.read()
        self._used_at = time.monotonic()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {content[:200]!r}")
        return json.loads(content)


class Load:
    """What is asked of one server."""

    def __init__(self, port: int, runs: int) -> None:
        self._port = port
        self._connections = [Connection(port) for _ in range(8)]
        self._ask = self._connections[0].call
        self._step = 0
        self._run = self._create_run()
        self._rng = random.Random(0)
        for _ in range(runs):
            metrics = [self._metric(f"m{k}", self._rng.random(), 0) for k in range(20)]
            params = [{"key": f"p{k}", "value": f"v{self._rng.randrange(10)}"} for k in range(20)]
            self._ask("/runs/log-batch", {"run_id": self._create_run(), "metrics": metrics, "params": params})
        for name in (f"model {number}" for number in range(MODELS)):
            self._ask("/registered-models/create", {"name": name, "tags": [{"key": "team", "value": "crm"}]})
            for _ in range(2):
                self._ask("/model-versions/create", {"name": name, "source": "s3://models/a"})
            self._ask("/registered-models/alias", {"name": name, "alias": "champion", "version": "2"})

    def log_metric(self, connection: int = 0) -> None:
        self._step += 1
        body = {"run_id": self._run, **self._metric(f"loss{connection}", 0.5, self._step)}
        self._connections[connection].call("/runs/log-metric", body)

    def log_metric_from_8(self) -> None:
        """Eight calls, one from each connection."""
        threads = [threading.Thread(target=self._log_some, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def log_batch(self) -> None:
        self._step += 100
        metrics = [self._metric(f"m{i % 10}", self._rng.random(), self._step + i // 10) for i in range(1000)]
        self._ask("/runs/log-batch", {"run_id": self._run, "metrics": metrics})

    def log_history(self) -> None:
        for start in range(0, POINTS, 1000):
            metrics = [self._metric("h", float(step), step) for step in range(start, start + 1000)]
            self._ask("/runs/log-batch", {"run_id": self._run, "metrics": metrics})

    def read_history(self) -> None:
        """By pages of 25,000, as the released client does."""
        path = f"/metrics/get-history?run_id={self._run}&metric_key=h&max_results=25000"
        count, token = 0, ""
        while True:
            page = self._ask(path + (f"&page_token={token}" if token else ""))
            count += len(page["metrics"])
            token = page.get("next_page_token", "")
            if not token:
                break
        assert count == POINTS, count

    def search(self) -> None:
        asked = {"filter": "metrics.m1 > 0.5 and params.p1 = 'v3'", "order_by": ["metrics.m2 DESC"], "max_results": 100}
        self._ask("/runs/search", {"experiment_ids": ["0"], **asked})

    def list_models(self) -> None:
        assert len(self._ask(f"/registered-models/search?max_results={MODELS}")["registered_models"]) == MODELS

    def _log_some(self, connection: int) -> None:
        for _ in range(EACH_OF_8):
            self.log_metric(connection)

    def _create_run(self) -> str:
        run: str = self._ask("/runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]
        return run

    def _metric(self, key: str, value: float, step: int) -> dict[str, Any]:
        return {"key": key, "value": value, "timestamp": 1_700_000_000_000 + step, "step": step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlflow", type=os.path.abspath, help="the program of an environment with the full package")
    parser.add_argument("--postgres", action="append", default=[])
    parser.add_argument("--runs", type=int, default=500, help="runs that are searched")
    parser.add_argument("--windows", type=int, default=5)
    options = parser.parse_args()
    addresses: Iterator[str] = iter(options.postgres)
    with ExitStack() as running:
        servers = [running.enter_context(ours(next(addresses, "")))]
        if options.mlflow:
            servers.append(running.enter_context(mlflow(options.mlflow, next(addresses, ""), is_lean=False)))
            servers.append(running.enter_context(mlflow(options.mlflow, next(addresses, ""), is_lean=True)))
        loads = [Load(server.port, options.runs) for server in servers]
        rows: dict[str, list[Figure]] = {}
        for title, work, times, calls, items in (
            ("one metric a call", Load.log_metric, 200, 1, 1),
            ("one metric a call, 8 connections", Load.log_metric_from_8, 1, 8 * EACH_OF_8, 1),
            ("1,000 metrics a call", Load.log_batch, 10, 1, 1000),
            ("write 100,000 points of a metric", Load.log_history, 1, POINTS // 1000, 1000),
            ("read them in one", Load.read_history, 1, 1, POINTS),
            ("search with filter and order", Load.search, 5, 1, 1),
            ("a page of 100 models", Load.list_models, 5, 1, 1),
        ):
            windows = 1 if work is Load.log_history else options.windows
            rows[title] = [
                measure(server, partial(work, load), times, calls, items, windows)
                for server, load in zip(servers, loads, strict=True)
            ]
        print(table(servers, rows))


def measure(server: Server, work: Callable[[], None], times: int, calls: int, items: int, windows: int) -> Figure:
    """`calls` are how many requests the work is, `items` what each of them counts."""
    found = []
    for _ in range(windows):
        cpu, began = server.cpu_s(), time.perf_counter()
        for _ in range(times):
            work()
        taken = time.perf_counter() - began
        found.append(Figure(times * calls * items / taken, (server.cpu_s() - cpu) * 1000 / (times * calls)))
    return Figure(max(f.items_per_s for f in found), min(f.cpu_ms for f in found))


def table(servers: list[Server], rows: dict[str, list[Figure]]) -> str:
    lines = ["| a second (ms of server CPU a call) | " + " | ".join(server.name for server in servers) + " |"]
    lines.append("|---|" + "---:|" * len(servers))
    for title, figures in rows.items():
        cells = " | ".join(f"{f.items_per_s:,.0f} ({f.cpu_ms:,.2f})" for f in figures)
        lines.append(f"| {title} | {cells} |")
    lines.append("| start, s of CPU | " + " | ".join(f"{s.start_cpu_s:.1f}" for s in servers) + " |")
    resident = (sum(resident_mb(pid) for pid in tree(server.pid)) for server in servers)
    lines.append("| resident after all this, MB | " + " | ".join(f"{mb:,.0f}" for mb in resident) + " |")
    return "\n".join(lines)


@contextmanager
def ours(postgres: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "lockgate.yaml").write_text("model: bench\ntask: regression\n")
        environ = {"LOCKGATE_DATABASE": postgres} if postgres else {}
        command = f"{OURS} server --port {{port}}"
        with started("Lockgate", command, folder, environ):
            pass  # which keeps the bytecode of a checkout, as an installed package has it
        with started("Lockgate", command, folder, environ) as server:
            yield server


@contextmanager
def mlflow(program: str, postgres: str, *, is_lean: bool) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        store = postgres.replace("postgresql://", "postgresql+psycopg2://") or f"sqlite:///{folder}/mlflow.db"
        command = f"{program} server --host 127.0.0.1 --port {{port}} --artifacts-destination {folder}/files"
        command += f" --backend-store-uri '{store}'" + (" --workers 1" if is_lean else "")
        environ = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} if is_lean else {}
        name = "MLflow, one worker, no jobs" if is_lean else "MLflow, as it starts"
        with started(name, command, folder, {"MLFLOW_DISABLE_TELEMETRY": "true", **environ}) as server:
            yield server


@contextmanager
def started(name: str, command: str, folder: str, environ: dict[str, str]) -> Iterator[Server]:
    port = free_port()
    words = shlex.split(command.format(port=port))
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environ}
    with (Path(folder) / "server.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        limit = time.monotonic() + 180
        while not answers(port, "/health"):
            if process.poll() is not None or time.monotonic() > limit:
                raise SystemExit(f"{name} did not start: {(Path(folder) / 'server.log').read_text()[-2000:]}")
            time.sleep(0.02)
        yield Server(name, port, process.pid, sum(cpu_s(pid) for pid in tree(process.pid)))
    finally:
        family = tree(process.pid)
        process.terminate()
        process.wait(60)
        for pid in family[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
