"""A grant is on the same names in Python, where requests are judged, and in SQL, where lists are made."""

import pytest
from sqlalchemy import select

from lockgate.metadata.database import Database
from lockgate.metadata.models import create_model
from lockgate.metadata.patterns import fits, fits_any
from lockgate.metadata.tables import registered_models

NAMES = ("a", "A", "ab", "a_b", "axb", "a%b", "team/x", "Team/x", "teams", "é", "éa", "e\u0301a", "😀b", "it's", "a*")


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
def test_patterns_fit_the_same_names_in_sql(database: Database, patterns: tuple[str, ...]) -> None:
    with database.write(at=1, by="ann") as tx:
        for name in NAMES:
            create_model(tx, name)
    with database.read() as connection:
        query = select(registered_models.c.name).where(fits_any(patterns, registered_models.c.name))
        found = set(connection.scalars(query))
    assert found == {name for name in NAMES if any(fits(pattern, name) for pattern in patterns)}
