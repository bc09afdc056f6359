"""Measurements of an event loop on PostgreSQL: together where they come together, and never half."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from select import POLLIN, poll
from typing import Any

import pytest
from sqlalchemy import event, func, select, text

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.database import Database
from lockgate.metadata.group_commit import GroupCommit
from lockgate.metadata.modes import WouldWait
from lockgate.metadata.moment import Asked, Moment
from lockgate.metadata.points import Point, log_points
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.postgres_engine import LOCK_TIMEOUT_S
from lockgate.metadata.runs import create_run
from lockgate.metadata.schema import open_database
from lockgate.metadata.tables import latest_metrics, metrics

RUN = "r" * 32
LIMIT_S = 20


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    found = open_database(parse_address(postgres_url))
    begin_run(found)
    yield found
    found.close()


@pytest.fixture
def group(database: Database) -> GroupCommit:
    return database.open_group()


@pytest.fixture
def calm() -> Iterator[int]:
    """A file descriptor that never has anything to read."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours.fileno()


def begin_run(database: Database, run_id: str = RUN) -> None:
    with database.write(at=1, by="a") as tx:
        create_run(tx, run_id, experiment_id=0, run_name="r", user_id="a", start_time=1, tags={})


def measure(database: Database, step: int, moment: Moment | None, *, key: str = "m", run_id: str = RUN) -> None:
    with database.write(at=1, by="a", decision=False, is_single=True, moment=moment) as tx:
        log_points(tx, run_id, [Point(key, 1.0, step, step)])


def begin(database: Database, group: GroupCommit, steps: Sequence[int], **how: str) -> list[Callable[[], None]]:
    """Measure; each can be gone on with once its answer is here, and raises WouldWait where it is refused."""
    begun = []
    for step in steps:
        moment = Moment(group)
        with suppress(WouldWait):
            measure(database, step, moment, **how)
        begun.append(partial(measure, database, step, moment, **how))
    return begun


def hear(group: GroupCommit, *awaited: Asked, limit_s: float = LIMIT_S) -> None:
    """What a loop does."""
    readable = poll()
    readable.register(group.socket, POLLIN)
    limit = time.monotonic() + limit_s
    while not all(asked.is_over for asked in awaited):
        assert time.monotonic() < limit
        if readable.poll(100):
            group.hear()


def asked_by(begun: Callable[[], None]) -> Asked:
    moment: Moment = begun.args[2]  # type: ignore[attr-defined]  # a partial
    assert moment.asked is not None
    return moment.asked


def go_on(group: GroupCommit, begun: Sequence[Callable[[], None]], *, limit_s: float = LIMIT_S) -> int:
    """Hear the answers; how many were refused."""
    hear(group, *map(asked_by, begun), limit_s=limit_s)
    refused = 0
    for repeat in begun:
        try:
            repeat()
        except WouldWait:
            refused += 1
    return refused


def steps_of(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(select(metrics.c.step).order_by(metrics.c.step)))


def transactions_of(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count(text("DISTINCT xmin::text"))).select_from(metrics)) or 0


def asked_of(database: Database) -> int:
    """How many latest values PostgreSQL was asked to write: of each it takes a number first, whatever follows."""
    with database.read() as connection:
        return connection.scalar(text("SELECT last_value FROM latest_metrics_series_seq")) or 0


def test_what_is_asked_alone_is_answered_at_once(database: Database, group: GroupCommit, calm: int) -> None:
    group.stand_still_beside(calm)
    left = 0
    for step in range(100):
        moment = Moment(group)
        try:
            measure(database, step, moment)
        except WouldWait:
            left += 1
            assert go_on(group, [partial(measure, database, step, moment)]) == 0
    assert steps_of(database) == list(range(100))
    assert left < 100  # where the machine is busy with other things most are late


def test_standing_still_is_over_when_the_loop_has_something_to_do(database: Database, group: GroupCommit) -> None:
    busy = os.open("/dev/zero", os.O_RDONLY)  # where there always is something to read
    group.stand_still_beside(busy, limit_ms=60_000)
    asked = group.ask("SELECT $1::TEXT || pg_sleep(0.2)", ["a"])
    assert not asked.is_over
    hear(group, asked)
    assert asked.value == "a"
    os.close(busy)


def test_standing_still_is_over_soon(group: GroupCommit, calm: int) -> None:
    group.stand_still_beside(calm)
    began = time.monotonic()
    asked = group.ask("SELECT $1::TEXT || pg_sleep(1)", ["a"])
    assert time.monotonic() - began < 0.5
    assert not asked.is_over
    hear(group, asked)
    assert asked.value == "a"


def test_what_comes_together_is_committed_together_and_asked_once(database: Database, group: GroupCommit) -> None:
    runs = [digit * 32 for digit in "3120"]
    for run_id in runs:
        begin_run(database, run_id)
    heard: list[str] = []
    begun = begin(database, group, [0])
    for run_id in runs:
        begun += begin(database, group, range(1, 6), run_id=run_id)
        asked_by(begun[-1]).heard = partial(heard.append, run_id)
    asked = asked_of(database)
    assert go_on(group, begun) == 0
    assert sorted(heard) == sorted(runs)
    assert steps_of(database) == sorted([0, *(range(1, 6)), *(range(1, 6)), *(range(1, 6)), *(range(1, 6))])
    assert transactions_of(database) == 2
    assert asked_of(database) - asked <= 21
    with database.read() as connection:
        latest = connection.execute(select(latest_metrics.c.run_id, latest_metrics.c.step)).all()
    assert sorted(latest) == sorted([(RUN, 0), *((run_id, 5) for run_id in runs)])


def test_more_than_the_system_takes_at_once_is_asked_in_parts(database: Database, group: GroupCommit) -> None:
    begun = begin(database, group, [0])
    for step in range(1, 101):
        begun += begin(database, group, [step], key="k" * 200 + str(step))
    assert go_on(group, begun) == 0
    assert steps_of(database) == list(range(101))
    assert 2 < transactions_of(database) < 10


def test_one_that_is_refused_takes_those_of_its_run_with_it_and_the_others_are_recorded(
    database: Database, group: GroupCommit
) -> None:
    begin_run(database, "a" * 32)
    begin_run(database, "z" * 32)
    measure(database, 1, None)
    assert go_on(group, begin(database, group, [0])) == 0
    begun = begin(database, group, [2])
    innocent = begin(database, group, [3, 4], run_id="z" * 32)
    guilty = begin(database, group, [3, 1, 4])  # one is there already
    innocent += begin(database, group, [5], run_id="a" * 32)
    assert go_on(group, begun) == 0
    assert go_on(group, guilty) == 3
    assert go_on(group, innocent) == 0
    assert steps_of(database) == [0, 1, 2, 3, 4, 5]
    assert go_on(group, begin(database, group, [5, 6])) == 0
    for step in (3, 1, 4):
        measure(database, step, None)
    assert steps_of(database) == [0, 1, 2, 3, 3, 4, 4, 5, 5, 6]


def test_many_that_are_refused_keep_nobody_out(database: Database, group: GroupCommit) -> None:
    runs = [f"{number:02}" * 16 for number in range(8)]
    for run_id in runs:
        begin_run(database, run_id)
        measure(database, 1, None, run_id=run_id)
    begun = begin(database, group, [0])
    guilty = [again for run_id in runs for again in begin(database, group, [1], run_id=run_id)]
    innocent = begin(database, group, [2])
    assert go_on(group, begun) == 0
    assert go_on(group, guilty) == 8
    assert go_on(group, innocent) == 0
    assert steps_of(database) == [0, *[1] * 8, 2]


def test_commit_that_fails_refuses_all_of_its_group(database: Database, group: GroupCommit) -> None:
    with database.write(at=1, by="a") as tx:
        tx.connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "IF NEW.step = 13 THEN RAISE 'no'; END IF; RETURN NULL; END $$"
            )
        )
        tx.connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON metrics DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        )
    try:
        assert go_on(group, begin(database, group, [0, 12, 13, 14])) == 3
        assert go_on(group, begin(database, group, [15])) == 0
        assert steps_of(database) == [0, 15]
    finally:
        with database.write(at=1, by="a") as tx:
            tx.connection.execute(text("DROP FUNCTION refuse CASCADE"))


def test_lock_that_somebody_keeps_refuses_soon_and_others_go_on(database: Database, group: GroupCommit) -> None:
    begin_run(database, "s" * 32)
    with database.write(at=1, by="b") as tx:
        tx.connection.execute(text(f"SELECT * FROM runs WHERE run_id = '{RUN}' FOR UPDATE"))  # as a purge does
        assert go_on(group, begin(database, group, [0]), limit_s=LOCK_TIMEOUT_S / 2) == 1
        assert go_on(group, begin(database, group, [1], run_id="s" * 32)) == 0
    measure(database, 0, None)
    assert steps_of(database) == [0, 1]


def test_two_that_ask_for_the_same_in_another_order_do_not_get_in_each_others_way(database: Database) -> None:
    """Two processes whose clients log the same metrics of the same run."""
    groups = [database.open_group() for _ in range(2)]
    keys = [f"m{number:02}" for number in range(50)]
    for turn in range(5):
        firsts = [begin(database, group, [turn], key=f"first {at}")[0] for at, group in enumerate(groups)]
        begun = []
        for at, group in enumerate(groups):
            for key in keys if at else reversed(keys):
                begun += begin(database, group, [1000 * at + turn], key=key)
        for group, first in zip(groups, firsts, strict=True):
            hear(group, asked_by(first))  # and send all the others, both at once
        for at, group in enumerate(groups):
            assert go_on(group, begun[at * 50 : at * 50 + 50]) == 0
    assert len(steps_of(database)) == 2 * 5 * 51


def test_lost_connection_refuses_all_and_says_so_once(database: Database, group: GroupCommit) -> None:
    lost: list[str] = []
    group.lost = partial(lost.append, "lost")
    assert go_on(group, begin(database, group, [0])) == 0
    backend = group.ask("SELECT pg_backend_pid()::TEXT", [])
    hear(group, backend)
    with database.write(at=1, by="b") as tx:
        tx.connection.execute(text("SELECT * FROM runs FOR UPDATE"))
        begun = begin(database, group, [1, 2, 3])
        tx.connection.execute(text(f"SELECT pg_terminate_backend({backend.value}, 5000)"))
        assert go_on(group, begun) == 3
    assert lost == ["lost"]
    with pytest.raises(WouldWait):
        measure(database, 4, Moment(group))
    for step in (1, 2, 3):
        measure(database, step, None)
    assert steps_of(database) == [0, 1, 2, 3]


def test_connection_that_is_closed_between_questions_is_noticed(
    database: Database, group: GroupCommit, calm: int, lose_connections: Callable[[Database], None]
) -> None:
    lost: list[str] = []
    group.lost = partial(lost.append, "lost")
    group.stand_still_beside(calm)
    assert go_on(group, begin(database, group, [0])) == 0
    lose_connections(database)
    begun = begin(database, group, [1])
    if not asked_by(begun[0]).is_over:
        hear(group, asked_by(begun[0]))
    assert lost == ["lost"]
    assert asked_by(begun[0]).is_refused


def test_connection_whose_statements_the_server_has_forgotten_is_given_up(
    database: Database, group: GroupCommit
) -> None:
    lost: list[str] = []
    group.lost = partial(lost.append, "lost")
    assert go_on(group, begin(database, group, [0])) == 0
    with database.write(at=1, by="a") as tx:
        tx.connection.execute(
            text(
                "CREATE FUNCTION forget() RETURNS text LANGUAGE plpgsql AS $$ BEGIN "
                "EXECUTE 'DEALLOCATE ALL'; RETURN 'done'; END $$"
            )
        )
    forgotten = group.ask("SELECT forget()", [])
    hear(group, forgotten)
    assert forgotten.value == "done"
    assert go_on(group, begin(database, group, [1, 2])) == 2
    assert lost == ["lost"]
    with database.write(at=1, by="a") as tx:
        tx.connection.execute(text("DROP FUNCTION forget"))


@pytest.mark.parametrize(
    ("key", "run_id", "error"),
    [("a\0b", RUN, InvalidInput), ("\ud800", RUN, InvalidInput), ("m", "f" * 32, NotFound), ("m", "\0", InvalidInput)],
)
def test_what_cannot_be_recorded_is_left_to_who_says_why(
    database: Database, group: GroupCommit, key: str, run_id: str, error: type[Exception]
) -> None:
    moment = Moment(group)
    with pytest.raises((WouldWait, error)):
        measure(database, 1, moment, key=key, run_id=run_id)
    if moment.asked is not None:
        assert go_on(group, [partial(measure, database, 1, moment, key=key, run_id=run_id)]) == 1
    with pytest.raises(error):
        measure(database, 1, None, key=key, run_id=run_id)
    assert go_on(group, begin(database, group, [2])) == 0
    assert steps_of(database) == [2]


class Splitting:
    """PostgreSQL by TCP, each of whose answers from `split_at` on comes in two parts, the second after a while."""

    def __init__(self, socket_path: str) -> None:
        self.split_at = 0  # 0: they come whole
        self.in_front = b""  # what comes before an answer
        self._socket_path = socket_path
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # of who is closed
            while True:
                ours, _ = self._listening.accept()
                theirs = socket.socket(socket.AF_UNIX)
                theirs.connect(self._socket_path)
                for pair in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pass_on, args=(*pair, pair[0] is theirs), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError), source:
            while data := source.recv(65_536):
                at = self.split_at if is_answer else 0
                if is_answer:
                    target.sendall(self.in_front)
                if at:
                    target.sendall(data[:at])
                    time.sleep(0.01)
                target.sendall(data[at:])
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def split(postgres: Any) -> Iterator[Splitting]:
    found = Splitting(f"{postgres.folder}/.s.PGSQL.5432")
    yield found
    found.close()


@pytest.fixture
def split_database(split: Splitting, postgres_url: str) -> Iterator[Database]:
    name = postgres_url.partition("?")[0].rpartition("/")[2]
    found = open_database(parse_address(f"postgresql://postgres@127.0.0.1:{split.port}/{name}"))
    begin_run(found)
    yield found
    found.close()


def test_answers_may_come_in_pieces(split: Splitting, split_database: Database, calm: int) -> None:
    database = split_database
    group = database.open_group()
    group.stand_still_beside(calm)
    assert go_on(group, begin(database, group, [0])) == 0
    recorded = [0]
    for at in (-6, -1, 1, 20, 70, 100, 150):  # the last six bytes say that the transaction is over
        steps = [1000 * abs(at) + number + (at < 0) * 10 for number in range(3)]
        split.split_at = at
        assert go_on(group, begin(database, group, steps)) == 0
        assert go_on(group, begin(database, group, [0, steps[0] + 5])) >= 1  # a refusal, and what came with it
        recorded += steps
        split.split_at = 0
    assert set(recorded) <= set(steps_of(database))


@pytest.mark.parametrize(
    "in_front",
    [
        b"D\0\0\0\2",  # shorter than a message can be
        b"D\x7f\xff\xff\xff",  # longer than memory
        b"!\0\0\0\4",  # of no kind
        b"C\0\0\0\5\0",  # of a statement that nobody has asked
        b"Z\0\0\0\5I",  # the end of a transaction too early
        b"T\0\0\0\6\0\0D\0\0\0\6\0\0C\0\0\0\5\0",  # an answer too many
    ],
)
def test_what_is_no_answer_refuses_all(split: Splitting, split_database: Database, in_front: bytes) -> None:
    group = split_database.open_group()
    assert go_on(group, begin(split_database, group, [0])) == 0
    split.in_front = in_front
    begun = begin(split_database, group, [1, 2, 3])
    hear(group, *map(asked_by, begun))
    split.in_front = b""
    for step in (1, 2, 3):
        measure(split_database, step, None)
    assert steps_of(split_database) == [0, 1, 2, 3]


def test_loop_opens_no_connection(database: Database, group: GroupCommit) -> None:
    opened: list[object] = []
    event.listen(database.engine, "checkout", lambda *driver: opened.append(driver))  # opened, or waited for
    assert go_on(group, begin(database, group, [0, 1])) == 0
    with pytest.raises(WouldWait):
        measure(database, 2, Moment())
    assert opened == []
