"""Logging from a training loop: `lockgate.log_metrics` beside mlflow's client, all into Lockgate, in one run.

    rate        steps of 10 metrics as fast as they go: metrics a second until the last one can be read by others, CPU
                of the logging process for each (with the sender and, in a local project, the database), and how long
                one call takes
    slow-down   a loop of 1 ms steps, half numpy and half Python, that logs 10 metrics a step, beside the same loop
                that logs nothing

    .venv/bin/python benchmarks/outbox.py [--repeat 3] [--metrics 500000]

mlflow's client (mlflow-skinny) calls `log_batch` once a step: synchronous, and asynchronous, where the call returns at
once and what is not sent is kept in memory. Of some runs the best counts: other work on the machine can only make one
longer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from best import best_s

NAMES = [f"train/metric_{i}" for i in range(10)]
LOOP_STEPS, LOOK_STEPS = 2000, 200  # the best 200 of 2,000 count
SLOW_STEPS = 1000  # of the ways that take milliseconds a call

SERVER = """
import sys
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.config import Settings
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread
app = make_app(open_context(Path(sys.argv[1]), user="server", clock=SystemClock()), settings=Settings())
print(serve_in_thread(app).url, flush=True)
sys.stdin.read()
"""

Log = Callable[[dict[str, float], int], None]
Finish = Callable[[], None]  # returns when others can read everything


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--metrics", type=int, default=500_000)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, what, first, second = arguments.child
        log, finish = WAYS[way]()
        found = rate(log, finish, int(first)) if what == "rate" else loop(log, finish, int(first), int(second))
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as name, serving(Path(name) / "state") as uri:
        project = Path(name) / "project"
        project.mkdir()
        (project / "lockgate.yaml").write_text("model: m\ntask: regression\n")

        def measure(way: str, *what: str) -> list[dict[str, float]]:
            environ = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "BENCH_URI": uri}
            if way == "lockgate, over HTTP":
                environ["LOCKGATE_URI"] = uri
            command = [sys.executable, str(Path(__file__).absolute()), "--child", way, *what]
            runs = [
                subprocess.run(command, cwd=project, env=environ, stdout=subprocess.PIPE, check=True)
                for _ in range(arguments.repeat)
            ]
            return [json.loads(run.stdout.splitlines()[-1]) for run in runs]

        show_rates(measure, arguments.metrics // len(NAMES))
        show_slow_down(measure)


# -- what is shown ----------------------------------------------------------------------------------------------------

Measure = Callable[..., list[dict[str, float]]]


def show_rates(measure: Measure, steps: int) -> None:
    print(
        f"{'as fast as it goes':<26}{'metrics/s':>11}{'ratio':>7}{'CPU us/metric':>15}{'call p50 us':>13}{'p99 us':>9}"
    )
    rates = {}
    for way in list(WAYS)[1:]:
        found = measure(way, "rate", str(steps if "lockgate" in way else SLOW_STEPS), "0")
        rates[way] = max(run["metrics_s"] for run in found)
        cpu, p50, p99 = (min(run[name] for run in found) for name in ("cpu_us", "p50_us", "p99_us"))
        ratio = rates["lockgate, local project"] / rates[way]
        print(f"{way:<26}{rates[way]:>11,.0f}{ratio:>7.1f}{cpu:>15.2f}{p50:>13.1f}{p99:>9.0f}")


def show_slow_down(measure: Measure) -> None:
    arrays, python = calibrate()
    print(f"\n{'a step of 1 ms, 10 metrics':<26}{'ms a step':>11}{'slower':>9}{'CPU ms a step':>15}")
    alone = 0.0
    for way in WAYS:
        found = measure(way, "loop", str(arrays), str(python))
        took, cpu = min(run["ms"] for run in found), min(run["cpu_ms"] for run in found)
        alone = alone or took
        print(f"{way:<26}{took:>11.3f}{took / alone - 1:>9.1%}{cpu:>15.3f}")


@contextmanager
def serving(state: Path) -> Iterator[str]:
    """A server in a process of its own."""
    command = [sys.executable, "-c", SERVER, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


# -- the ways to log, each in a process of its own --------------------------------------------------------------------


def with_nothing() -> tuple[Log, Finish]:
    return lambda values, step: None, lambda: None


def with_lockgate() -> tuple[Log, Finish]:
    import lockgate

    return lockgate.log_metrics, lambda: lockgate.flush(600)


def with_mlflow(*, synchronous: bool) -> tuple[Log, Finish]:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(os.environ["BENCH_URI"])
    run_id = client.create_run("0").info.run_id
    begun = []

    def log(values: dict[str, float], step: int) -> None:
        at = time.time_ns() // 1_000_000
        metrics = [Metric(name, value, at, step) for name, value in values.items()]
        begun.append(client.log_batch(run_id, metrics=metrics, synchronous=synchronous))

    def finish() -> None:
        for operation in begun:
            if operation is not None:
                operation.wait()

    return log, finish


WAYS: dict[str, Callable[[], tuple[Log, Finish]]] = {
    "nothing": with_nothing,
    "lockgate, local project": with_lockgate,
    "lockgate, over HTTP": with_lockgate,
    "mlflow, synchronous": lambda: with_mlflow(synchronous=True),
    "mlflow, asynchronous": lambda: with_mlflow(synchronous=False),
}


def rate(log: Log, finish: Finish, steps: int) -> dict[str, float]:
    log({"warm": 1.0}, 0)
    finish()
    calls = []
    started, used = time.perf_counter(), time.process_time()
    for step in range(steps):
        values = {name: step * 0.37 + i for i, name in enumerate(NAMES)}
        called = time.perf_counter()
        log(values, step)
        calls.append(time.perf_counter() - called)
    finish()
    took, used = time.perf_counter() - started, time.process_time() - used
    calls.sort()
    count = steps * len(NAMES)
    return {
        "metrics_s": count / took,
        "cpu_us": used / count * 1e6,
        "p50_us": calls[len(calls) // 2] * 1e6,
        "p99_us": calls[len(calls) * 99 // 100] * 1e6,
    }


def calibrate() -> tuple[int, int]:
    """How many products of matrices, and how many sums, take half a millisecond each."""
    import numpy as np

    matrix = np.random.default_rng(0).normal(size=(64, 64))
    product, total = best_s(lambda: matrix @ matrix, 500), best_s(lambda: sum(range(200)), 500)
    return max(1, round(0.0005 / product)), max(1, round(0.0005 / total))


def loop(log: Log, finish: Finish, arrays: int, python: int) -> dict[str, float]:
    import numpy as np

    matrix = np.random.default_rng(0).normal(size=(64, 64))
    log({"warm": 1.0}, 0)
    finish()
    took, used = [], []
    for start in range(0, LOOP_STEPS, LOOK_STEPS):
        began, busy = time.perf_counter(), time.process_time()
        for step in range(start, start + LOOK_STEPS):
            for _ in range(arrays):
                matrix @ matrix
            for _ in range(python):
                sum(range(200))
            log({name: step * 0.37 + i for i, name in enumerate(NAMES)}, step)
        took.append((time.perf_counter() - began) / LOOK_STEPS * 1e3)
        used.append((time.process_time() - busy) / LOOK_STEPS * 1e3)
    finish()
    return {"ms": min(took), "cpu_ms": min(used)}


if __name__ == "__main__":
    main()
