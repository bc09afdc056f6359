"""Brings what the outbox holds to its receivers, from the start of the server to its end.

One thread looks for what is due; for each receiver that something is due for, one of a few others sends, message after
message, so that a receiver that is slow keeps nobody else waiting.

    due row -> claimed (lease) -> posted -> 2xx: deleted
                                         -> anything else: due again later, and given up after a day

What is sent has MLflow's form and signature, so that receivers written for MLflow need no change:

    X-MLflow-Delivery-Id: the same at every attempt, so that a receiver can tell a repetition
    X-MLflow-Timestamp:   seconds since the epoch, of this attempt
    X-MLflow-Signature:   v1,BASE64(HMAC-SHA256(secret, "DELIVERY_ID.TIMESTAMP.BODY"))
"""

import base64
import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lockgate.errors import InvalidInput, LockgateError, Unavailable
from lockgate.metadata import outbox
from lockgate.metadata.outbox import Delivery
from lockgate.server.context import Context
from lockgate.server.outgoing import Answer, post

T = TypeVar("T")

log = logging.getLogger("lockgate.webhooks")

_LOOK_EVERY_S = 0.5
_SENDERS = 8
_BATCH = 4
# Longer than a batch of receivers that answer at the last moment.
_LEASE_MS = 120_000
_END_LIMIT_S = 20.0


class Courier:
    """Running threads; `stop` lets them finish what they are sending."""

    def __init__(self, context: Context, *, look_every_s: float = _LOOK_EVERY_S) -> None:
        self._context = context
        self._look_every_s = look_every_s
        self._stopping = threading.Event()
        self._served: set[str] = set()  # receivers that a thread sends to
        self._thread = threading.Thread(target=self._run, name="lockgate-courier", daemon=True)

    def start(self) -> "Courier":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_END_LIMIT_S)

    def __enter__(self) -> "Courier":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        with ThreadPoolExecutor(_SENDERS, thread_name_prefix="lockgate-webhook") as senders:
            while not self._stopping.is_set():
                for webhook_id in self._try(lambda: waiting(self._context)) or ():
                    if webhook_id not in self._served:
                        self._served.add(webhook_id)
                        senders.submit(self._serve, webhook_id)
                self._stopping.wait(self._look_every_s)

    def _serve(self, webhook_id: str) -> None:
        """Send to one receiver until nothing is due for it."""
        while self._try(lambda: deliver(self._context, webhook_id, until=self._stopping)):
            pass
        self._served.discard(webhook_id)

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
    """Send one batch of what is due to one receiver; False where nothing was, or it failed and has to wait."""
    with ctx.write() as tx:
        claimed = outbox.claim_due(tx, webhook_id, limit=_BATCH, lease_ms=_LEASE_MS)
    for position, delivery in enumerate(claimed):
        if until is not None and until.is_set():
            with ctx.write() as tx:
                outbox.release(tx, [left.delivery_id for left in claimed[position:]])
            return False
        problem = _attempt(ctx, delivery)
        with ctx.write() as tx:
            if problem is None:
                outbox.mark_delivered(tx, delivery.delivery_id)
                continue
            outbox.mark_failed(tx, delivery, problem)  # with the rest of the batch
        log.warning("webhook %s: %s could not be delivered: %s", webhook_id, delivery.event, problem)
        return False
    return bool(claimed)


def send(ctx: Context, delivery: Delivery) -> Answer:
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
    return post(delivery.url, delivery.body.encode(), headers, private_allowed=ctx.webhook_private_addresses)


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


def _attempt(ctx: Context, delivery: Delivery) -> str | None:
    """None where it was received, else what went wrong."""
    try:
        return refusal(send(ctx, delivery))
    except (Unavailable, InvalidInput) as error:
        return error.message
