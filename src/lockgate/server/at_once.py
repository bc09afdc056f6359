"""Answers that the event loop gives itself: to small measurements, which are over before a worker would have begun.

To begin a task and to change threads and back costs as much as to log a metric. On SQLite the loop waits for nobody.
PostgreSQL it asks on a connection of its own, and is told by the system when there is an answer (`GroupCommit`).
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from lockgate.metadata.modes import WouldWait
from lockgate.metadata.moment import Moment
from lockgate.server import origin
from lockgate.server.answer import Answer, answer_error, answer_struct
from lockgate.server.connection import Answerer
from lockgate.server.context import AnyRoute, Context
from lockgate.server.decode import decode_request
from lockgate.server.login import Login
from lockgate.server.loop_group import LoopGroup
from lockgate.server.meter import Meter
from lockgate.server.perform import answer_in_json, perform_briefly
from lockgate.server.workers import Workers


class _Call(msgspec.Struct, frozen=True):
    route: AnyRoute
    context: Context
    request: Any
    began: float


class AtOnce:
    """Answers whole requests of brief operations, with what the application has for all of them."""

    def __init__(self, context: Context, login: Login, workers: Workers, meter: Meter) -> None:
        self._context = context
        self._login = login
        self._workers = workers
        self._meter = meter
        self._group = LoopGroup(context.database, workers)

    def answerer(
        self, route: AnyRoute, headers: Sequence[tuple[bytes, bytes]], client: tuple[str, int] | None
    ) -> Answerer:
        """What answers requests that come with these headers. Who sends them, and what they may, is asked each time."""
        return partial(self._answer, route, origin.read_sender(headers, client))

    def _answer(self, route: AnyRoute, sender: origin.Sender, body: bytes) -> Answer | asyncio.Future[Answer] | None:
        """What the application would answer, or what it will, or None: then it is to be called.

        That is where it is yet to be found out who asks.
        """
        began = time.perf_counter()
        try:
            if not self._login.is_fresh:
                return None
            origin.require_ours(sender, has_login=self._login.is_required)
            caller = self._login.known(sender)
            if caller is None:
                return None
            request = decode_request(route.operation, query=b"", body=body, path_params={})
            call = _Call(route, self._context.on_behalf_of(caller), request, began)
            moment = Moment(self._group.find())
        except Exception as error:  # noqa: BLE001  # as the application does: one bad request must not end the server
            return self._counted(route, began, answer_error(error))
        answer = self._brief_answer(call, moment)
        if answer is not None:
            return answer
        later: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if moment.asked is None or moment.asked.is_over:
            self._hand_over(call, later)
        else:
            moment.asked.heard = partial(self._go_on, call, moment, later)
            self._group.watch()
        return later

    def _brief_answer(self, call: _Call, moment: Moment) -> Answer | None:
        """None where it has to be waited for."""
        try:
            answer = Answer(answer_struct(perform_briefly(call.route, call.context, call.request, moment)))
        except WouldWait:
            return None
        except Exception as error:  # noqa: BLE001
            answer = answer_error(error)
        return self._counted(call.route, call.began, answer)

    def _go_on(self, call: _Call, moment: Moment, later: asyncio.Future[Answer]) -> None:
        answer = self._brief_answer(call, moment)
        if answer is None:
            self._hand_over(call, later)
        else:
            later.set_result(answer)

    def _hand_over(self, call: _Call, later: asyncio.Future[Answer]) -> None:
        """To a worker, who waits."""

        def settle(done: asyncio.Future[Answer]) -> None:
            later.set_result(self._counted(call.route, call.began, done.result()))

        self._workers.call(_whole_answer, call).add_done_callback(settle)

    def _counted(self, route: AnyRoute, began: float, answer: Answer) -> Answer:
        self._meter.add(route.operation.name, answer.status, time.perf_counter() - began)
        return answer


def _whole_answer(call: _Call) -> Answer:
    try:
        return Answer(answer_in_json(call.route, call.context, call.request))
    except Exception as error:  # noqa: BLE001
        return answer_error(error)
