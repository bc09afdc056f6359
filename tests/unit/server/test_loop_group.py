"""The event loop's own connection to PostgreSQL comes and goes without anybody waiting for it."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from lockgate.errors import Unavailable
from lockgate.metadata.database import Database
from lockgate.metadata.group_commit import GroupCommit
from lockgate.server.context import Context
from lockgate.server.loop_group import LoopGroup
from lockgate.server.workers import Workers

ON_POSTGRES = pytest.mark.parametrize("database_setting", ["postgres"], indirect=True)
LIMIT_S = 20


@pytest.fixture
def workers() -> Iterator[Workers]:
    found = Workers(2, name="test")
    yield found
    found.close()


@pytest.fixture
def group(context: Context, workers: Workers) -> LoopGroup:
    return LoopGroup(context.database, workers, patience_s=0.5)


async def found_in(group: LoopGroup) -> GroupCommit:
    async with asyncio.timeout(LIMIT_S):
        while (found := group.find()) is None:
            await asyncio.sleep(0.01)
    return found


async def answer_of(found: GroupCommit) -> str | None:
    asked = found.ask("SELECT $1::TEXT", ["a"])
    async with asyncio.timeout(LIMIT_S):
        while not asked.is_over:
            await asyncio.sleep(0.01)
    assert not asked.is_refused
    return asked.value


@pytest.mark.parametrize("database_setting", ["sqlite"], indirect=True)
def test_none_on_sqlite(group: LoopGroup) -> None:
    async def main() -> None:
        for _ in range(3):
            assert group.find() is None
            await asyncio.sleep(0.01)

    uvloop.run(main())


@ON_POSTGRES
@pytest.mark.parametrize("run_loop", [uvloop.run, asyncio.run])
def test_connection_that_is_lost_is_no_longer_looked_at_and_another_is_opened(
    context: Context, group: LoopGroup, lose_connections: Callable[[Database], None], run_loop: Callable[..., object]
) -> None:
    async def main() -> None:
        assert group.find() is None
        for _ in range(3):
            first = await found_in(group)
            assert await answer_of(first) == "a"
            lose_connections(context.database)
            async with asyncio.timeout(LIMIT_S):
                while group.find() is first:
                    await asyncio.sleep(0.01)
            assert not asyncio.get_running_loop().remove_reader(first.socket)  # the next file may have this number

    run_loop(main())
    assert context.database.engine.pool.checkedout() <= 2  # the last one, and one that may be kept by a writer


@ON_POSTGRES
def test_connection_that_does_not_answer_for_long_is_given_up(group: LoopGroup) -> None:
    async def main() -> None:
        first = await found_in(group)
        slow = first.ask("SELECT pg_sleep(60)::TEXT", [])
        behind = first.ask("SELECT 'a'", [])
        group.watch()
        async with asyncio.timeout(LIMIT_S):
            while not behind.is_over:
                await asyncio.sleep(0.01)
        assert slow.is_refused
        assert behind.is_refused
        second = await found_in(group)
        assert second is not first
        assert await answer_of(second) == "a"

    uvloop.run(main())


@ON_POSTGRES
def test_connection_that_goes_on_answering_is_kept_however_much_is_asked(group: LoopGroup) -> None:
    async def main() -> None:
        first = await found_in(group)
        for _ in range(40):
            asked = first.ask("SELECT pg_sleep(0.03)::TEXT", [])
            group.watch()
            while not asked.is_over:
                await asyncio.sleep(0)
            assert not asked.is_refused
        assert group.find() is first

    uvloop.run(main())


class Away:
    """A database that lets nobody in."""

    reads_at_once = False

    def __init__(self) -> None:
        self.asked = 0

    def open_group(self) -> GroupCommit:
        self.asked += 1
        raise Unavailable("it is away.")


@pytest.mark.parametrize(("retry_s", "least"), [(60, 1), (0.02, 2)])
def test_connection_that_cannot_be_opened_is_tried_again_after_a_while(
    workers: Workers, retry_s: float, least: int
) -> None:
    away = Away()
    group = LoopGroup(away, workers, retry_s=retry_s)

    async def main() -> None:
        async with asyncio.timeout(LIMIT_S):
            while away.asked < least:
                assert group.find() is None
                await asyncio.sleep(0.001)
        for _ in range(5):
            assert group.find() is None
            await asyncio.sleep(0.001)

    uvloop.run(main())
    assert (away.asked == 1) == (least == 1)
