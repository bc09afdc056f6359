"""A replica under load while what it must serve changes, breaks and goes away."""

import json
import socket
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path

import httpx
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lockgate.data.predictions import find_prediction, iter_predictions
from lockgate.entities import Observation, Traffic, TrafficShare
from lockgate.models.save import save_model
from lockgate.serving.traffic import read_observations, write_traffic
from lockgate.store.store import Store
from lockgate.testing.replica import RunningReplica

TENSOR = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]}
BODY = {"instances": [[0.5, 1.0, -1.0]]}


class Place:
    """A state folder with two versions in its store."""

    def __init__(self, state: Path, saved: Path) -> None:
        self.state = state
        self.folder = state / "serving" / "e"
        self.digests = {v: Store(state / "store").put_tree(saved / str(v)).digest for v in (1, 2)}

    def serve(self, revision: int, shares: dict[int, float]) -> None:
        found = tuple(
            TrafficShare(version=version, digest=self.digests.get(version, "0" * 64), share=share)
            for version, share in shares.items()
        )
        write_traffic(
            self.folder, Traffic(model="m", environment="e", revision=revision, shares=found, changed_at=revision)
        )

    def wait_for(self, revision: int) -> Observation:
        deadline = time.monotonic() + 15
        while True:
            for seen in read_observations(self.folder, 60_000):
                if seen.revision == revision:
                    return seen
            assert time.monotonic() < deadline, f"revision {revision} was never observed"
            time.sleep(0.01)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    rows = np.random.default_rng(0).normal(size=(40, 3))
    for version, strength in ((1, 1.0), (2, 0.1)):
        save_model(LogisticRegression(C=strength).fit(rows, rows[:, 0] > 0), folder / str(version), example=rows[:2])
    return folder


@pytest.fixture
def place(tmp_path: Path, saved: Path) -> Place:
    return Place(tmp_path, saved)


class Client:
    """One connection, much lighter than httpx: what is tried here is how much the server stands."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(url.removeprefix("http://"), timeout=20)

    def close(self) -> None:
        self._connection.close()

    def ask(self, path: str = "/invocations", body: object = BODY) -> HTTPResponse:
        self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        return answer


class Load:
    """Clients that ask as fast as they are answered, and keep every status and version."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.answers: list[tuple[float, int, str]] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with closing(Client(self._url)) as client:
            while not self._stop.is_set():
                answer = client.ask()
                self.answers.append((time.monotonic(), answer.status, answer.headers["lockgate-model-version"]))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_swaps_under_load_fail_no_request(place: Place) -> None:
    place.serve(1, {1: 1.0})
    with RunningReplica(place.state, "e") as replica:
        place.wait_for(1)
        with Load(replica.url) as load:
            time.sleep(0.3)
            place.serve(2, {2: 1.0})
            place.wait_for(2)
            swapped = time.monotonic()
            time.sleep(0.3)
            place.serve(3, {1: 1.0})
            back_asked = time.monotonic()
            place.wait_for(3)
            back = time.monotonic()
            time.sleep(0.3)
    assert {status for _, status, _ in load.answers} == {200}
    assert {version for at, _, version in load.answers if at < swapped - 1} <= {"1", "2"}
    assert {version for at, _, version in load.answers if swapped + 0.1 < at < back_asked} == {"2"}
    assert {version for at, _, version in load.answers if at > back + 0.1} == {"1"}
    logged = Counter(str(item.version) for item in iter_predictions(place.folder / "predictions"))
    assert logged == Counter(version for _, _, version in load.answers)


def test_split_follows_its_shares(place: Place) -> None:
    place.serve(1, {1: 0.8, 2: 0.2})
    with RunningReplica(place.state, "e", seed=7) as replica:
        place.wait_for(1)
        with closing(Client(replica.url)) as client:
            versions = Counter(client.ask().headers["lockgate-model-version"] for _ in range(400))
            for _ in range(50):
                assert client.ask("/v2/models/m/versions/2/infer", TENSOR).status == 200
        time.sleep(0.2)  # counts are published ten times a second
    # Four standard deviations of a binomial with n = 400, p = .2.
    assert abs(versions["2"] - 80) < 4 * (400 * 0.2 * 0.8) ** 0.5
    counted = {item.version: item.requests for item in place.wait_for(1).counters}
    assert counted == {1: versions["1"], 2: versions["2"]}  # requests that named a version are no part of the split


def test_version_that_does_not_load_is_reported_and_the_old_one_serves_on(place: Place) -> None:
    place.serve(1, {1: 1.0})
    with RunningReplica(place.state, "e") as replica:
        place.wait_for(1)
        place.serve(2, {1: 0.5, 9: 0.5})
        seen = place.wait_for(2)
        assert not seen.ready
        assert seen.error is not None and "0000" in seen.error
        with closing(Client(replica.url)) as client:
            assert {client.ask().headers["lockgate-model-version"] for _ in range(5)} == {"1"}
        place.serve(3, {2: 1.0})
        assert place.wait_for(3).ready


def test_replica_without_traffic_is_alive_and_not_ready(place: Place) -> None:
    with RunningReplica(place.state, "e") as replica:
        assert httpx.get(f"{replica.url}/v2/health/live").status_code == 200
        assert httpx.get(f"{replica.url}/v2/health/ready").status_code == 503
        answer = httpx.post(f"{replica.url}/invocations", json=BODY)
        assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        place.serve(1, {1: 1.0})
        place.wait_for(1)
        assert httpx.post(f"{replica.url}/invocations", json=BODY).status_code == 200


def test_broken_traffic_file_changes_nothing(place: Place) -> None:
    place.serve(1, {1: 1.0})
    with RunningReplica(place.state, "e") as replica:
        place.wait_for(1)
        (place.folder / "traffic.json").write_text("{")
        time.sleep(0.3)
        assert httpx.post(f"{replica.url}/invocations", json=BODY).status_code == 200
        place.serve(2, {2: 1.0})
        place.wait_for(2)
        assert httpx.post(f"{replica.url}/invocations", json=BODY).headers["lockgate-model-version"] == "2"


def test_kill_9_loses_no_answered_prediction(place: Place) -> None:
    place.serve(1, {1: 1.0})
    replica = RunningReplica(place.state, "e")
    place.wait_for(1)
    ids: list[str] = []

    def ask() -> None:
        with closing(Client(replica.url)) as client, suppress(OSError, HTTPException):
            while True:
                ids.append(client.ask().headers["lockgate-prediction-id"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    replica.kill()
    for thread in threads:
        thread.join()

    logged = {item.prediction_id for item in iter_predictions(place.folder / "predictions")}
    assert len(ids) > 20
    assert set(ids) <= logged
    assert find_prediction(place.folder / "predictions", ids[-1]) is not None


def test_sigterm_answers_what_is_in_flight_and_publishes_the_last_counts(place: Place) -> None:
    place.serve(1, {1: 1.0})
    replica = RunningReplica(place.state, "e")
    place.wait_for(1)
    host, port = replica.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        body = b'{"instances": [[0.5, 1.0, -1.0]]}'
        slow.sendall(b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
        slow.sendall(b"content-length: %d\r\n\r\n" % len(body) + body[:10])
        time.sleep(0.2)
        replica.process.terminate()
        time.sleep(0.2)
        slow.sendall(body[10:])
        answer = slow.recv(2000)
    assert answer.startswith(b"HTTP/1.1 200")
    assert replica.stop() == 0
    assert [item.requests for item in place.wait_for(1).counters] == [1]


def test_old_segment_with_a_torn_line_does_not_disturb_a_new_replica(place: Place) -> None:
    place.serve(1, {1: 1.0})
    (place.folder / "predictions").mkdir(parents=True)
    (place.folder / "predictions" / "dead-1.jsonl").write_bytes(b'{"prediction_id":"a","at"')
    with RunningReplica(place.state, "e") as replica:
        place.wait_for(1)
        httpx.post(f"{replica.url}/invocations", json=BODY)
    assert len(list(iter_predictions(place.folder / "predictions"))) == 1


def test_full_disk_is_counted_and_does_not_stop_answers(place: Place) -> None:
    place.serve(1, {1: 1.0})
    (place.folder / "predictions").write_text("a file where the folder should be")
    with RunningReplica(place.state, "e") as replica:
        place.wait_for(1)
        assert httpx.post(f"{replica.url}/invocations", json=BODY).status_code == 200
        assert "lockgate_prediction_log_errors_total 1.0" in httpx.get(f"{replica.url}/metrics").text
