import asyncio
import threading

import pytest

from lockgate.server.workers import Workers


def test_answer_comes_from_another_thread_and_the_loop_goes_on_meanwhile() -> None:
    workers = Workers(2, name="test")
    may_answer = threading.Event()

    def work(number: int) -> tuple[int, str]:
        may_answer.wait()
        return number, threading.current_thread().name

    async def main() -> list[tuple[int, str]]:
        asked = [workers.call(work, number) for number in range(5)]
        await asyncio.sleep(0)
        may_answer.set()
        return list(await asyncio.gather(*asked))

    found = asyncio.run(main())
    workers.close()
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert {name for _, name in found} <= {"test-0", "test-1"}


def test_what_is_raised_is_raised_where_it_is_awaited_and_the_thread_goes_on() -> None:
    workers = Workers(1, name="test")

    def fail() -> None:
        raise KeyError("no such thing")

    async def main() -> int:
        with pytest.raises(KeyError, match="no such thing"):
            await workers.call(fail)
        return await workers.call(int, "7")

    assert asyncio.run(main()) == 7
    workers.close()


def test_answer_to_nobody_is_dropped() -> None:
    """The caller was cancelled, or its loop is gone."""
    workers = Workers(1, name="test")
    may_answer = threading.Event()

    async def cancelled() -> None:
        asked = workers.call(may_answer.wait)
        asked.cancel()
        may_answer.set()
        assert await workers.call(int, "1") == 1

    asyncio.run(cancelled())
    may_answer.clear()

    async def gone() -> None:
        workers.call(may_answer.wait)

    asyncio.run(gone())
    may_answer.set()

    async def later() -> int:
        return await workers.call(int, "2")

    assert asyncio.run(later()) == 2
    workers.close()


def test_close_finishes_what_was_asked_for() -> None:
    workers = Workers(2, name="test")
    done: list[int] = []

    async def main() -> None:
        for number in range(20):
            workers.call(done.append, number)
        workers.close()

    asyncio.run(main())
    assert sorted(done) == list(range(20))


def test_of_those_that_are_free_the_one_that_was_busy_last_goes_first() -> None:
    workers = Workers(3, name="test")

    def work(may_end: threading.Event) -> str:
        may_end.wait()
        return threading.current_thread().name

    async def is_last_asked_first() -> bool:
        may_end = [threading.Event() for _ in range(3)]
        asked = [workers.call(work, event) for event in may_end]
        for number in (2, 0, 1):
            may_end[number].set()
            last = await asked[number]
            await asyncio.sleep(0.02)  # until it waits again
        return await workers.call(work, may_end[0]) == last

    assert any(asyncio.run(is_last_asked_first()) for _ in range(20))  # a thread may be slow to wait again
    workers.close()


def test_what_is_asked_where_no_loop_runs_is_answered() -> None:
    workers = Workers(1, name="test")
    assert workers.begin(int, "7").result() == 7
    with pytest.raises(ValueError, match="invalid literal"):
        workers.begin(int, "x").result()
    workers.close()


def test_thread_that_waits_for_somebody_else_is_not_waited_for_at_the_end() -> None:
    workers = Workers(2, name="test")
    may_end = threading.Event()
    waiting = workers.begin(may_end.wait)
    workers.close(limit_s=0.05)
    may_end.set()
    assert waiting.result()
