"""Bringing a database to this version: a copy of the file first, then every missing revision in one transaction."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from lockgate.errors import Conflict, StorageFull
from lockgate.metadata.database import WRITE_DECISION, open_engine, storage_errors
from lockgate.metadata.schema import HEAD, current_revision, is_known, newer_error, require_existing


class Migration(NamedTuple):
    """What was done. `backup` is None where there was nothing to do."""

    from_revision: str | None
    to_revision: str
    backup: Path | None


def migrate(path: Path, *, at_ms: int) -> Migration:
    """Upgrade the database at `path` to `HEAD`.

    Raises NotFound where there is none, Conflict where it is newer than this Lockgate or another process holds it.
    When anything fails the database is what it was before; the copy is left beside it in any case.
    """
    require_existing(path)
    engine = open_engine(path)
    try:
        with storage_errors():
            revision = current_revision(engine)
            if revision == HEAD:
                return Migration(revision, HEAD, None)
            if revision is not None and not is_known(revision):
                raise newer_error(path, revision)
            backup = path.with_name(f"{path.name}.{revision or 'empty'}-{at_ms}.backup")
            _copy(path, backup)
            run_migrations(engine)
        return Migration(revision, HEAD, backup)
    finally:
        engine.dispose()


def run_migrations(engine: Engine) -> None:
    """Every revision that the database lacks, all of them or none."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    with _script_directory() as script:

        def missing(revision: Any, context: Any) -> Any:  # alembic's own types are private
            return script._upgrade_revs(HEAD, revision)

        with engine.connect().execution_options(**WRITE_DECISION) as connection, connection.begin():
            context = MigrationContext.configure(connection, opts={"fn": missing})
            with Operations.context(context):
                context.run_migrations()
            _require_consistent(connection)


def newest_revision() -> str | None:
    """The head of the packaged revisions, as Alembic sees it."""
    with _script_directory() as script:
        head: str | None = script.get_current_head()
        return head


@contextmanager
def _script_directory() -> Iterator[Any]:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    with as_file(files("lockgate.metadata").joinpath("migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        yield ScriptDirectory.from_config(config)


def _require_consistent(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise Conflict(f"the migration would leave table {broken[0]} pointing at rows that are not there.")


def _copy(path: Path, backup: Path) -> None:
    """A consistent copy through SQLite, which knows what is still in the write-ahead log."""
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
    except sqlite3.OperationalError as error:
        backup.unlink(missing_ok=True)
        if "full" in str(error):
            raise StorageFull(f"the disk is full: no copy of {path} could be made, so nothing was changed.") from error
        raise
