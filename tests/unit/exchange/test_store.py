"""What is no store of MLflow's is refused before mlflow writes into it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from lockgate.clock import SystemClock
from lockgate.errors import InvalidInput, LockgateError, NotFound
from lockgate.exchange.mlflow_store import MlflowStore
from lockgate.server.context import DATABASE_NAME, open_context

SECRET = "s3cret"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, which stays as it is."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("other.db")) as database:
        database.execute("CREATE TABLE customers (name)")
    with closing(sqlite3.connect("laboratory.db")) as database:  # another program that uses Alembic
        for table in ("alembic_version (version_num)", "experiments (experiment_id, name)", "runs (id)", "tags (name)"):
            database.execute(f"CREATE TABLE {table}")
    (tmp_path / "empty.db").touch()
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("hello")
    before = contents(tmp_path)
    yield tmp_path
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("uri", "error", "said"),
    [
        ("sqlite:///other.db", InvalidInput, "no column alembic_version.version_num"),
        ("sqlite+pysqlite:///other.db", InvalidInput, "no column alembic_version.version_num"),
        ("sqlite:///laboratory.db", InvalidInput, "no column metrics.run_uuid"),
        ("sqlite:///empty.db", InvalidInput, "no column alembic_version.version_num"),
        ("sqlite:///nowhere.db", NotFound, "does not exist"),
        ("sqlite://", InvalidInput, "names no store"),
        ("letters", InvalidInput, "no store of MLflow's"),
        ("", InvalidInput, "names no store"),
    ],
)
def test_what_is_no_store_is_refused_and_left_alone(
    here: Path, uri: str, error: type[LockgateError], said: str
) -> None:
    with pytest.raises(error, match=said):
        MlflowStore(uri)


def test_database_of_lockgate_is_refused_and_leads_to_a_server_on_it(tmp_path: Path, database_setting: str) -> None:
    uri = database_setting.replace("postgresql", "postgresql+psycopg") or f"sqlite:///{tmp_path / DATABASE_NAME}"
    with closing(open_context(tmp_path, user="ann", clock=SystemClock(), database=database_setting)) as context:
        before = inspect(context.database.engine).get_table_names()
        with pytest.raises(InvalidInput, match="is a database of Lockgate's") as caught:
            MlflowStore(uri)
        assert inspect(context.database.engine).get_table_names() == before
    assert "lockgate server" in str(caught.value.hint)


def test_folder_of_something_else_is_refused_by_its_address(here: Path) -> None:
    with pytest.raises(InvalidInput, match="no store of MLflow's"):
        MlflowStore((here / "letters").as_uri())


def test_database_that_is_not_there_is_asked_once_and_its_password_is_not_printed() -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        MlflowStore(f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:9/mlflow")
    assert "postgresql+psycopg://***@127.0.0.1:9/mlflow" in str(caught.value)
    assert SECRET not in str(caught.value)
