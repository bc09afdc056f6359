"""Live traffic: rows of real patients sent one a request, each truth sent back a little later."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, float]


class Visitors:
    """A thread that asks the model about one row after the other until it is stopped."""

    def __init__(self, port: int, rows: Sequence[Row], labels: Sequence[int], *, per_second: float, seed: int) -> None:
        self.port = port
        self.scale = 1.0  # what the scanner multiplies its worst_* measurements with
        self.statuses: Counter[tuple[str, int]] = Counter()  # (version, HTTP status) -> requests
        self.last_prediction_id = ""
        self.broken_connections = 0
        self._rows, self._labels = rows, labels
        self._pause = 1.0 / per_second
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)

    def __enter__(self) -> "Visitors":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def failed(self, version: str) -> int:
        return sum(n for (v, status), n in self.statuses.items() if v == version and status != 200)

    def answered(self, version: str | None = None) -> int:
        return sum(n for (v, status), n in self.statuses.items() if status == 200 and version in (None, v))

    def _visit(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._stop.is_set():
            started = time.monotonic()
            i = self._random.randrange(len(self._rows))
            row = self._scan(self._random, self._rows[i], self.scale)
            try:
                self._ask(connection, row, self._labels[i])
            except (OSError, http.client.HTTPException):
                self.broken_connections += 1
                connection.close()
            time.sleep(max(0.0, self._pause - (time.monotonic() - started)))
        connection.close()

    def measure(self, count: int, *, scale: float) -> list[dict[str, float]]:
        """Rows of as many patients with their `label`, as a scanner of that unit gives them."""
        rng = random.Random(count)
        chosen = [rng.randrange(len(self._rows)) for _ in range(count)]
        return [{**self._scan(rng, self._rows[i], scale), "label": self._labels[i]} for i in chosen]

    @staticmethod
    def _scan(rng: random.Random, row: Row, scale: float) -> dict[str, float]:
        units = ((name, scale if name.startswith("worst_") else 1.0) for name in row)
        return {name: row[name] * unit * rng.gauss(1.0, 0.01) for name, unit in units}

    def _ask(self, connection: http.client.HTTPConnection, row: Row, label: int) -> None:
        answer = _post(connection, "/invocations", {"dataframe_records": [row]})
        version = answer.getheader("lockgate-model-version", "?")
        prediction_id = answer.getheader("lockgate-prediction-id", "")
        self.statuses[version, answer.status] += 1
        if answer.status == 200 and prediction_id:
            self.last_prediction_id = prediction_id
            _post(connection, "/feedback", {"prediction_id": prediction_id, "label": label})


def _post(connection: http.client.HTTPConnection, path: str, body: Any) -> http.client.HTTPResponse:  # JSON
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer
