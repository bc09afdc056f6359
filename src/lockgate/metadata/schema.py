"""Which revision a database is at, and opening it only when that is the one this Lockgate was written for.

A new database is made in one step from `tables` and stamped; a test proves that the revisions build the same.
Alembic itself is loaded by `migrate` alone: opening a database must stay cheap.
"""

from pathlib import Path

from sqlalchemy import Engine, insert, inspect, text

from lockgate.errors import Conflict, DataDamaged, NotFound
from lockgate.metadata.database import WRITE_DECISION, Database, open_engine, storage_errors
from lockgate.metadata.tables import experiments, metadata

HEAD = "0001"
KNOWN = ("0001",)  # every revision, oldest first

# The only row that is there from the start; its times are zero because nobody made it.
DEFAULT_EXPERIMENT = {
    "experiment_id": 0,
    "name": "Default",
    "artifact_location": "mlflow-artifacts:/0",
    "lifecycle_stage": "active",
    "created_at": 0,
    "updated_at": 0,
}


def open_database(path: Path) -> Database:
    """The database at `path`, made when absent. Raises Conflict where its revision is another than `HEAD`."""
    engine = open_engine(path)
    try:
        with storage_errors():
            revision = current_revision(engine) or _create(engine)
        _require_head(path, revision)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine)


def current_revision(engine: Engine) -> str | None:
    """None for a database without tables. Raises DataDamaged for one that is not ours."""
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise DataDamaged(f"{engine.url.database} is not a database of Lockgate.")
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def _create(engine: Engine) -> str:
    # One transaction with the write lock: of two processes that start at once, the second finds the tables made.
    with engine.connect().execution_options(**WRITE_DECISION) as connection, connection.begin():
        if not inspect(connection).has_table("alembic_version"):
            metadata.create_all(connection, checkfirst=False)
            connection.execute(
                text(
                    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
                    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
                )
            )
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
            connection.execute(insert(experiments), DEFAULT_EXPERIMENT)
    return HEAD


def _require_head(path: Path, revision: str) -> None:
    if revision == HEAD:
        return
    if is_known(revision):
        raise Conflict(
            f"{path} is at revision {revision}, this Lockgate needs {HEAD}.",
            hint="lockgate migrate (it keeps a copy of the file)",
        )
    raise newer_error(path, revision)


def is_known(revision: str) -> bool:
    """Whether this version can upgrade from it."""
    return revision in KNOWN


def newer_error(path: Path, revision: str) -> Conflict:
    return Conflict(
        f"{path} is at revision {revision}, which this Lockgate does not know: its own is {HEAD}.",
        hint="install the version of Lockgate that wrote it, or a later one",
    )


def require_existing(path: Path) -> None:
    """Raises NotFound where there is no database file."""
    if not path.is_file():
        raise NotFound(f"there is no database {path}.", hint="lockgate run makes one")
