"""Users, tokens and the audit on both databases."""

import random
import threading

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, select, update

from lockgate.entities import Grant
from lockgate.errors import Conflict, InvalidInput, Unavailable
from lockgate.metadata import access, tokens, users
from lockgate.metadata.audit import append_audit, list_audit
from lockgate.metadata.database import Database, repeat_when_raced
from lockgate.metadata.schema import HEAD, VERSION
from lockgate.metadata.tables import audit, grants

ADMIN = Grant(pattern="*", role="admin")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def test_directory_is_what_the_tables_say(database: Database, write) -> None:
    with write() as tx:
        users.add_user(tx, "zoë", password="hash", granted=[ADMIN, Grant(pattern="team/*", role="viewer")])
        users.add_user(tx, "ci", password="", granted=[])
        tokens.create_token(tx, "t" * 12, "ci", digest="d" * 64, note="n", expires_at=9)
    with database.read() as connection:
        found = access.read_directory(connection)
    assert found.users == {
        "zoë": access.KnownUser("zoë", "hash", (ADMIN, Grant(pattern="team/*", role="viewer"))),
        "ci": access.KnownUser("ci", "", ()),
    }
    assert found.tokens == {"t" * 12: access.KnownToken("ci", "d" * 64, 9)}


def test_revision_counts_every_change_and_nothing_else(database: Database, write) -> None:
    def revision() -> int:
        with database.read() as connection:
            return access.read_revision(connection)

    assert revision() == 0
    changes = [
        lambda tx: users.add_user(tx, "ada", password="", granted=[ADMIN]),
        lambda tx: users.set_password(tx, "ada", "hash"),
        lambda tx: users.grant(tx, "ada", Grant(pattern="churn", role="viewer")),
        lambda tx: users.revoke(tx, "ada", "churn"),
        lambda tx: tokens.create_token(tx, "t" * 12, "ada", digest="d", note="", expires_at=None),
        lambda tx: tokens.revoke_token(tx, "t" * 12),
        lambda tx: users.remove_user(tx, "ada"),
    ]
    seen = [revision()]
    for change in changes:
        with write() as tx:
            change(tx)
        seen.append(revision())
    assert seen == list(range(len(changes) + 1))
    with pytest.raises(Conflict), write() as tx:
        users.add_user(tx, "bob", password="", granted=[])
    assert revision() == len(changes)


def test_user_has_roles_on_so_many_patterns_and_no_more(database: Database, write) -> None:
    with write() as tx:
        users.add_user(tx, "ada", password="", granted=[ADMIN])
        bob = users.add_user(tx, "bob", password="", granted=[])
        rows = [{"user_id": bob.number, "pattern": f"p{n}", "role": "viewer"} for n in range(users.MOST_GRANTS - 1)]
        tx.connection.execute(insert(grants), rows)
        users.grant(tx, "bob", Grant(pattern="last", role="viewer"))
    with pytest.raises(InvalidInput, match="'bob' would have roles on 10,001 patterns"), write() as tx:
        users.grant(tx, "bob", Grant(pattern="more", role="viewer"))
    with write() as tx:
        bob = users.grant(tx, "bob", Grant(pattern="last", role="admin"))
    assert (len(bob.grants), {grant.pattern: grant.role for grant in bob.grants}["last"]) == (10_000, "admin")


def test_pattern_with_a_nul_is_refused(write) -> None:
    with write() as tx, pytest.raises(InvalidInput, match="is no pattern of names"):
        users.add_user(tx, "ada", password="", granted=[ADMIN, Grant(pattern="a\0*", role="viewer")])


def test_database_that_was_migrated_meanwhile_is_refused(write) -> None:
    with write() as tx:
        tx.connection.execute(update(VERSION).values(version_num="9999"))
        with pytest.raises(Unavailable, match="migrated; restart this server") as refused:
            access.read_revision(tx.connection)
        tx.connection.execute(update(VERSION).values(version_num=HEAD))
    assert "knows its revision 9999" in (refused.value.hint or "")


def test_two_admins_cannot_remove_each_other(database: Database, write) -> None:
    """Whichever is first wins; the other finds that it would be the last."""
    with write() as tx:
        for name in ("ada", "bob"):
            users.add_user(tx, name, password="", granted=[ADMIN])
        users.add_user(tx, "eve", password="", granted=[])
    ready = threading.Barrier(2)
    refused: list[str] = []

    def remove(name: str) -> None:
        ready.wait()

        def work() -> None:
            with database.write(at=2, by="ann") as tx:
                users.remove_user(tx, name)

        try:
            repeat_when_raced(work)
        except Conflict:
            refused.append(name)

    threads = [threading.Thread(target=remove, args=(name,)) for name in ("ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    with database.read() as connection:
        assert [user.name for user in users.list_users(connection)] == sorted([refused[0], "eve"])


def test_audit_is_kept_for_its_days_and_no_longer(database: Database, write) -> None:
    def append(at: int, keep_days: int) -> None:
        with write(at=at) as tx:
            append_audit(tx, "op", address="::1", subject=str(at), outcome="OK", details={"a": 1}, keep_days=keep_days)

    def kept() -> list[str]:
        with database.read() as connection:
            return [entry.subject for entry in list_audit(connection, limit=10)]

    append(DAY_MS, 0)
    append(3 * DAY_MS, 0)
    assert kept() == [str(3 * DAY_MS), str(DAY_MS)]
    append(3 * DAY_MS + HOUR_MS, 0)
    append(4 * DAY_MS + HOUR_MS, 2)
    assert str(DAY_MS) in kept()  # an hour more than two days older than what is a day old
    append(3 * DAY_MS + HOUR_MS + 1, 0)
    append(4 * DAY_MS + HOUR_MS + 1, 2)
    assert str(DAY_MS) not in kept()


def test_audit_survives_a_clock_that_runs_ahead_for_hours(database: Database, write) -> None:
    def append(at: int) -> None:
        with write(at=at) as tx:
            append_audit(tx, "op", address="", subject="", outcome="OK", details={}, keep_days=30)

    wrong = [400 * DAY_MS + hours * DAY_MS // 24 for hours in range(23)]
    right = [DAY_MS, 2 * DAY_MS, *wrong, 3 * DAY_MS, 33 * DAY_MS]
    for at in right:
        append(at)
    with database.read() as connection:
        assert len(list_audit(connection, limit=100)) == len(right)


def test_audit_survives_a_clock_that_runs_ahead_for_hours_twice(database: Database, write) -> None:
    right = [day * DAY_MS for day in range(100)]
    wrong = 600 * DAY_MS
    times = [*right, wrong, wrong + 2 * HOUR_MS, 100 * DAY_MS, wrong + 3 * DAY_MS, wrong + 3 * DAY_MS + 1, 104 * DAY_MS]
    for at in times:
        with write(at=at) as tx:
            append_audit(tx, "op", address="", subject="", outcome="OK", details={}, keep_days=365)
    with database.read() as connection:
        assert len(list_audit(connection, limit=200)) == len(times)


@pytest.mark.parametrize("seed", range(5))
def test_no_line_is_forgotten_before_its_days_are_over_whatever_a_clock_does_for_hours(write, seed: int) -> None:
    """Two servers: one clock is right or late, the other is ahead again and again, for less than a day each time."""
    rng = random.Random(seed)
    now, ahead, until, keep_days = 2000 * DAY_MS, 0, 0, 20
    told: set[int] = set()
    with write() as tx:

        def append(at: int) -> set[int]:
            told.add(at)
            append_audit(replace(tx, at=at), "op", address="", subject="", outcome="", details={}, keep_days=keep_days)
            return set(tx.connection.scalars(select(audit.c.at)))

        for _ in range(600):
            now += rng.choice((0, 7, 5 * 60, 30 * 60)) * 60_000 + rng.randrange(1, 60_000)
            if ahead and now >= until:
                ahead = 0  # and the next line is of a clock that is not
            elif not ahead and rng.random() < 0.2:
                ahead, until = rng.choice((3 * HOUR_MS, 30 * DAY_MS, 500 * DAY_MS)), now + rng.randrange(DAY_MS)
            late = rng.choice((0, 0, 0, HOUR_MS, 40 * DAY_MS))
            kept = append(now + ahead if ahead and rng.random() < 0.8 else now - late)
            assert {at for at in told if at >= now - keep_days * DAY_MS} <= kept
        for _ in range(48):
            now += HOUR_MS
            kept = append(now)
        assert min(kept) >= now - (keep_days + 1) * DAY_MS - 2 * HOUR_MS


def test_audit_is_read_by_subject_user_and_time(database: Database, write) -> None:
    for at, subject in ((1, "churn"), (2, "fraud"), (3, "churn")):
        with write(at=at) as tx:
            append_audit(tx, "op", address="", subject=subject, outcome="OK", details={}, keep_days=0)
    with database.read() as connection:
        assert [entry.at for entry in list_audit(connection, subject="churn", limit=10)] == [3, 1]
        assert [entry.at for entry in list_audit(connection, since=2, limit=10)] == [3, 2]
        assert [entry.at for entry in list_audit(connection, by="ann", limit=1)] == [3]
        assert list_audit(connection, by="bob", limit=10) == ()
        newest, middle, oldest = list_audit(connection, limit=10)
        assert list_audit(connection, before=newest.sequence, limit=1) == (middle,)
        assert list_audit(connection, before=newest.sequence, subject="churn", limit=10) == (oldest,)
        assert list_audit(connection, before=oldest.sequence, limit=10) == ()
