"""Bringing a database to this version: every missing revision in one transaction, all of them or none.

Of SQLite's file a copy is made first. PostgreSQL's backups are its administrator's, and a transaction that fails leaves
nothing behind there either.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from lockgate.errors import Conflict, NotFound, StorageFull
from lockgate.metadata.database import DECISION, Where, open_engine, storage_errors
from lockgate.metadata.schema import HEAD, current_revision, is_known, newer_error, require_unicode


class Migration(NamedTuple):
    """What was done: nothing where the revisions are the same. `backup` is the copy of SQLite's file."""

    from_revision: str | None
    to_revision: str
    backup: Path | None


def migrate(where: Where, *, at_ms: int) -> Migration:
    """Upgrade the database at `where` to `HEAD`.

    Raises NotFound where there is no such file, Unavailable where PostgreSQL does not let us in, Conflict where the
    database is newer than this Lockgate. When anything fails it is what it was before; a copy is left in any case.
    """
    if isinstance(where, Path) and not where.is_file():
        raise NotFound(f"there is no database {where}.", hint="lockgate run makes one")
    engine = open_engine(where)
    try:
        with storage_errors(where):
            revision = current_revision(engine)
            if revision == HEAD:
                return Migration(revision, HEAD, None)
            if revision is not None and not is_known(revision):
                raise newer_error(where, revision)
            backup = None
            if isinstance(where, Path):
                backup = where.with_name(f"{where.name}.{revision or 'empty'}-{at_ms}.backup")
                _copy(where, backup)
            run_migrations(engine)
        return Migration(revision, HEAD, backup)
    finally:
        engine.dispose()


def run_migrations(engine: Engine, *, to: str = HEAD) -> None:
    """Every revision that the database lacks, all of them or none; of two at once the second finds nothing to do."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    with _script_directory() as script:

        def missing(revision: Any, context: Any) -> Any:  # alembic's own types are private
            return script._upgrade_revs(to, revision)

        with engine.connect().execution_options(**DECISION) as connection, connection.begin():
            require_unicode(connection)
            if connection.dialect.name == "sqlite":
                # Some builds overwrite what is dropped, and keep all of that in memory until then.
                connection.exec_driver_sql("PRAGMA secure_delete = FAST")
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
