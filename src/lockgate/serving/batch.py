"""Zero-wait micro-batching: whatever is queued when the loop turns is one batch.

An idle replica answers a request at once; a busy one finds the next batch already queued, so batches grow with load and
no request ever waits for a timer. A batch that is expected to take long runs in a thread, so that health checks and
other versions are still answered; the requests that come meanwhile are the next batch.

The log line of every row is written before its answer is sent: one write a turn.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from lockgate.clock import Clock
from lockgate.data.predictions import PredictionLog
from lockgate.errors import StorageFull
from lockgate.models.predictor import Answer
from lockgate.serving.version import Inputs, ServedVersion

_log = logging.getLogger("lockgate.serving")
_encoder = msgspec.json.Encoder()

# Above this a batch would be noticed by the requests beside it; below it a thread costs more than it saves.
_INLINE_S = 0.010
_LOG_TROUBLE_EVERY_S = 10.0
_JSON = ("content-type", "application/json")
_PLAIN = (str, int, float, bool, type(None), list)


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """`entities.Prediction` with the same fields in the same order, made by place: half the time of the other."""

    prediction_id: str
    at: int
    model: str
    version: int
    environment: str
    inputs: msgspec.Struct
    output: Any  # whatever plain value the model answers
    latency_ms: float
    status: int = 200
    error: str | None = None
    scores: list[float] | None = None


class Reply(Protocol):
    """The part of granian's protocol object that answers a request."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class Result(NamedTuple):
    """Answers of a whole batch as plain values; a request's rows are [start, start + height)."""

    predictions: list[Any]
    scores: list[list[float]] | None
    datatype: str  # of the predictions, in the Open Inference Protocol's words


Render = Callable[[ServedVersion, Result, int, "Job"], bytes]


class Job(msgspec.Struct, eq=False):
    """One request between its check and its answer; the batcher sets what has a default here."""

    version: ServedVersion
    inputs: Inputs
    render: Render
    client_id: str | None
    is_routed: bool
    id: str = ""
    reply: Reply | None = None
    done: "asyncio.Future[None] | None" = None
    started: float = 0.0
    latency_ms: float = 0.0


class Outcome(NamedTuple):
    """What came of some jobs that went through the model together."""

    version: ServedVersion
    jobs: list[Job]
    result: Result | None
    error: str | None


class Batcher:
    """The queue of one replica. Everything but the model's call happens on the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: PredictionLog, clock: Clock) -> None:
        self._loop = loop
        self._log = log
        self._clock = clock
        self._pending: dict[ServedVersion, list[Job]] = {}
        self._is_scheduled = False
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lockgate-model")
        self._process = secrets.token_hex(3)
        self._count = 0
        self._trouble_at = float("-inf")
        self.log_errors = 0  # rows whose log line could not be written

    def submit(self, job: Job, reply: Reply, started: float) -> "asyncio.Future[None]":
        """Queue a request; it is answered through `reply`, after which the future is done."""
        job.started = started
        job.reply = reply
        job.done = self._loop.create_future()
        queue = self._pending.get(job.version)
        if queue is None:
            self._pending[job.version] = [job]
        else:
            queue.append(job)
        if not self._is_scheduled:
            self._schedule()
        return job.done

    def close(self) -> None:
        """After the last answer."""
        self._threads.shutdown(wait=True)
        self._log.close()

    def _schedule(self) -> None:
        self._is_scheduled = True
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        due, self._pending = self._pending, {}
        outcomes: list[Outcome] = []
        for version, jobs in due.items():
            if version.is_busy:
                self._pending[version] = jobs
                continue
            self._name(jobs)
            if version.cost.estimate_s(sum([job.inputs.height for job in jobs])) > _INLINE_S:
                self._start_in_thread(version, jobs)
            else:
                outcomes += run(version, jobs)
        if outcomes:
            self._finish(outcomes)

    def _name(self, jobs: list[Job]) -> None:
        """Ids of 26 hexadecimal digits that sort by time: milliseconds, this process, a counter."""
        head = f"{self._clock.now_ms():012x}{self._process}"
        count = self._count
        for job in jobs:
            job.id = f"{head}{count:08x}"
            count = (count + 1) & 0xFFFFFFFF
        self._count = count

    def _start_in_thread(self, version: ServedVersion, jobs: list[Job]) -> None:
        version.is_busy = True

        def finish(future: "asyncio.Future[list[Outcome]]") -> None:
            version.is_busy = False
            self._finish(future.result())
            if version in self._pending and not self._is_scheduled:
                self._schedule()

        self._loop.run_in_executor(self._threads, run, version, jobs).add_done_callback(finish)

    def _finish(self, outcomes: list[Outcome]) -> None:
        now_s = time.perf_counter()
        lines: list[Line] = []
        for outcome in outcomes:
            _log_lines(lines, outcome, self._clock.now_ms(), now_s)
        try:
            self._log.append_lines(_encoder.encode_lines(lines))
        except (StorageFull, OSError) as error:
            # Answers matter more than their log: they go out, and the loss is counted, said and shown in /metrics.
            self.log_errors += len(lines)
            if now_s - self._trouble_at > _LOG_TROUBLE_EVERY_S:
                self._trouble_at = now_s
                _log.error("predictions are not logged: %s", error)
        for outcome in outcomes:
            _answer(outcome)


def run(version: ServedVersion, jobs: list[Job]) -> list[Outcome]:
    """The model on some requests at once; where it fails, on each alone, so that only the guilty one fails."""
    started = time.perf_counter()
    batch = [job.inputs for job in jobs]
    try:
        answer = version.answer(batch)
    # A model is the user's code and may raise anything; the failure belongs to the request and is counted there.
    except Exception as error:  # noqa: BLE001
        if len(jobs) > 1:
            return [outcome for job in jobs for outcome in run(version, [job])]
        _log.exception("version %d of %s failed on request %s", version.version, version.model_name, jobs[0].id)
        return [Outcome(version, jobs, None, f"{type(error).__name__}: {error}"[:500])]
    rows = len(answer.predictions)
    version.cost.learn(rows, time.perf_counter() - started)
    version.batches.count(rows)
    return [Outcome(version, jobs, _result(answer), None)]


def _result(answer: Answer) -> Result:
    predictions = answer.predictions
    scores = None if answer.scores is None else answer.scores.tolist()
    values = predictions.tolist()
    if predictions.dtype.kind not in "iufb":
        values = [value if isinstance(value, _PLAIN) else str(value) for value in values]
    return Result(values, scores, oip_datatype(predictions.dtype.kind, predictions.dtype.itemsize))


def oip_datatype(kind: str, itemsize: int) -> str:
    """A numpy type as the Open Inference Protocol calls it."""
    if kind in "iuf":
        return {"i": "INT", "u": "UINT", "f": "FP"}[kind] + str(itemsize * 8)
    return "BOOL" if kind == "b" else "BYTES"


def _log_lines(lines: list[Line], outcome: Outcome, now_ms: int, now_s: float) -> None:
    """Add the line of each row. One row a request is the case that has to be fast."""
    version, jobs, result, error = outcome
    model, number, environment, logged = version.model_name, version.version, version.environment, version.logged
    status = 500 if result is None else 200
    nothing: list[None] = [None] * sum([job.inputs.height for job in jobs])
    predictions = nothing if result is None else result.predictions
    scores = nothing if result is None or result.scores is None else result.scores
    at = 0
    for job in jobs:
        latency_ms = job.latency_ms = round((now_s - job.started) * 1000, 3)
        id_ = job.id
        records = logged(job.inputs)
        for i, inputs in enumerate(records):
            row_id = id_ if len(records) == 1 else f"{id_}-{i}"
            fields = (row_id, now_ms, model, number, environment, inputs, predictions[at], latency_ms, status, error)
            lines.append(Line(*fields, scores[at]))
            at += 1


def _answer(outcome: Outcome) -> None:
    version, jobs, result, _ = outcome
    version_header = ("lockgate-model-version", version.header)
    at = 0
    for job in jobs:
        assert job.reply is not None and job.done is not None
        headers = [_JSON, ("lockgate-prediction-id", job.id), version_header]
        try:
            if result is None:
                job.reply.response_bytes(500, headers, _failure(version, job))
            else:
                job.reply.response_bytes(200, headers, job.render(version, result, at, job))
        except RuntimeError as error:  # granian's way to say that the client went away
            _log.info("request %s was answered to nobody: %s", job.id, error)
        at += job.inputs.height
        if not job.done.done():
            job.done.set_result(None)
    is_failure = result is None
    version.routed.count([job.latency_ms for job in jobs if job.is_routed], failed=is_failure)
    version.named.count([job.latency_ms for job in jobs if not job.is_routed], failed=is_failure)


def _failure(version: ServedVersion, job: Job) -> bytes:
    message = f"version {version.version} of model {version.model_name} failed on this request."
    return msgspec.json.encode(
        {
            "error": message,
            "error_code": "INTERNAL_ERROR",
            "message": message,
            "hint": f"lockgate trace {job.id} shows the inputs and the reason",
        }
    )
