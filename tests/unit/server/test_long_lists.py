"""Lists that are longer than one answer go on where it ends, and pages show a part of them."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, insert

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.entities import Content, MonitorWindow, Release, Traffic, TrafficShare
from lockgate.errors import NotFound
from lockgate.metadata.aliases import set_alias
from lockgate.metadata.database import Tx
from lockgate.metadata.models import create_model
from lockgate.metadata.releases import create_release
from lockgate.metadata.tables import alias_changes, model_versions, monitor_windows, releases
from lockgate.metadata.traffic import set_traffic
from lockgate.metadata.versions import create_version
from lockgate.server.context import Context
from lockgate.server.local import LocalTransport
from lockgate.wire.registry import ALIAS_HISTORY, ListAliasChanges

MANY = 2001  # the client asks for 1,000 at a time


@pytest.fixture
def client(context: Context) -> Client:
    return Client(LocalTransport(context), FakeClock())


def release(version: int = 0, model: str = "churn") -> Release:
    return Release(
        model=model,
        version=version,
        content=Content(kind="tree", digest="a" * 64, size_bytes=1),
        run_id="",
        created_at=1,
        created_by="ada",
        flavor="sklearn",
    )


def add_model(tx: Tx, name: str, *, versions: int = 1) -> None:
    create_model(tx, name)
    for _ in range(versions):
        create_version(tx, name, source="s3://models/a")


def add_moves(tx: Tx, name: str, count: int, *, to_version: int = 1) -> None:
    """Moves of its alias `best`, one after the other."""
    move = {"name": name, "alias": "best", "to_version": to_version, "changed_by": "ada", "reason": ""}
    tx.connection.execute(insert(alias_changes), [{**move, "changed_at": at} for at in range(1, count + 1)])


def test_alias_history_is_whole_however_long_it_is(client: Client, context: Context) -> None:
    with context.write() as tx:
        for name in ("churn", "fraud"):
            add_model(tx, name)
            add_moves(tx, name, MANY)
    assert [change.changed_at for change in client.registry.alias_history("churn")] == [*range(MANY, 0, -1)]
    assert {change.model for change in client.registry.alias_history("churn")} == {"churn"}


def test_alias_history_ends_where_there_is_no_older_move(client: Client, context: Context) -> None:
    with context.write() as tx:
        add_model(tx, "churn")
        add_moves(tx, "churn", 4)
    first = client.transport.call(ALIAS_HISTORY, ListAliasChanges(model="churn", limit=2))
    request = ListAliasChanges(model="churn", before=first.next_before, limit=2)
    last = client.transport.call(ALIAS_HISTORY, request)
    assert [change.changed_at for change in first.changes + last.changes] == [4, 3, 2, 1]
    assert last.next_before is None


def test_versions_and_releases_go_on_below_a_number(client: Client, context: Context) -> None:
    with context.write() as tx:
        create_model(tx, "churn")
        for _ in range(4):
            create_release(tx, release(), source="s3://models/a")
    for listed in (client.registry.list_versions, client.registry.list_releases):
        assert [item.version for item in listed("churn", 2, before=4)] == [3, 2]
        assert listed("churn", before=1) == []


def test_all_releases_are_iterated_over(client: Client, context: Context) -> None:
    numbers = range(1, MANY + 1)
    version = {"name": "churn", "created_at": 1, "updated_at": 1, "created_by": "ada", "description": ""}
    version |= {"source": "s", "run_id": "", "run_link": "", "model_id": "", "stage": "None"}
    with context.write() as tx:
        create_model(tx, "churn")
        tx.connection.execute(insert(model_versions), [{**version, "version": number} for number in numbers])
        rows = [
            {
                "name": "churn",
                "version": n,
                "content_digest": "a" * 64,
                "record": msgspec.json.encode(release(n)).decode(),
            }
            for n in numbers
        ]
        tx.connection.execute(insert(releases), rows)
    assert [found.version for found in client.registry.iter_releases("churn")] == [*range(MANY, 0, -1)]
    assert [*client.registry.iter_releases("nobody")] == []


def test_all_windows_are_iterated_over(
    client: Client, context: Context, make_window: Callable[..., MonitorWindow]
) -> None:
    def row(number: int) -> dict[str, Any]:
        """Three of one end each, of two environments."""
        environment, end_at = ("staging", "production")[number % 2], 10 + number // 3
        window = make_window(f"w{number}", environment=environment)
        record = msgspec.json.encode(msgspec.structs.replace(window, end_at=end_at)).decode()
        key = {"window_id": f"w{number}", "model": "churn", "environment": environment}
        return {**key, "start_at": 1, "end_at": end_at, "record": record}

    with context.write() as tx:
        tx.connection.execute(insert(monitor_windows), [row(number) for number in range(MANY)])
    found = [window.window_id for window in client.monitoring.iter_windows("churn")]
    assert len(found) == len(set(found)) == MANY
    with pytest.raises(NotFound):
        client.monitoring.list_windows("churn", before="nothing")


def test_page_of_a_version_shows_the_newest_moves_from_and_to_it(asked: Any) -> None:
    with asked.context.write() as tx:
        add_model(tx, "churn", versions=3)
        add_moves(tx, "churn", 101)
        set_alias(tx, "churn", "shadow", 3)
        set_alias(tx, "churn", "shadow", 2)
    pages = {version: asked.ask("GET", f"/releases/churn/{version}")[1].decode() for version in (1, 2, 3)}
    assert [page.count(">shadow<") for page in pages.values()] == [0, 1, 2]
    assert [page.count(">best<") for page in pages.values()] == [100, 0, 0]
    assert ["lockgate models alias churn --history" in page for page in pages.values()] == [True, False, False]


def models_of(page: bytes) -> list[str]:
    return re.findall(r"<h2>(m\d+)</h2>", page.decode())


def test_overview_leads_through_many_models_by_name(asked: Any) -> None:
    names = [f"m{number:03}" for number in range(250)]
    with asked.context.write() as tx:
        for name in names:
            add_model(tx, name)
    _, first, _ = asked.ask("GET", "/")
    assert models_of(first) == names[:100]
    _, second, _ = asked.ask("GET", "/?prefix=&after=m099")
    assert b'<a href="?prefix=&amp;after=m099">' in first
    assert models_of(second) == names[100:200]
    _, last, _ = asked.ask("GET", "/?prefix=&after=m199")
    assert models_of(last) == names[200:]
    assert b"Next models" not in last and b"First models" in last
    _, some, _ = asked.ask("GET", "/?prefix=m12")
    assert models_of(some) == names[120:130]
    assert b"Next models" not in some and b'value="m12"' in some
    assert b"No model of that name" in asked.ask("GET", "/?prefix=x")[1]
    assert asked.ask("GET", "/?prefix=%00")[0] == 400


def test_overview_shows_the_newest_versions_of_each_model_with_their_verdicts(asked: Any) -> None:
    with asked.context.write() as tx:
        add_model(tx, "bare", versions=0)
        add_model(tx, "churn", versions=13)
        create_release(tx, release(), source="s3://models/b")
        create_release(tx, release(model="fraud"), source="s3://models/c")
    page = asked.ask("GET", "/")[1].decode()
    assert re.findall(r'href="/releases/(\w+/\d+)"', page) == [*(f"churn/{n}" for n in range(14, 2, -1)), "fraud/1"]
    assert (page.count("not judged"), page.count("no release record"), page.count("no version yet")) == (2, 11, 1)


def test_overview_shows_the_environments_that_changed_last_where_there_are_very_many(asked: Any) -> None:
    with asked.context.write() as tx:
        for number in range(102):
            name = f"m{number:03}"
            add_model(tx, name)
            shares = (TrafficShare(version=1, digest="a" * 64, share=1.0),)
            split = Traffic(model=name, environment="live", revision=1, shares=shares, changed_at=500 - number)
            set_traffic(tx, split)
    page = asked.ask("GET", "/")[1].decode()
    assert re.findall(r"<h3>(m\d+)", page) == [f"m{number:03}" for number in range(100)]
    assert "2 more have been as they are for longer" in page


def test_overview_asks_as_often_for_many_models_as_for_few(asked: Any) -> None:
    said: list[str] = []
    event.listen(asked.context.database.engine, "before_cursor_execute", lambda *given: said.append(given[2]))

    def count(numbers: range) -> int:
        with asked.context.write() as tx:
            for number in numbers:
                add_model(tx, f"m{number:03}")
        asked.ask("GET", "/")  # what is looked at once
        said.clear()
        assert asked.ask("GET", "/")[0] == 200
        return len(said)

    assert 0 < count(range(2)) == count(range(2, 30))
