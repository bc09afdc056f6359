import base64

import msgspec
import pytest
from sqlalchemy import select

from lockgate.errors import InvalidInput
from lockgate.metadata.database import Database
from lockgate.metadata.experiment_search import search_experiments
from lockgate.metadata.experiments import create_experiment, rename_experiment
from lockgate.metadata.pages import Sort, Stretch, fetch_page
from lockgate.metadata.tables import experiments


@pytest.fixture
def named(database: Database) -> Database:
    with database.write(at=1, by="ann") as tx:
        for name in ("b", "a", "d", "c"):
            create_experiment(tx, name)
    return database


def page(database: Database, *, size: int = 2, token: str = "", filter_: str = "", order: tuple[str, ...] = ("name",)):
    with database.read() as connection:
        found = search_experiments(
            connection, filter_=filter_, order_by=order, view="ALL", max_results=size, page_token=token
        )
    return [row["name"] for row in found.rows], found.next_token


def test_pages_follow_each_other_and_end(named: Database) -> None:
    first, token = page(named)
    second, token = page(named, token=token)
    third, end = page(named, token=token)
    assert (first, second, third, end) == (["Default", "a"], ["b", "c"], ["d"], "")


def test_page_that_is_exactly_full_is_the_last(named: Database) -> None:
    assert page(named, size=5) == (["Default", "a", "b", "c", "d"], "")


def test_next_page_starts_after_the_last_row_whatever_became_of_it(named: Database) -> None:
    _, token = page(named)
    with named.write(at=2, by="ann") as tx:
        create_experiment(tx, "A before")
        rename_experiment(tx, 2, "z")  # was a, the last of the first page
    assert page(named, token=token, size=10)[0] == ["b", "c", "d", "z"]


def test_token_of_another_question_is_refused(named: Database) -> None:
    _, token = page(named)
    for other in ({"filter_": "name != 'x'"}, {"order": ("name DESC",)}, {"order": ()}):
        with pytest.raises(InvalidInput, match="another search"):
            page(named, token=token, **other)


def forged(token: str, **changes: object) -> str:
    version, question, key = msgspec.msgpack.decode(base64.urlsafe_b64decode(token))
    parts = {"version": version, "question": question, "key": key, **changes}
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(list(parts.values()))).decode()


@pytest.mark.parametrize("token", ["x", "é", "b2", "eyJvZmZzZXQiOiAxfQ==", "!" * 10, "A" * 300_000])
def test_foreign_token_is_refused(named: Database, token: str) -> None:
    with pytest.raises(InvalidInput, match="page token"):
        page(named, token=token)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"key": []},
        {"key": ["a"]},
        {"key": [1, 1]},
        {"key": ["a", "b"]},
        {"key": ["a", 2**63]},
        {"key": ["a\0", 1]},
        {"key": ["a", None]},
        {"key": ["a", [1]]},
    ],
)
def test_forged_token_is_refused(named: Database, changes: dict[str, object]) -> None:
    _, token = page(named)
    assert page(named, token=forged(token))[0] == ["b", "c"]
    with pytest.raises(InvalidInput, match="page token"):
        page(named, token=forged(token, **changes))


def test_token_of_an_earlier_version_is_named_as_such(named: Database) -> None:
    with pytest.raises(InvalidInput, match="earlier version") as refused:
        page(named, token=base64.urlsafe_b64encode(b"o100").decode())
    assert refused.value.hint == "start from the first page again"


@pytest.mark.parametrize("size", [0, -1, 50_001])
def test_senseless_page_size_is_refused(named: Database, size: int) -> None:
    with pytest.raises(InvalidInput, match=f"Invalid value {size} for parameter 'max_results'"):
        page(named, size=size)


def test_stretches_are_one_order(named: Database) -> None:
    number = experiments.c.experiment_id
    stretches = [
        Stretch(select(number).where(number > 2), (Sort(number, False, int),), (0,)),
        Stretch(select(number).where(number <= 2), (Sort(number, True, int),), (1,)),
    ]
    found, token = [], ""
    for _ in range(5):
        with named.read() as connection:
            part = fetch_page(connection, stretches, max_results=2, token=token, question=("x",))
        found += [row["experiment_id"] for row in part.rows]
        token = part.next_token
        if not token:
            break
    assert found == [4, 3, 0, 1, 2]
    with named.read() as connection, pytest.raises(InvalidInput):
        fetch_page(connection, stretches, max_results=2, token=forged_rank(stretches, named), question=("x",))


def forged_rank(stretches: list[Stretch], database: Database) -> str:
    with database.read() as connection:
        token = fetch_page(connection, stretches, max_results=1, token="", question=("x",)).next_token
    return forged(token, key=["0", 4])
