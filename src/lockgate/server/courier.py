"""Brings what the outbox holds to its receivers, from the start of the server to its end.

One thread looks for receivers that something is due for, and a few others send. A receiver has a turn: it gets message
after message for a moment, the last of them however long it takes, and is then behind whoever waits. So one that is
slow keeps nobody else waiting.

    claimed -> posted -> 2xx: delivered
                      -> another answer: refused, and this message waits (see `outbox`)
                      -> no answer: the receiver waits

What is sent has MLflow's form and signature, so that receivers written for MLflow need no change:

    X-MLflow-Delivery-Id: the same at every attempt, so that a receiver can tell a repetition
    X-MLflow-Timestamp:   seconds since the epoch, of this attempt
    X-MLflow-Signature:   v1,BASE64(HMAC-SHA256(secret, "DELIVERY_ID.TIMESTAMP.BODY"))
"""

import base64
import hashlib
import hmac
import itertools
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from lockgate.errors import InvalidInput, LockgateError, Unavailable
from lockgate.metadata import outbox
from lockgate.metadata.database import Tx
from lockgate.metadata.outbox import Delivery
from lockgate.server.context import Context
from lockgate.server.outgoing import Answer, post

T = TypeVar("T")

log = logging.getLogger("lockgate.webhooks")

_LOOK_EVERY_S = 0.5
# While the database is away.
_LOOK_AT_LEAST_EVERY_S = 10.0
_TIDY_EVERY_S = 3600.0
_SENDERS = 8
_TURN_S = 0.2
_END_LIMIT_S = 20.0
# By these a receiver, or what stands before it, says that it takes nothing now, whatever it is sent.
_NOT_NOW = frozenset({429, 502, 503, 504})


class Courier:
    """Running threads; `stop` lets them finish what they are sending."""

    def __init__(self, context: Context, *, look_every_s: float = _LOOK_EVERY_S) -> None:
        self._context = context
        self._look_every_s = look_every_s
        self._stopping = threading.Event()
        self._look = threading.Event()  # before its time: something may be due
        self._free = threading.Semaphore(_SENDERS)
        self._turns = itertools.count(1)
        self._last_turns: defaultdict[str, int] = defaultdict(int)  # by receiver; who has had none is the first
        self._thread = threading.Thread(target=self._run, name="lockgate-courier", daemon=True)

    def start(self) -> "Courier":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._look.set()
        self._thread.join(_END_LIMIT_S)

    def __enter__(self) -> "Courier":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        clock, wait_s, tidy_at = self._context.clock, self._look_every_s, 0.0
        with ThreadPoolExecutor(_SENDERS, thread_name_prefix="lockgate-webhook") as senders:
            while not self._stopping.is_set():
                self._look.clear()
                due = self._try(lambda: waiting(self._context))
                for webhook_id in sorted(due or (), key=self._last_turns.__getitem__):
                    self._last_turns[webhook_id] = next(self._turns)
                    self._free.acquire()
                    senders.submit(self._serve, webhook_id)
                if due is not None and clock.monotonic() >= tidy_at and not self._try(lambda: tidy(self._context)):
                    tidy_at = clock.monotonic() + _TIDY_EVERY_S
                wait_s = self._look_every_s if due is not None else min(2 * wait_s, _LOOK_AT_LEAST_EVERY_S)
                self._look.wait(wait_s)

    def _serve(self, webhook_id: str) -> None:
        if self._try(lambda: deliver(self._context, webhook_id, until=self._stopping)):
            self._look.set()
        self._free.release()

    def _try(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except LockgateError as error:
            log.warning("webhooks wait: %s", error)  # the database is busy or away; what is due stays due
        except Exception:
            log.exception("a round of webhooks failed; the next one follows")
        return None


def waiting(ctx: Context) -> Sequence[str]:
    """The webhooks that something is due for."""
    with ctx.read() as connection:
        return outbox.due_webhooks(connection, now=ctx.clock.now_ms())


def deliver(ctx: Context, webhook_id: str, *, until: threading.Event | None = None) -> bool:
    """One turn of a receiver. Whether anything was sent: then more may be due."""
    ends_at = ctx.clock.monotonic() + _TURN_S
    sent: tuple[Delivery, _Failure | None] | None = None
    while True:
        is_over = ctx.clock.monotonic() >= ends_at or (until is not None and until.is_set())
        # No decision, which would keep all others waiting: each statement is right by itself.
        with ctx.write(decision=False) as tx:
            if sent is not None:
                _mark(tx, *sent)
            claimed = None if is_over else outbox.claim(tx, webhook_id)
        if claimed is None:
            return sent is not None
        sent = claimed, _attempt(ctx, claimed)


def tidy(ctx: Context) -> bool:
    """Give up and forget a part of what is old; whether there may be more."""
    # No decision, which would keep all others waiting: each statement is right by itself.
    with ctx.write(decision=False) as tx:
        return outbox.tidy(tx)


def send(ctx: Context, delivery: Delivery, *, reads_body: bool = False) -> Answer:
    """One attempt. Raises Unavailable where no answer came, InvalidInput for an address that may not be sent to."""
    timestamp = str(ctx.clock.now_ms() // 1000)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "lockgate",
        "X-MLflow-Delivery-Id": delivery.delivery_id,
        "X-MLflow-Timestamp": timestamp,
    }
    if delivery.secret:
        headers["X-MLflow-Signature"] = sign(delivery.secret, delivery.delivery_id, timestamp, delivery.body)
    allowed = ctx.webhook_private_addresses
    return post(delivery.url, delivery.body.encode(), headers, private_allowed=allowed, reads_body=reads_body)


def sign(secret: str, delivery_id: str, timestamp: str, body: str) -> str:
    """The signature that a receiver computes as well.

    >>> sign("s3cret", "d1", "1700000000", "{}")
    'v1,zanuGVyPdkCH5t63rF48cWGMLFZ3sNRiNHn6qebAxZ8='
    """
    message = f"{delivery_id}.{timestamp}.{body}"
    digest = hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def refusal(answer: Answer) -> str | None:
    """Why an answer does not count as received; None where it does."""
    if 200 <= answer.status < 300:
        return None
    moved = "; redirects are not followed" if 300 <= answer.status < 400 else ""
    return f"the receiver answered {answer.status}{moved}"


class _Failure(NamedTuple):
    reason: str
    was_heard: bool  # the receiver answered, and about this message alone


def _attempt(ctx: Context, delivery: Delivery) -> _Failure | None:
    """None where it was received."""
    try:
        answer = send(ctx, delivery)
        reason = refusal(answer)
        failure = None if reason is None else _Failure(reason, was_heard=answer.status not in _NOT_NOW)
    except (Unavailable, InvalidInput) as error:
        failure = _Failure(error.message, was_heard=False)
    if failure is not None:
        log.warning("webhook %s: %s could not be delivered: %s", delivery.webhook_id, delivery.event, failure.reason)
    return failure


def _mark(tx: Tx, delivery: Delivery, failure: _Failure | None) -> None:
    if failure is None:
        outbox.mark_delivered(tx, delivery)
    else:
        outbox.mark_failed(tx, delivery, failure.reason, was_heard=failure.was_heard)
