"""Bringing a database to this version: every missing revision in one transaction, all of them or none.

Nobody else may have it open: who was made for the old tables knows nothing of the new ones. Of SQLite's file a copy is
made first. PostgreSQL's backups are its administrator's, and a transaction that fails leaves nothing behind there
either.
"""

import errno
import fcntl
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from lockgate.errors import Conflict, NotFound, PermissionDenied, StorageFull, Unavailable
from lockgate.metadata.database import DECISION, Where, describe, open_engine, storage_errors
from lockgate.metadata.schema import HEAD, current_revision, is_known, newer_error, require_unicode

_NAME = "lockgate migrate"  # to PostgreSQL, so that two at once do not take each other for a server
_LEAVING_S = 2.0  # who was just stopped may take a moment
# A role may have them for its questions; before PostgreSQL 17 there is only the one.
_WITHOUT_LIMIT = (
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')"
)
_STOP = "stop every server, command and script that uses it, then repeat"


class Migration(NamedTuple):
    """What was done: nothing where the revisions are the same. `backup` is the copy of SQLite's file."""

    from_revision: str | None
    to_revision: str
    backup: Path | None


def migrate(where: Where, *, at_ms: int) -> Migration:
    """Upgrade the database at `where` to `HEAD`.

    Raises NotFound where there is no such file, Unavailable where PostgreSQL does not let us in, Conflict where the
    database is newer than this Lockgate, somebody else has it open, or what is not ours hangs on its tables. When
    anything fails it is what it was before.
    """
    if isinstance(where, Path) and not where.is_file():
        raise NotFound(f"there is no database {where}.", hint="lockgate run makes one")
    engine = open_engine(where if isinstance(where, Path) else where.update_query_dict({"application_name": _NAME}))
    try:
        with storage_errors(where):
            revision = current_revision(engine)
            if revision == HEAD:
                return Migration(revision, HEAD, None)
            if revision is not None and not is_known(revision):
                raise newer_error(where, revision)
            if isinstance(where, Path):
                engine.dispose()  # or we would be who has it open
                with _copy(where, at_ms=at_ms) as backup:
                    run_migrations(engine)
            else:
                _require_alone(engine, where)
                run_migrations(engine)
                backup = None
        return Migration(revision, HEAD, backup)
    except DBAPIError as error:  # and no outage: a view, or a table whose name we need
        reason = "; ".join(str(error.orig).strip().splitlines()[:2])
        raise Conflict(
            f"{describe(where)} cannot be upgraded: {reason}. Nothing was changed.",
            hint="drop or rename what is not Lockgate's own in it, such as views, then repeat",
        ) from error
    finally:
        engine.dispose()


def run_migrations(engine: Engine, *, to: str = HEAD) -> None:
    """Every revision that the database lacks, all of them or none; of two at once the second finds nothing to do."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    with _script_directory() as script:

        def missing(revisions: Any, context: Any) -> Any:  # alembic's own types are private
            if len(revisions) > 1:
                found = " and ".join(sorted(revisions))
                raise Conflict(
                    f"the table alembic_version names {found}; one revision was expected. Nothing was changed.",
                    hint="delete the row that is not Lockgate's from it, then repeat",
                )
            return script._upgrade_revs(to, revisions)

        with engine.connect().execution_options(**DECISION) as connection, connection.begin():
            require_unicode(connection)
            if connection.dialect.name == "sqlite":
                # Some builds overwrite what is dropped, and keep all of that in memory until then.
                connection.exec_driver_sql("PRAGMA secure_delete = FAST")
            else:
                from lockgate.metadata import postgres_engine

                postgres_engine.wait_without_limit(connection)
                connection.exec_driver_sql(_WITHOUT_LIMIT)
                connection.exec_driver_sql("SET LOCAL enable_seqscan = on")  # it rewrites whole tables
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
    for (view,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        quoted = view.replace('"', '""')
        connection.exec_driver_sql(f'SELECT 1 FROM "{quoted}" LIMIT 0')  # SQLite lets it name a table that is gone


def _require_alone(engine: Engine, where: URL) -> None:
    """Raises Conflict where others of Lockgate are connected to PostgreSQL's database."""
    others = text(
        "SELECT count(*), ' from ' || host(client_addr) AS place FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name IN ('lockgate', :own) GROUP BY place ORDER BY place"
    ).bindparams(own=where.query.get("application_name", "lockgate"))
    limit = time.monotonic() + _LEAVING_S
    while True:
        with engine.connect() as connection, connection.begin():  # another one: PostgreSQL looks once in each
            found = connection.execute(others).all()
        if not found:
            return
        if time.monotonic() > limit:
            break
        time.sleep(0.05)
    counted = ", ".join(f"{count}{place or ''}" for count, place in found)
    raise Conflict(
        f"{describe(where)} is in use by Lockgate; connections: {counted}.",
        hint=f"{_STOP}; whose client is gone can be ended: SELECT * FROM pg_stat_activity",
    )


@contextmanager
def _copy(path: Path, *, at_ms: int) -> Iterator[Path]:
    """Where a copy of the file as it is now will be when the block has ended; there is none where it raises.

    Until then it is called a part and is locked. One that nobody has locked is of who was killed, and as long as the
    database has still the revision of its name, it is of no use. Raises Conflict where somebody else has the file open.
    """
    with _make_part(path, at_ms=at_ms) as file:
        part = Path(file.name)
        backup = part.with_suffix("")
        try:
            yield backup
        except Exception:
            part.unlink()  # nothing has changed
            raise
        part.rename(backup)


def _make_part(path: Path, *, at_ms: int) -> BinaryIO:
    """A consistent copy through SQLite, which knows what is still in the write-ahead log; its file is locked."""
    if not os.access(path, os.W_OK):
        raise PermissionDenied(f"{path} may not be written by this user.", hint="come as the user who owns it")
    part = None
    try:
        with closing(_open_alone(path)) as source:
            name = f"{path.name}.{_revision(source)}"
            for left in path.parent.glob(f"{name}-*.backup.part*"):
                with suppress(OSError), left.open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()
            new = path.with_name(f"{name}-{at_ms}.backup.part")
            os.close(os.open(new, os.O_CREAT | os.O_EXCL, 0o600))
            part = new
            with closing(sqlite3.connect(part)) as target:
                source.backup(target)
            whose = path.stat()
            with suppress(PermissionError):  # then it stays with us alone
                os.chown(part, whose.st_uid, whose.st_gid)
                part.chmod(whose.st_mode & 0o777)
            file = part.open("r+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            return file
    except (OSError, sqlite3.Error) as error:
        for left in [] if part is None else path.parent.glob(f"{part.name}*"):
            left.unlink()
        if "full" in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
            raise StorageFull(f"the disk is full: no copy of {path} could be made, so nothing was changed.") from error
        if isinstance(error, OSError):
            raise Unavailable(f"no copy of {path} could be made beside it: {error.strerror}.") from error
        raise


def _revision(source: sqlite3.Connection) -> str:
    """Asked of who has the file alone: before that, another may have migrated it."""
    if source.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        return "empty"
    revision: str = source.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    return revision


def _open_alone(path: Path) -> sqlite3.Connection:
    """It has the whole file, which SQLite gives to nobody while another connection to it is open, idle or not."""
    limit = time.monotonic() + _LEAVING_S
    while True:
        source = sqlite3.connect(path, timeout=0)
        try:
            source.execute("PRAGMA locking_mode = EXCLUSIVE")
            source.execute("SELECT 1 FROM sqlite_master").fetchone()
            return source
        except sqlite3.OperationalError as error:
            source.close()  # for it keeps a part of the lock, and of two that try neither would get all of it
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if time.monotonic() > limit:
                raise Conflict(f"{path} is open in another process.", hint=_STOP) from error
        time.sleep(random.uniform(0, 0.05))
