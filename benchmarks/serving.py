"""A replica beside a bare granian echo, in one run: requests a second and server CPU a request.

    python benchmarks/serving.py [--flavor onnx|sklearn] [--rounds 5] [--window-s 1.0]

Each is one process with one event loop and answers the same request: a row of 30 numbers for a scaled logistic
regression, 16 and 64 connections that each wait for their answer. The echo sends the body back, once on asyncio's own
loop and once on uvloop, which the replica runs on; the replica checks the body, asks the model, writes the prediction
log and answers. They are measured in turns of short windows, and the best window of each counts, because other work on
the machine can only make a window worse. The load comes from the same cores, as lean as Python can make it: the
lighter the client, the more of every difference is seen in the rate.
"""

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CONNECTIONS = (16, 64)
ECHO = """
import sys
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
async def echo(scope, protocol):
    protocol.response_bytes(200, [("content-type", "application/json")], await protocol())
run = __import__(sys.argv[2]).run
run(Server(echo, address="127.0.0.1", port=int(sys.argv[1]), interface=Interfaces.RSGI, http=HTTPModes.http1,
           websockets=False, backlog=1024, log_enabled=False).serve())
"""


class Window(NamedTuple):
    requests_s: float
    cpu_us: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flavor", choices=("onnx", "sklearn"), default="onnx")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window-s", type=float, default=1.0)
    parser.add_argument("--drive", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        port, pid, connections, path, seconds = arguments.drive
        print(json.dumps(drive(int(port), int(pid), int(connections), path, float(seconds))))
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        echo("asyncio") as bare,
        echo("uvloop") as faster,
        replica(Path(folder), arguments.flavor) as ours,
    ):
        servers = {"echo": bare, "echo on uvloop": faster, "ours": ours}
        print(f"{arguments.flavor}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{'connections':>11} {'server':<15} {'req/s':>7} {'of echo':>8} {'CPU us':>7}")
        for connections in CONNECTIONS:
            windows: dict[str, list[Window]] = {name: [] for name in servers}
            for _ in range(arguments.rounds):
                for name, (port, pid, path) in servers.items():
                    windows[name].append(measure(port, pid, connections, path, arguments.window_s))
            best = {
                name: Window(max(w.requests_s for w in found), min(w.cpu_us for w in found))
                for name, found in windows.items()
            }
            for name, one in best.items():
                share = one.requests_s / best["echo"].requests_s
                print(f"{connections:>11} {name:<15} {one.requests_s:>7,.0f} {share:>8.0%} {one.cpu_us:>7.1f}")
        print(f"replica: {resident_mb(ours[1]):.0f} MB resident")


Server = tuple[int, int, str]  # port, process, path


@contextmanager
def echo(loop: str) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", ECHO, str(port), loop])
    try:
        wait_for(port)
        yield port, process.pid, "/"
    finally:
        process.kill()
        process.wait()


@contextmanager
def replica(state: Path, flavor: str) -> Iterator[Server]:
    from lockgate.testing.replica import RunningReplica

    # Fitted in a process of its own, so that this one stays small.
    code = "import sys; sys.path.insert(0, sys.argv[3]); from serving import prepare; prepare(sys.argv[1], sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(state), flavor, str(Path(__file__).parent)], check=True)
    with RunningReplica(state, "production") as running:
        port = int(running.url.rpartition(":")[2])
        while b"200 OK" not in get(port, "/v2/health/ready"):
            time.sleep(0.05)
        yield port, running.process.pid, "/v2/models/cancer/infer"


def prepare(state: str, flavor: str) -> None:
    """A scaled logistic regression on the breast cancer data, stored and deployed below `state`."""
    import polars as pl
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from lockgate.entities import Traffic, TrafficShare
    from lockgate.models.save import save_model
    from lockgate.serving.traffic import write_traffic
    from lockgate.store.store import Store

    data = load_breast_cancer()
    frame = pl.DataFrame(data.data, schema=[str(name).replace(" ", "_") for name in data.feature_names])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, data.target)
    save_model(model, Path(state) / "model", example=frame.head(5), flavor=flavor)
    digest = Store(Path(state) / "store").put_tree(Path(state) / "model").digest
    share = TrafficShare(version=1, digest=digest, share=1.0)
    traffic = Traffic(model="cancer", environment="production", revision=1, shares=(share,), changed_at=0)
    write_traffic(Path(state) / "serving" / "production", traffic)


def measure(port: int, pid: int, connections: int, path: str, seconds: float) -> Window:
    """One window, driven from a process of its own."""
    command = [sys.executable, __file__, "--drive", str(port), str(pid), str(connections), path, str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True)
    return Window(*json.loads(done.stdout))


def drive(port: int, pid: int, connections: int, path: str, seconds: float) -> Window:
    """Ask as fast as answers come, with raw sockets: a client library would be what is measured."""
    values = ",".join(str(1.0 + i * 0.7310585786300049) for i in range(30))
    body = f'{{"inputs":[{{"name":"x","shape":[1,30],"datatype":"FP64","data":[{values}]}}]}}'
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = (head + body).encode()
    poll = select.epoll()
    sockets = {}
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[connection.fileno()] = connection
        poll.register(connection.fileno(), select.EPOLLIN)
        connection.sendall(request)
    answered = 0
    cpu, started = cpu_s(pid), time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        for number, _ in poll.poll(1.0):
            answer = sockets[number].recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
            answered += 1
            sockets[number].send(request)
    return Window(answered / (now - started), (cpu_s(pid) - cpu) / answered * 1e6)


def get(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return connection.recv(65536)


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the echo did not start")


def cpu_s(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
