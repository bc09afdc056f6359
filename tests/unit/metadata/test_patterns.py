"""A grant is on the same names in Python, where requests are judged, and in SQL, where lists are made."""

import random

import pytest
from sqlalchemy import insert, select

from lockgate.metadata.database import Database
from lockgate.metadata.experiment_search import search_experiments
from lockgate.metadata.experiments import create_experiment
from lockgate.metadata.models import create_model, list_models
from lockgate.metadata.patterns import fits, fits_any
from lockgate.metadata.registry_search import search_models, search_versions
from lockgate.metadata.tables import registered_models
from lockgate.metadata.versions import create_version

NAMES = ("a", "A", "ab", "a_b", "axb", "a%b", "team/x", "Team/x", "teams", "é", "éa", "e\u0301a", "😀b", "it's", "a*")
# None of the names; many patterns are looked for in another way than few.
OTHERS = tuple(f"other{number}{end}" for number in range(1_100) for end in ("", "*"))
SIGNS = ("a", "A", "b", "_", "%", "[", "*", "'", '"', "\\", "é", "\ud7ff", "\ue000", "\uffff", "😀", "\U0010ffff")


@pytest.mark.parametrize("others", [(), OTHERS], ids=["few", "many"])
@pytest.mark.parametrize(
    "patterns",
    [
        (),
        ("a",),
        ("a*",),
        ("A*",),
        ("a_*",),
        ("a%*",),
        ("team/*", "a"),
        ("é*",),
        ("😀*",),
        ("it's*",),
        ("*",),
        ("nobody",),
    ],
)
def test_patterns_fit_the_same_names_in_sql(
    database: Database, patterns: tuple[str, ...], others: tuple[str, ...]
) -> None:
    with database.write(at=1, by="ann") as tx:
        for name in NAMES:
            create_model(tx, name)
    with database.read() as connection:
        found = _fitting(connection, (*patterns, *others))
    assert found == {name for name in NAMES if any(fits(pattern, name) for pattern in patterns)}


@pytest.mark.parametrize("seed", range(4))
def test_any_names_and_patterns_fit_alike(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    names = sorted({"".join(rng.choices(SIGNS, k=rng.randint(1, 4))) for _ in range(600)})
    row = {"description": "", "created_at": 1, "updated_at": 1, "created_by": "ann", "last_version": 0}
    with database.write(at=1, by="ann") as tx:
        tx.connection.execute(insert(registered_models), [{**row, "name": name} for name in names])
    with database.read() as connection:
        for count in (1, 3, 6, 12, 60):
            patterns = [
                "".join(rng.choices(SIGNS, k=rng.randint(1, 3))) + rng.choice(("", "*", "*")) for _ in range(count)
            ]
            wanted = {name for name in names if any(fits(pattern, name) for pattern in patterns)}
            assert _fitting(connection, patterns) == wanted, patterns


def test_patterns_with_a_nul_fit_nothing_in_sqlite(database: Database) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL keeps no NUL, so there is no such grant")
    with database.write(at=1, by="ann") as tx:
        create_model(tx, "a")
    with database.read() as connection:
        assert _fitting(connection, ("\0*", "a\0", "a\0*", *OTHERS)) == set()


def test_searches_page_over_what_many_patterns_fit(database: Database) -> None:
    seen = ("team/*", "b", "big*", "bigger*", *OTHERS)
    shown, hidden = ["b", "bigger", "team/x", "team/y"], ["Team/x", "bi", "team"]
    with database.write(at=1, by="ann") as tx:
        for name in [*hidden, *shown]:
            create_experiment(tx, name)
            create_model(tx, name)
            create_version(tx, name, source="s3://x", run_id="")
    with database.read() as connection:
        for search, more in ((search_models, {}), (search_versions, {}), (search_experiments, {"view": "ALL"})):
            found, token = [], ""
            while not found or token:
                page = search(
                    connection, filter_="", order_by=["name"], max_results=3, page_token=token, seen=seen, **more
                )
                found.append([row["name"] for row in page.rows])
                token = page.next_token
            assert found == [shown[:3], shown[3:]]
        assert [row["name"] for row in list_models(connection, prefix="b", seen=seen)] == ["b", "bigger"]


def _fitting(connection, patterns) -> set[str]:
    column = registered_models.c.name
    return set(connection.scalars(select(column).where(fits_any(connection, patterns, column))))
