"""Threads that carry out operations, so that the event loop never waits for the database.

`loop.run_in_executor` does the same with two futures and five locks for every call, which is a tenth of all that a
logged metric costs. And it wakes the thread that has slept longest: of those that are free, the one that was busy last
still has in its processor's caches what it needs.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

_Work: TypeAlias = Callable[[], None]
_Inbox: TypeAlias = SimpleQueue[_Work | None]


class Workers:
    """Calls functions in `count` threads, in the order in which they were asked to."""

    def __init__(self, count: int, *, name: str) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Work] = deque()  # while nobody is free
        self._free: list[_Inbox] = []  # of threads that wait, the last one the shortest
        self._is_closed = False
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> "asyncio.Future[Any]":
        """What the function will return, or raise. For the running loop."""
        future = asyncio.get_running_loop().create_future()
        self._give(partial(_tell_loop, future, partial(function, *arguments)))
        return future

    def begin(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """The same where no loop runs."""
        future: Future[T] = Future()
        self._give(partial(_settle, future, partial(function, *arguments)))
        return future

    def close(self, *, limit_s: float | None = None) -> None:
        """Finish what was asked for, then end; after `limit_s` what is left ends with the process."""
        with self._lock:
            self._is_closed = True
            for inbox in self._free:
                inbox.put(None)
        end = None if limit_s is None else time.monotonic() + limit_s
        for thread in self._threads:
            thread.join(None if end is None else max(end - time.monotonic(), 0))

    def _give(self, work: _Work) -> None:
        with self._lock:
            if self._free:
                self._free.pop().put(work)
            else:
                self._waiting.append(work)

    def _run(self) -> None:
        inbox: _Inbox = SimpleQueue()
        while (work := self._next(inbox)) is not None:
            work()
            del work  # or the last question would be kept until the next one

    def _next(self, inbox: _Inbox) -> _Work | None:
        """What to do next, waited for where there is nothing; None to end."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._is_closed:
                return None
            self._free.append(inbox)
        return inbox.get()


def _tell_loop(future: "asyncio.Future[Any]", function: Callable[[], Any]) -> None:
    try:
        settle = partial(_set_result, future, function())
    except BaseException as error:  # noqa: BLE001  # raised where the result is awaited
        settle = partial(_set_exception, future, error)
    with contextlib.suppress(RuntimeError):  # a loop that was closed does not wait for answers
        future.get_loop().call_soon_threadsafe(settle)
    del future, function, settle  # which the error's traceback leads to: it would keep itself


def _settle(future: Future[T], function: Callable[[], T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001  # raised where the result is asked for
        future.set_exception(error)


def _set_result(future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():  # cancelled meanwhile
        future.set_result(value)


def _set_exception(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
