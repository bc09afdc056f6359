import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from lockgate.errors import DataDamaged, Unavailable
from lockgate.metadata import database as module
from lockgate.metadata.database import Database, open_engine, storage_errors
from lockgate.metadata.models import ensure_model, list_models
from lockgate.metadata.schema import open_database


def pragma(database: Database, name: str) -> object:
    with database.read() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_connections_are_set_up_for_crashes_and_references(database: Database) -> None:
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "foreign_keys") == 1


def test_decision_is_synchronised_and_measurement_is_not(database: Database) -> None:
    with database.write(at=1, by="a") as tx:
        assert tx.connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
    with database.write(at=1, by="a", decision=False) as tx:
        assert tx.connection.execute(text("PRAGMA synchronous")).scalar() == 1  # NORMAL


def test_write_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
        raise RuntimeError
    with database.read() as connection:
        assert list_models(connection) == []


def test_reader_keeps_its_snapshot_while_others_write(database: Database) -> None:
    with database.read() as connection:
        assert list_models(connection) == []
        with database.write(at=1, by="a") as tx:
            ensure_model(tx, "m")
        assert list_models(connection) == []
    with database.read() as connection:
        assert len(list_models(connection)) == 1


def test_writers_of_one_process_take_turns(database: Database) -> None:
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for i in range(20):
                with database.write(at=1, by="a", decision=False) as tx:
                    ensure_model(tx, f"m{number}-{i}")
        except Exception as error:  # noqa: BLE001  # shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.read() as connection:
        assert len(list_models(connection)) == 80


def test_database_locked_by_another_program_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    database = open_database(tmp_path / "lockgate.db")
    other = sqlite3.connect(tmp_path / "lockgate.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process") as refused, database.write(at=1, by="a"):
        pass
    assert refused.value.retry_helps
    other.execute("ROLLBACK")
    other.close()
    with database.write(at=1, by="a") as tx:
        ensure_model(tx, "m")
    database.close()


def test_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "lockgate.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(DataDamaged, match="damaged"):
        open_database(tmp_path / "lockgate.db")


def test_folder_in_place_of_the_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "lockgate.db").mkdir()
    engine = open_engine(tmp_path / "lockgate.db")
    with pytest.raises(Unavailable), storage_errors(), engine.connect():
        pass
    engine.dispose()
