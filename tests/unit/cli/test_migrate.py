import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.app import App
from lockgate.cli.migrate import migrate
from lockgate.clock import FakeClock
from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.schema import HEAD


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "lockgate.yaml").write_text("model: m\ntask: regression\n")
    return App(start=tmp_path, clock=FakeClock())


def call(app: App, *words: str) -> str:
    result = CliRunner().invoke(migrate, words, obj=app, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_database_is_upgraded_with_a_copy_and_only_once(app: App) -> None:
    path = app.folder.state / "lockgate.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    assert f"to {HEAD}" in call(app)
    assert len(list(path.parent.glob("*.backup"))) == 1
    assert "nothing to do" in call(app)
    assert json.loads(call(app, "--json")) == {"from": HEAD, "to": HEAD, "backup": None}


def test_server_is_not_migrated_from_here(app: App) -> None:
    elsewhere = App(start=app.start, clock=FakeClock(), uri="http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="takes no --uri"):
        call(elsewhere)


def test_project_without_a_database_is_told(app: App) -> None:
    with pytest.raises(NotFound):
        call(app)
