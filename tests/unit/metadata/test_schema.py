import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lockgate.errors import Conflict, DataDamaged, InvalidInput
from lockgate.metadata import schema
from lockgate.metadata.database import open_engine
from lockgate.metadata.migrate import newest_revision, run_migrations
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import HEAD, KNOWN, open_database


def described(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name != 'sqlite_sequence'")
        return sorted((a, b, c, *clauses(d or "")) for a, b, c, d in rows)


def clauses(sql: str) -> list[str]:
    """The parts of a CREATE statement in an order of their own: constraints may be named in any."""
    text = re.sub(r"\s+", " ", sql)
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 1:
            parts.append("")
        else:
            parts[-1] += character
    head, _, first = parts[0].partition("(")
    last, _, tail = parts[-1].rpartition(")") if len(parts) > 1 else (first.rpartition(")")[0], "", "")
    inner = [first, *parts[1:-1], last] if len(parts) > 1 else [last]
    return [head.strip(), tail.strip(), *sorted(part.strip() for part in inner)]


def rows_at_start(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
    return {name: rows for name, rows in found.items() if rows}


CATALOG = (
    "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default "
    "FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace",
    "SELECT * FROM alembic_version",
    "SELECT * FROM experiments",
    "SELECT sequencename, last_value FROM pg_sequences",
)


def described_by_postgresql(url: str) -> list[list[str]]:
    database = open_database(parse_address(url))
    with database.read() as connection:
        found = [sorted(map(repr, connection.exec_driver_sql(query))) for query in CATALOG]
    database.close()
    return found


def test_new_database_equals_what_the_revisions_build_on_postgresql(postgres: Any) -> None:
    new, migrated = (postgres.create_database() for _ in range(2))
    open_database(parse_address(new)).close()
    engine = open_engine(parse_address(migrated))
    run_migrations(engine)
    engine.dispose()
    for ours, theirs in zip(described_by_postgresql(new), described_by_postgresql(migrated), strict=True):
        assert ours == theirs


def test_new_database_equals_what_the_revisions_build(tmp_path: Path) -> None:
    open_database(tmp_path / "new.db").close()
    engine = open_engine(tmp_path / "migrated.db")
    run_migrations(engine)
    engine.dispose()
    assert described(tmp_path / "new.db") == described(tmp_path / "migrated.db")
    assert rows_at_start(tmp_path / "new.db") == rows_at_start(tmp_path / "migrated.db")


def test_head_is_the_newest_packaged_revision() -> None:
    assert newest_revision() == HEAD == KNOWN[-1]


def test_database_is_opened_again(tmp_path: Path) -> None:
    open_database(tmp_path / "a.db").close()
    open_database(tmp_path / "a.db").close()


def set_revision(path: Path, revision: str) -> None:
    open_database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()


def test_newer_database_is_refused_with_both_revisions(tmp_path: Path) -> None:
    set_revision(tmp_path / "a.db", "9999")
    with pytest.raises(Conflict, match=rf"9999.*{HEAD}"):
        open_database(tmp_path / "a.db")


def test_older_database_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_revision(tmp_path / "a.db", "0000")
    monkeypatch.setattr(schema, "KNOWN", ("0000", HEAD))
    with pytest.raises(Conflict, match=rf"0000, this Lockgate needs {HEAD}") as refused:
        open_database(tmp_path / "a.db")
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("lockgate migrate")


@pytest.mark.parametrize(
    "sql", ["CREATE TABLE theirs (x)", f"CREATE TABLE alembic_version AS SELECT '{HEAD}' AS version_num"]
)
def test_database_of_another_program_is_refused(tmp_path: Path, sql: str) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute(sql)
    with pytest.raises(DataDamaged, match="not a database of Lockgate"):
        open_database(tmp_path / "a.db")


START = """
import pathlib, sys
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import open_database
where = sys.argv[1]
open_database(parse_address(where) if "://" in where else pathlib.Path(where)).close()
"""


def start_together(where: str) -> None:
    command = [sys.executable, "-c", START, where]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    ended = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, ended


def test_processes_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    start_together(str(tmp_path / "a.db"))
    assert rows_at_start(tmp_path / "a.db")["alembic_version"] == [(HEAD,)]


def test_processes_that_start_at_once_make_one_database_on_postgresql(new_postgres_url: str) -> None:
    start_together(new_postgres_url)
    assert described_by_postgresql(new_postgres_url)[3] == [f"('{HEAD}',)"]


def test_database_of_another_program_is_refused_on_postgresql(postgres: Any) -> None:
    alembics = [f"CREATE TABLE alembic_version AS SELECT '{revision}' AS version_num" for revision in ("f0cee1d", HEAD)]
    for sql in ("CREATE TABLE theirs (x int)", *alembics):
        url = postgres.create_database()
        postgres.execute(sql, database=parse_address(url).database)
        with pytest.raises(DataDamaged, match="not a database of Lockgate"):
            open_database(parse_address(url))


def test_database_that_cannot_hold_every_text_is_refused(postgres: Any) -> None:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(InvalidInput, match="texts as LATIN1"):
        open_database(parse_address(postgres.url("latin")))


def test_older_database_on_postgresql_is_refused_and_told_to_be_backed_up(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "HEAD", "8888")
    with pytest.raises(Conflict, match=rf"at revision {HEAD}, this Lockgate needs 8888") as refused:
        open_database(parse_address(postgres_url))
    assert refused.value.hint == "lockgate migrate (take a backup first: pg_dump)"


def test_opening_a_database_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from lockgate.metadata.schema import open_database; import lockgate.server.app;"
        "open_database(pathlib.Path(sys.argv[1])).close();"
        "print([m for m in ('numpy','polars','pandas','dbos','sklearn','alembic','scipy','rich') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.db")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
