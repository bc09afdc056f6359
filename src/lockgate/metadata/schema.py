"""Which revision a database is at, and opening it only when that is the one this Lockgate was written for.

A new database is made in one step from `tables` and stamped; a test proves that the revisions build the same.
Alembic itself is loaded by `migrate` alone: opening a database must stay cheap.
"""

from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.schema import CreateTable

from lockgate.errors import Conflict, DataDamaged, InvalidInput
from lockgate.metadata.database import DECISION, Database, Where, describe, open_engine, storage_errors
from lockgate.metadata.modes import READ_LIMIT_S
from lockgate.metadata.tables import experiments, metadata, releases

HEAD = "0010"
KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")  # every revision, oldest first

OURS = ("alembic_version", releases.name)  # among the tables of every database of Lockgate
# Alembic's own table, as it makes it.
VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def default_experiment(now_ms: int) -> dict[str, str | int]:
    """The only row that is there from the start."""
    return {
        "experiment_id": 0,
        "name": "Default",
        "artifact_location": "mlflow-artifacts:/0",
        "lifecycle_stage": "active",
        "created_at": now_ms,
        "updated_at": now_ms,
    }


def open_database(where: Where, *, now_ms: int = 0, read_limit_s: float = READ_LIMIT_S) -> Database:
    """The database at `where`, made when absent, now. Raises Conflict where its revision is another than `HEAD`.

    Raises Unavailable where PostgreSQL does not let us in; its database must exist, its tables need not.
    """
    database = Database(open_engine(where, read_limit_s=read_limit_s))
    try:
        with storage_errors(where):
            revision = current_revision(database.engine) or _create(database.engine, now_ms)
        _require_head(where, revision)
    except BaseException:
        database.close()
        raise
    return database


def current_revision(engine: Engine) -> str | None:
    """None for a database without tables. Raises DataDamaged for one that is not ours."""
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        if not tables:
            return None
        revision: str | None = None
        if tables.issuperset(OURS):  # other programs have the one as well, and may have a revision of the same name
            revision = connection.scalar(select(VERSION.c.version_num))
        if revision is None or not revision.isdigit():
            raise foreign_error(engine.url.database)
        return revision


def _create(engine: Engine, now_ms: int) -> str:
    # One decision: of two processes that start at once, the second finds the tables made.
    with engine.connect().execution_options(**DECISION) as connection, connection.begin():
        if not inspect(connection).has_table("alembic_version"):
            require_unicode(connection)
            metadata.create_all(connection, checkfirst=False)
            connection.execute(CreateTable(VERSION))
            connection.execute(insert(VERSION), {"version_num": HEAD})
            connection.execute(insert(experiments), default_experiment(now_ms))
    return HEAD


def require_unicode(connection: Connection) -> None:
    """Raises InvalidInput where PostgreSQL was told to keep texts in an alphabet of its own."""
    if connection.dialect.name == "sqlite":
        return
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise InvalidInput(
            f"the database keeps texts as {encoding}, which cannot hold every text; UTF8 was expected.",
            hint="CREATE DATABASE lockgate ENCODING 'UTF8' TEMPLATE template0",
        )


def _require_head(where: Where, revision: str) -> None:
    if revision == HEAD:
        return
    if is_known(revision):
        copy = "it keeps a copy of the file" if isinstance(where, Path) else "take a backup first: pg_dump"
        raise Conflict(
            f"{describe(where)} is at revision {revision}, this Lockgate needs {HEAD}.",
            hint=f"lockgate migrate ({copy})",
        )
    raise newer_error(where, revision)


def is_known(revision: str) -> bool:
    """Whether this version can upgrade from it."""
    return revision in KNOWN


def foreign_error(name: object) -> DataDamaged:
    return DataDamaged(f"{name} is not a database of Lockgate.", hint="give it one of its own")


def newer_error(where: Where, revision: str) -> Conflict:
    return Conflict(
        f"{describe(where)} is at revision {revision}, which this Lockgate does not know: its own is {HEAD}.",
        hint="install the version of Lockgate that wrote it, or a later one",
    )
