"""Answers that the event loop gives itself: to small measurements, which are over before a worker would have begun.

To begin a task and to change threads and back costs as much as to log a metric. On SQLite the loop waits for nobody.
On PostgreSQL it stands still for the answer, but only while no worker has anything to do, for no longer than nothing
else happens, and for some milliseconds at most; what has not come by then a worker waits for.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from lockgate.metadata.modes import Moment, WouldWait
from lockgate.server import origin
from lockgate.server.answer import Answer, answer_error, answer_struct
from lockgate.server.context import AnyRoute, Context
from lockgate.server.decode import decode_request
from lockgate.server.login import Login
from lockgate.server.meter import Meter
from lockgate.server.perform import perform, perform_briefly
from lockgate.server.workers import Workers

_NO_EVENTS = -1


class AtOnce:
    """Answers whole requests of brief operations, with what the application has for all of them."""

    def __init__(self, context: Context, login: Login, workers: Workers, meter: Meter) -> None:
        self._context = context
        self._login = login
        self._workers = workers
        self._meter = meter

    def answer(
        self, route: AnyRoute, headers: Sequence[tuple[bytes, bytes]], body: bytes, client: tuple[str, int] | None
    ) -> Answer | asyncio.Future[Any] | None:
        """What the application would answer, or what it will once a worker is done, or None: then it is to be called.

        That is where it is yet to be found out who asks.
        """
        began = time.perf_counter()
        try:
            if not self._login.is_fresh:
                return None
            telling = origin.telling_headers(headers)
            origin.require_ours(telling, has_login=self._login.is_required)
            caller = self._login.known(telling, client[0] if client else "")
            if caller is None:
                return None
            context = self._context.on_behalf_of(caller)
            request = decode_request(route.operation, query=b"", body=body, path_params={})
            events = _events()
            if not context.database.reads_at_once and (events == _NO_EVENTS or not self._workers.is_idle):
                return self._workers.call(perform, route, context, request)
            try:
                answer = Answer(answer_struct(perform_briefly(route, context, request, Moment(events))))
            except WouldWait as late:
                return self._workers.call(partial(perform, owed=late.owed), route, context, request)
        except Exception as error:  # noqa: BLE001  # as the application does: one bad request must not end the server
            answer = answer_error(error)
        self._meter.add(route.operation.name, answer.status, time.perf_counter() - began)
        return answer


def _events() -> int:
    """A file descriptor that can be read when the running loop has something to do; uvloop has one."""
    find = getattr(asyncio.get_running_loop(), "_get_backend_id", None)
    return _NO_EVENTS if find is None else find()
