"""What `lockgate up` holds, all its processes together: while it serves, and while its monitor looks.

    .venv/bin/python benchmarks/memory.py [--flavor onnx|sklearn] [--seconds 40] [--no-labels]

In a temporary folder: the project of `lockgate init --example` with windows of ten seconds, its model trained and
deployed (for ONNX a scaled logistic regression, because not every version of skl2onnx converts gradient boosting),
`lockgate up`, and visitors that ask about one row at a time and send the truth back. Every process of the tree is read
from /proc about 30 times a second, so it needs Linux. RSS counts a page in every process that has it and PSS shares it
out, so PSS is what the machine has less of; other programs that run on Python take their part of it too, so measure on
an idle machine. The bars: 200 MB with an ONNX model, 300 MB with a scikit-learn one.
"""

import argparse
import csv
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

BARS_MB = {"onnx": 200, "sklearn": 300}
LOCKGATE = str(Path(sys.executable).with_name("lockgate"))
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
LABEL = "malignant"


class Process(NamedTuple):
    """One process of the tree, in MB."""

    name: str
    rss: float
    pss: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flavor", choices=tuple(BARS_MB), action="append", help="default: both")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long to watch once everything is ready")
    parser.add_argument("--no-labels", action="store_true", help="the visitors never send the truth")
    arguments = parser.parse_args()
    for flavor in arguments.flavor or list(BARS_MB):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            make_project(root, flavor)
            with running(root) as (up, port), visitors(root, port, with_labels=not arguments.no_labels) as answered:
                most = watch(up, arguments.seconds)
            report(flavor, most, answered[0])


def make_project(root: Path, flavor: str) -> None:
    run("-C", str(root), "init", "--example")
    project = root / "lockgate.yaml"
    # Windows that end while we watch; retraining is the user's own process and not part of the figure.
    text = project.read_text().replace("window: 1h", "window: 10s")
    project.write_text(re.sub(r"^retrain:.*\n", "", text, flags=re.MULTILINE))
    if flavor == "onnx":
        script = root / "src" / "train.py"
        text = re.sub(
            r"^model = .*?^\)",
            "model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))",
            script.read_text(),
            flags=re.MULTILINE | re.DOTALL,
        ).replace("data=features)", 'data=features, flavor="onnx")')
        imports = ("linear_model import LogisticRegression", "pipeline import make_pipeline")
        lines = [f"from sklearn.{line}\n" for line in (*imports, "preprocessing import StandardScaler")]
        script.write_text(text.replace("import yaml\n", "import yaml\n" + "".join(lines)))
    run("-C", str(root), "run")
    run("-C", str(root), "deploy", "tumours@1", "--to", "production")


def run(*arguments: str) -> None:
    done = subprocess.run([LOCKGATE, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"lockgate {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


@contextmanager
def running(root: Path) -> Iterator[tuple[int, int]]:
    """`lockgate up`, ready: its process and the port of its model. Stopped with all its children at the end."""
    api, port = free_port(), free_port()
    command = [LOCKGATE, "-C", str(root), "up", "--api-port", str(api), "--serve-port", str(port)]
    with (root / "up.log").open("wb") as log:
        up = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
    try:
        for address in ((api, "/ready"), (port, "/v2/health/ready")):
            while not answers(*address):
                if up.poll() is not None:
                    sys.exit(f"lockgate up ended with {up.returncode}:\n{(root / 'up.log').read_text()}")
                time.sleep(0.05)
        yield up.pid, port
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait()


@contextmanager
def visitors(root: Path, port: int, *, with_labels: bool) -> Iterator[list[int]]:
    """A thread that asks about one row after the other; the value counts the answers."""
    with (root / "data" / "tumours.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    answered, stopping, rng = [0], threading.Event(), random.Random(0)

    def visit() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not stopping.wait(0.01):
            row = dict(rng.choice(rows))
            label = int(row.pop(LABEL))
            measured = {name: value * rng.gauss(1.0, 0.01) for name, value in row.items()}
            answer = post(connection, "/invocations", {"dataframe_records": [measured]})
            if with_labels:
                prediction_id = answer.getheader("lockgate-prediction-id")
                post(connection, "/feedback", {"prediction_id": prediction_id, "label": label})
            answered[0] += 1
        connection.close()

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield answered
    finally:
        stopping.set()
        thread.join()


def post(connection: http.client.HTTPConnection, path: str, body: object) -> http.client.HTTPResponse:
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        sys.exit(f"{path} answered {answer.status}: {text.decode()}")
    return answer


def watch(root: int, seconds: float) -> dict[str, list[Process]]:
    """The tree at its largest, by RSS, with a look of the monitor among its processes and without one."""
    most: dict[str, list[Process]] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = [process for pid in tree(root) if (process := measure(pid)) is not None]
        state = "while the monitor looks" if any(process.name == "monitor" for process in found) else "serving"
        if sum(process.rss for process in found) > sum(process.rss for process in most.get(state, [])):
            most[state] = found
        time.sleep(0.03)
    return most


def tree(root: int) -> list[int]:
    """The process and all below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def measure(pid: int) -> Process | None:
    """None where the process has ended."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    size = {name: int(kb) / 1024 for name, kb in re.findall(r"^(Rss|Pss):\s+(\d+) kB", rollup, re.MULTILINE)}
    name = next((word for word in ("serve", "monitor", "up") if word in arguments), "starting")
    return Process(name, size["Rss"], size["Pss"]) if size else None


def report(flavor: str, most: dict[str, list[Process]], answered: int) -> None:
    print(f"{flavor}: {answered} rows answered; the bar is {BARS_MB[flavor]} MB")
    for state, processes in most.items():
        rss, pss = sum(process.rss for process in processes), sum(process.pss for process in processes)
        each = ", ".join(f"{process.name} {process.rss:.0f} ({process.pss:.0f})" for process in processes)
        print(f"  {state:<24} RSS {rss:6.1f} MB   PSS {pss:6.1f} MB   each: {each}")


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
