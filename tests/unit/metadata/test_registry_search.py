"""Searches of a registry with many versions; what they find is compared with MLflow's answers in tests/compat."""

import pytest
from sqlalchemy import event, insert

from lockgate.errors import InvalidInput
from lockgate.metadata.aliases import set_alias
from lockgate.metadata.database import Database
from lockgate.metadata.models import PROMPT_TAG, create_model
from lockgate.metadata.registry_search import search_models, search_versions
from lockgate.metadata.tables import model_version_tags, model_versions
from lockgate.metadata.versions import aliases_of_versions, tags_of_versions

MANY = 10_001  # one more than MLflow's client asks for
VERSION = {
    "name": "m",
    "created_at": 1,
    "updated_at": 1,
    "created_by": "ann",
    "description": "",
    "source": "s3://b/x",
    "run_id": "",
    "run_link": "",
    "model_id": "",
    "stage": "None",
    "location": None,
}


@pytest.fixture
def many(database: Database) -> Database:
    numbers = range(1, MANY + 1)
    with database.write(at=1, by="ann") as tx:
        create_model(tx, "m")
        tx.connection.execute(insert(model_versions), [{**VERSION, "version": number} for number in numbers])
        tags = [{"name": "m", "version": number, "key": "k", "value": str(number)} for number in numbers]
        tx.connection.execute(insert(model_version_tags), tags)
        set_alias(tx, "m", "live", 7)
    return database


def test_pages_of_many_versions_come_with_their_tags_and_aliases(many: Database) -> None:
    with many.read() as connection:
        first = search_versions(connection, filter_="", order_by=[], max_results=MANY - 1, page_token="")
        keys = [(row["name"], row["version"]) for row in first.rows]
        assert keys == [("m", number) for number in range(MANY, 1, -1)]
        assert tags_of_versions(connection, keys) == {("m", number): [("k", str(number))] for _, number in keys}
        assert aliases_of_versions(connection, keys) == {("m", 7): ["live"]}
        rest = search_versions(connection, filter_="", order_by=[], max_results=MANY - 1, page_token=first.next_token)
    assert ([row["version"] for row in rest.rows], rest.next_token) == ([1], "")


def test_versions_are_told_apart_by_name_and_number(database: Database) -> None:
    names = ("a", "b", 'it\'s "é"')
    with database.write(at=1, by="ann") as tx:
        for name in names:
            create_model(tx, name)
            tx.connection.execute(insert(model_versions), [{**VERSION, "name": name, "version": n} for n in (1, 2)])
            tags = [{"name": name, "version": n, "key": "k", "value": f"{name}{n}"} for n in (1, 2)]
            tx.connection.execute(insert(model_version_tags), tags)
    with database.read() as connection:
        found = tags_of_versions(connection, [("a", 1), ("b", 2), (names[2], 2), ("c", 1)])
        assert tags_of_versions(connection, []) == aliases_of_versions(connection, []) == {}
    assert found == {("a", 1): [("k", "a1")], ("b", 2): [("k", "b2")], (names[2], 2): [("k", f"{names[2]}2")]}


@pytest.mark.parametrize("order_by", [[], ["name"], ["version_number DESC"]])
def test_no_search_reads_all_tags(many: Database, order_by: list[str]) -> None:
    if many.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by its statistics, and reads small tables whole")
    said: list[tuple[str, object]] = []
    event.listen(many.engine, "before_cursor_execute", lambda *a: said.append((a[2], a[3])))
    with many.read() as connection:
        search_models(connection, filter_="", order_by=[], max_results=10, page_token="")
        page = search_versions(connection, filter_="tags.k != 'x'", order_by=order_by, max_results=10, page_token="")
        tags_of_versions(connection, [(row["name"], row["version"]) for row in page.rows])
        driver = connection.connection.driver_connection
        assert driver is not None
        plans = [row[3] for text, values in list(said) for row in driver.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    of_tags = [step for step in plans if "_tags" in step]
    assert [step for step in of_tags if not step.startswith("SEARCH")] == []
    assert [step for step in of_tags if "ix_model_version_tags_of_prompt (name=?)" in step] != []


def test_prompts_are_left_out_page_by_page(database: Database) -> None:
    with database.write(at=1, by="ann") as tx:
        for number in range(6):
            create_model(tx, f"m{number}", tags={PROMPT_TAG: "true"} if number % 2 else {})
    found, token = [], ""
    with database.read() as connection:
        while not found or token:
            page = search_models(connection, filter_="", order_by=["name DESC"], max_results=2, page_token=token)
            found.append([row["name"] for row in page.rows])
            token = page.next_token
    assert found == [["m4", "m2"], ["m0"]]


@pytest.mark.parametrize("size", [-1, 0, 1_001, 200_001])
def test_page_size_has_bounds(database: Database, size: int) -> None:
    with database.read() as connection:
        with pytest.raises(InvalidInput, match="max_results"):
            search_models(connection, filter_="", order_by=[], max_results=size, page_token="")
        if size == 1_001:
            assert search_versions(connection, filter_="", order_by=[], max_results=size, page_token="").rows == []
            return
        with pytest.raises(InvalidInput, match="max_results"):
            search_versions(connection, filter_="", order_by=[], max_results=size, page_token="")
