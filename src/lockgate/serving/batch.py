"""Zero-wait micro-batching: whatever is queued when the loop turns is one batch.

An idle replica answers a request at once; a busy one finds the next batch already queued, so batches grow with load and
no request ever waits for a timer. A batch that is expected to take long runs in a thread, so that health checks and
other versions are still answered; the requests that come meanwhile are the next batch.

The log line of every row is written before its answer is sent: one write a turn.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from lockgate.clock import Clock
from lockgate.data.predictions import PredictionLog
from lockgate.entities import Prediction
from lockgate.errors import StorageFull
from lockgate.models.predictor import Answer
from lockgate.serving.version import Inputs, ServedVersion

_log = logging.getLogger("lockgate.serving")
_lines = msgspec.json.Encoder()

# Above this a batch would be noticed by the requests beside it; below it a thread costs more than it saves.
_INLINE_S = 0.010
_LOG_TROUBLE_EVERY_S = 10.0


class Reply(Protocol):
    """The part of granian's protocol object that answers a request."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class Result(NamedTuple):
    """Answers of a whole batch as plain values; a request's rows are [start, start + count)."""

    predictions: list[Any]
    scores: list[list[float]] | None
    datatype: str  # of the predictions, in the Open Inference Protocol's words


Render = Callable[[ServedVersion, Result, int, "Job"], bytes]


class Job:
    """One request between its check and its answer."""

    __slots__ = ("client_id", "done", "id", "inputs", "is_routed", "render", "reply", "started", "version")

    def __init__(
        self, version: ServedVersion, inputs: Inputs, *, render: Render, client_id: str | None, is_routed: bool
    ) -> None:
        self.version = version
        self.inputs = inputs
        self.render = render
        self.client_id = client_id
        self.is_routed = is_routed
        self.id = ""
        self.started = 0.0
        self.reply: Reply
        self.done: asyncio.Future[None]


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
        self._trouble_at = 0.0
        self.log_errors = 0  # rows whose log line could not be written

    def submit(self, job: Job, reply: Reply, *, id_: str, started: float) -> "asyncio.Future[None]":
        """Queue a request; it is answered through `reply`, after which the future is done."""
        job.id, job.started, job.reply = id_, started, reply
        job.done = self._loop.create_future()
        queue = self._pending.get(job.version)
        if queue is None:
            self._pending[job.version] = [job]
        else:
            queue.append(job)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)
        return job.done

    def close(self) -> None:
        """After the last answer."""
        self._threads.shutdown(wait=True)
        self._log.close()

    def _turn(self) -> None:
        self._is_scheduled = False
        due, self._pending = self._pending, {}
        outcomes: list[Outcome] = []
        for version, jobs in due.items():
            if version.is_busy:
                self._pending[version] = jobs
            elif version.seconds_a_row * sum(job.inputs.count for job in jobs) > _INLINE_S:
                self._start_in_thread(version, jobs)
            else:
                outcomes += run(version, jobs)
        if outcomes:
            self._finish(outcomes)

    def _start_in_thread(self, version: ServedVersion, jobs: list[Job]) -> None:
        version.is_busy = True

        def finish(future: "asyncio.Future[list[Outcome]]") -> None:
            version.is_busy = False
            self._finish(future.result())
            if version in self._pending and not self._is_scheduled:
                self._is_scheduled = True
                self._loop.call_soon(self._turn)

        self._loop.run_in_executor(self._threads, run, version, jobs).add_done_callback(finish)

    def _finish(self, outcomes: list[Outcome]) -> None:
        now_s = time.perf_counter()
        now_ms = self._clock.now_ms()
        records = [
            record for outcome in outcomes for record in _records(outcome, now_ms=now_ms, now_s=now_s)
        ]
        try:
            self._log.append_lines(_lines.encode_lines(records))
        except (StorageFull, OSError) as error:
            # Answers matter more than their log: they go out, and the loss is counted, said and shown in /metrics.
            self.log_errors += len(records)
            if now_s - self._trouble_at > _LOG_TROUBLE_EVERY_S:
                self._trouble_at = now_s
                _log.error("predictions are not logged: %s", error)
        for outcome in outcomes:
            _answer(outcome, now_s)


def run(version: ServedVersion, jobs: list[Job]) -> list[Outcome]:
    """The model on some requests at once; where it fails, on each alone, so that only the guilty one fails."""
    started = time.perf_counter()
    batch = [job.inputs for job in jobs]
    try:
        answer = version.answer(batch)
    # A model is the user's code and may raise anything; the failure belongs to the request and is counted there.
    except Exception as error:
        if len(jobs) > 1:
            return [outcome for job in jobs for outcome in run(version, [job])]
        _log.exception("version %d of %s failed on request %s", version.version, version.model_name, jobs[0].id)
        return [Outcome(version, jobs, None, f"{type(error).__name__}: {error}"[:500])]
    rows = sum(inputs.count for inputs in batch)
    took = (time.perf_counter() - started) / rows
    version.seconds_a_row = max(took, version.seconds_a_row * 0.9) if rows > 1 else took
    version.counters.count_batch(rows)
    return [Outcome(version, jobs, _result(answer), None)]


def _result(answer: Answer) -> Result:
    predictions = answer.predictions
    scores = None if answer.scores is None else answer.scores.tolist()
    return Result(predictions.tolist(), scores, oip_datatype(predictions.dtype.kind, predictions.dtype.itemsize))


def oip_datatype(kind: str, itemsize: int) -> str:
    """A numpy type as the Open Inference Protocol calls it."""
    if kind in "iuf":
        return {"i": "INT", "u": "UINT", "f": "FP"}[kind] + str(itemsize * 8)
    return "BOOL" if kind == "b" else "BYTES"


def _records(outcome: Outcome, *, now_ms: int, now_s: float) -> list[Prediction]:
    version, result = outcome.version, outcome.result
    records = []
    at = 0
    for job in outcome.jobs:
        latency_ms = round((now_s - job.started) * 1000, 3)
        count = job.inputs.count
        for i, inputs in enumerate(version.logged(job.inputs)):
            output = None if result is None else result.predictions[at + i]
            records.append(
                Prediction(
                    prediction_id=job.id if count == 1 else f"{job.id}-{i}",
                    at=now_ms,
                    model=version.model_name,
                    version=version.version,
                    environment=version.environment,
                    inputs=inputs,
                    output=tuple(output) if isinstance(output, list) else output,
                    latency_ms=latency_ms,
                    status=200 if result is not None else 500,
                    error=outcome.error,
                    scores=None if result is None or result.scores is None else tuple(result.scores[at + i]),
                )
            )
        at += count
    return records


def _answer(outcome: Outcome, now_s: float) -> None:
    version, result = outcome.version, outcome.result
    at = 0
    for job in outcome.jobs:
        latency_ms = (now_s - job.started) * 1000
        version.counters.count(latency_ms, failed=result is None)
        if job.is_routed:
            version.routed.count(latency_ms, failed=result is None)
        headers = [
            ("content-type", "application/json"),
            ("lockgate-prediction-id", job.id),
            ("lockgate-model-version", version.header),
        ]
        if result is None:
            job.reply.response_bytes(500, headers, _failure(version, job))
        else:
            job.reply.response_bytes(200, headers, job.render(version, result, at, job))
        at += job.inputs.count
        if not job.done.done():
            job.done.set_result(None)


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
