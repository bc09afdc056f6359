"""Every table. Records that are read whole are kept as JSON text beside the columns that are searched by.

A text is ordered by its bytes and may be of any length: SQLite heeds none, and PostgreSQL is told so (see
`postgres_engine`); the lengths here say what to expect. Times are milliseconds since the epoch. Names of models cascade
on rename. A change here needs a new revision in `migrations/versions`; a test compares what the revisions build with
what is written here.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    column,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite only counts up a column that is exactly INTEGER PRIMARY KEY.
_Serial = BigInteger().with_variant(Integer, "sqlite")
# A table that is always read by its key is stored in the order of its key.
_ROWID = False

# Values may have thousands of characters, and PostgreSQL indexes no more than 2,700 bytes of one.
_INDEXED_CHARACTERS = 64


class indexed_part(FunctionElement[str]):  # noqa: N801  # a function of SQL
    """What of a text an index holds: on PostgreSQL its beginning, on SQLite all of it."""

    type = Text()
    inherit_cache = True


@compiles(indexed_part, "sqlite")
def _whole(element: indexed_part, compiler: SQLCompiler, **options: Any) -> str:  # SQLAlchemy's own protocol
    return compiler.process(element.clauses, **options)


@compiles(indexed_part)
def _beginning(element: indexed_part, compiler: SQLCompiler, **options: Any) -> str:
    return f"substr({compiler.process(element.clauses, **options)}, 1, {_INDEXED_CHARACTERS})"


class key_of(FunctionElement[str]):  # noqa: N801  # a function of SQL
    """A key, then whose it is: the key alone, said so that only an index that begins with the owner leads to it.

    What a key that is newer than PostgreSQL's statistics leads to it takes for one row, and would go through all of
    them again and again where it is to look for those of one owner.
    """

    type = Text()
    inherit_cache = True


@compiles(key_of, "sqlite")
def _key(element: key_of, compiler: SQLCompiler, **options: Any) -> str:
    key, _ = element.clauses
    return compiler.process(key, **options)


@compiles(key_of)
def _key_of_owner(element: key_of, compiler: SQLCompiler, **options: Any) -> str:
    key, owner = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CASE WHEN {owner} < '' THEN '' ELSE {key} END"  # no text is before the empty one


def is_whole(connection: Connection, part: float | str) -> bool:
    """Whether the `indexed_part` of a text, or a number, is all there is of it."""
    return connection.dialect.name == "sqlite" or not isinstance(part, str) or len(part) < _INDEXED_CHARACTERS


def _of_run() -> ForeignKey:
    return ForeignKey("runs.run_id", ondelete="CASCADE")


def _of_model() -> ForeignKey:
    return ForeignKey("registered_models.name", onupdate="CASCADE", ondelete="CASCADE")


# -- tracking ---------------------------------------------------------------------------------------------------------

experiments = Table(
    "experiments",
    metadata,
    Column("experiment_id", _Serial, primary_key=True),
    Column("name", String(500), nullable=False, unique=True),
    Column("artifact_location", Text, nullable=False),
    Column("lifecycle_stage", String(20), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

experiment_tags = Table(
    "experiment_tags",
    metadata,
    Column("experiment_id", ForeignKey("experiments.experiment_id", ondelete="CASCADE"), nullable=False),
    Column("key", String(250), nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("experiment_id", "key"),
    sqlite_with_rowid=_ROWID,
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("experiment_id", ForeignKey("experiments.experiment_id", ondelete="CASCADE"), nullable=False),
    Column("run_name", Text, nullable=False),
    Column("user_id", String(256), nullable=False),
    Column("status", String(20), nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("lifecycle_stage", String(20), nullable=False),
    Column("artifact_uri", Text, nullable=False),
    Column("deleted_at", BigInteger),
    # The order of every list of runs: of one experiment, and of several.
    Index("ix_runs_newest_of_experiment", "experiment_id", "lifecycle_stage", text("start_time DESC"), "run_id"),
    Index("ix_runs_newest", text("start_time DESC"), "run_id", "experiment_id", "lifecycle_stage"),
    Index("ix_runs_run_name", indexed_part(column("run_name"))),
)

params = Table(
    "params",
    metadata,
    Column("run_id", _of_run(), nullable=False),
    Column("key", String(250), nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "key"),
    Index("ix_params_key_value", "key", indexed_part(column("value"))),
    sqlite_with_rowid=_ROWID,
)

run_tags = Table(
    "run_tags",
    metadata,
    Column("run_id", _of_run(), nullable=False),
    Column("key", String(250), nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "key"),
    Index("ix_run_tags_key_value", "key", indexed_part(column("value"))),
    sqlite_with_rowid=_ROWID,
)

# Metrics have no foreign key, which would ask for the run again with every row: what writes them makes sure of the run
# once (`points`), and what deletes runs deletes their metrics (`purge`). NaN is kept as 0 with is_nan set, for SQLite
# stores a NaN as NULL.
latest_metrics = Table(
    "latest_metrics",
    metadata,
    Column("run_id", String(32), nullable=False),
    Column("key", String(250), nullable=False),
    Column("value", Double, nullable=False),
    Column("is_nan", Boolean, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("series", BigInteger, Identity(always=True), nullable=False),
    PrimaryKeyConstraint("run_id", "key"),
    Index(None, "key", "is_nan", "value"),
    # Where it says which number is next; PostgreSQL counts, and would write to the index with every value.
    Index(None, "series", unique=True).ddl_if(dialect="sqlite"),
    sqlite_with_rowid=_ROWID,
)

# The history of each. The key makes a repeated request harmless, and its order is that of a history.
metrics = Table(
    "metrics",
    metadata,
    Column("series", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("value", Double, nullable=False),
    Column("is_nan", Boolean, nullable=False),
    PrimaryKeyConstraint("series", "timestamp", "step", "value", "is_nan"),
    sqlite_with_rowid=_ROWID,
)

datasets = Table(
    "datasets",
    metadata,
    Column("dataset_id", _Serial, primary_key=True),
    Column("experiment_id", ForeignKey("experiments.experiment_id", ondelete="CASCADE"), nullable=False),
    Column("name", String(500), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("source_type", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text),
    Column("profile", Text),
    UniqueConstraint("experiment_id", "name", "digest"),
)

run_datasets = Table(
    "run_datasets",
    metadata,
    Column("run_id", _of_run(), nullable=False),
    Column("dataset_id", ForeignKey("datasets.dataset_id", ondelete="CASCADE"), nullable=False),
    Column("context", Text, nullable=False),  # the tag mlflow.data.context, which is searched by
    Column("tags", Text, nullable=False),  # JSON object
    Column("position", BigInteger, server_default="0", nullable=False),  # among those of the run, as it named them
    PrimaryKeyConstraint("run_id", "dataset_id"),
    Index(None, "dataset_id"),
)

run_models = Table(
    "run_models",
    metadata,
    Column("run_id", _of_run(), nullable=False),
    Column("model_id", String(40), nullable=False),
    Column("direction", String(10), nullable=False),  # input, output
    Column("step", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_id", "model_id", "direction"),
)

logged_models = Table(
    "logged_models",
    metadata,
    Column("model_id", String(40), primary_key=True),
    Column("experiment_id", ForeignKey("experiments.experiment_id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("model_type", Text),
    Column("source_run_id", String(32), index=True),
    Column("status", String(40), nullable=False),
    Column("artifact_uri", Text, nullable=False),
    Column("lifecycle_stage", String(20), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "experiment_id", "created_at"),
)


def _of_logged_model() -> ForeignKey:
    return ForeignKey("logged_models.model_id", ondelete="CASCADE")


logged_model_params = Table(
    "logged_model_params",
    metadata,
    Column("model_id", _of_logged_model(), nullable=False),
    Column("key", String(250), nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("model_id", "key"),
)

logged_model_tags = Table(
    "logged_model_tags",
    metadata,
    Column("model_id", _of_logged_model(), nullable=False),
    Column("key", String(250), nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("model_id", "key"),
)

logged_model_metrics = Table(
    "logged_model_metrics",
    metadata,
    Column("model_id", _of_logged_model(), nullable=False),
    Column("run_id", _of_run(), nullable=False),
    Column("key", String(250), nullable=False),
    Column("dataset_name", String(500), nullable=False),  # empty: not measured on a named dataset
    Column("dataset_digest", String(64), nullable=False),
    Column("value", Double, nullable=False),
    Column("is_nan", Boolean, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    PrimaryKeyConstraint("model_id", "key", "timestamp", "step", "run_id", "dataset_name", "dataset_digest"),
    Index(None, "run_id"),
)

# Folders whose rows are deleted for good and that are still to be deleted themselves.
doomed_folders = Table(
    "doomed_folders",
    metadata,
    Column("doomed_id", _Serial, primary_key=True),
    Column("uri", Text, nullable=False),
    sqlite_autoincrement=True,
)

# -- registry ---------------------------------------------------------------------------------------------------------

registered_models = Table(
    "registered_models",
    metadata,
    Column("name", String(256), primary_key=True),
    Column("description", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("last_version", Integer, nullable=False),  # a number is never given twice, not even after a deletion
)

registered_model_tags = Table(
    "registered_model_tags",
    metadata,
    Column("name", _of_model(), nullable=False),
    Column("key", String(250), nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("name", "key"),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("name", _of_model(), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("description", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("run_id", String(32), nullable=False, index=True),
    Column("run_link", Text, nullable=False),
    Column("model_id", String(40), nullable=False, index=True),
    Column("stage", String(20), nullable=False),
    Column("location", Text),  # where the files are, when `source` only names another version or a logged model
    PrimaryKeyConstraint("name", "version"),
)


def _of_version() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["name", "version"],
        ["model_versions.name", "model_versions.version"],
        onupdate="CASCADE",
        ondelete="CASCADE",
    )


# Searches leave out the versions of prompts, and ask of every row whether its name is one's.
_OF_PROMPT = text("key = 'mlflow.prompt.is_prompt' AND value = 'true'")

model_version_tags = Table(
    "model_version_tags",
    metadata,
    Column("name", String(256), nullable=False),
    Column("version", Integer, nullable=False),
    Column("key", String(250), nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("name", "version", "key"),
    _of_version(),
    Index("ix_model_version_tags_of_prompt", "name", sqlite_where=_OF_PROMPT, postgresql_where=_OF_PROMPT),
)

aliases = Table(
    "aliases",
    metadata,
    Column("name", String(256), nullable=False),
    Column("alias", String(256), nullable=False),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("name", "alias"),
    _of_version(),
    Index(None, "name", "version"),
)

alias_changes = Table(
    "alias_changes",
    metadata,
    Column("change_id", _Serial, primary_key=True),
    Column("name", _of_model(), nullable=False),
    Column("alias", String(256), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", String(256), nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "name", "change_id"),
)

# No cascade: what was released is kept, so its version and model cannot be deleted or renamed.
releases = Table(
    "releases",
    metadata,
    Column("name", String(256), nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_digest", String(64), nullable=False, index=True),
    Column("record", Text, nullable=False),
    PrimaryKeyConstraint("name", "version"),
    ForeignKeyConstraint(["name", "version"], ["model_versions.name", "model_versions.version"]),
    Index(None, "name", "content_digest"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("name", String(256), nullable=False),
    Column("version", Integer, nullable=False),
    Column("environment", String(100), nullable=False),
    Column("approver", String(256), nullable=False),
    Column("approved_at", BigInteger, nullable=False),
    Column("comment", Text, nullable=False),
    PrimaryKeyConstraint("name", "version", "environment", "approver"),
    ForeignKeyConstraint(
        ["name", "version"],
        ["model_versions.name", "model_versions.version"],
        onupdate="CASCADE",
        ondelete="CASCADE",
    ),
)

# What `environments:` of a model's lockgate.yaml says, so that a client that never saw the file is bound by it as well.
environments = Table(
    "environments",
    metadata,
    Column("model", _of_model(), nullable=False),
    Column("name", String(100), nullable=False),
    Column("position", Integer, nullable=False),  # in the order of promotion; the last one holds the champion
    Column("approvals", Integer, nullable=False),
    PrimaryKeyConstraint("model", "name"),
)

# -- delivery ---------------------------------------------------------------------------------------------------------

_UNFINISHED = text("state IN ('pending', 'progressing', 'baking', 'rolling_back')")

rollouts = Table(
    "rollouts",
    metadata,
    Column("rollout_id", String(64), primary_key=True),
    Column("model", String(256), nullable=False),
    Column("environment", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["model_versions.name", "model_versions.version"]),
    Index(None, "model", "environment", "created_at"),
    Index(
        "uq_rollouts_unfinished",
        "model",
        "environment",
        unique=True,
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    ),
)

rollout_transitions = Table(
    "rollout_transitions",
    metadata,
    Column("rollout_id", ForeignKey("rollouts.rollout_id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("record", Text, nullable=False),
    PrimaryKeyConstraint("rollout_id", "revision"),
)

traffic = Table(
    "traffic",
    metadata,
    Column("model", String(256), nullable=False),
    Column("environment", String(100), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("record", Text, nullable=False),
    PrimaryKeyConstraint("model", "environment"),
)

# -- monitoring -------------------------------------------------------------------------------------------------------

monitor_windows = Table(
    "monitor_windows",
    metadata,
    Column("window_id", String(200), primary_key=True),
    Column("model", String(256), nullable=False),
    Column("environment", String(100), nullable=False),
    Column("start_at", BigInteger, nullable=False),
    Column("end_at", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
    CheckConstraint("start_at <= end_at", name="interval"),
    Index(None, "model", "environment", "end_at"),
)

_OPEN = text("closed_at IS NULL")

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", String(200), primary_key=True),
    Column("model", String(256), nullable=False),
    Column("environment", String(100), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("summary", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("window_id", String(200)),
    Column("closed_at", BigInteger),
    Column("notified_at", BigInteger),
    Index(None, "model", "opened_at"),
    Index(
        "uq_alerts_open",
        "model",
        "environment",
        "kind",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
)

# -- history ----------------------------------------------------------------------------------------------------------

events = Table(
    "events",
    metadata,
    Column("sequence", _Serial, primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", String(256), nullable=False),
    Column("details", Text, nullable=False),
    Index(None, "kind", "sequence"),
    sqlite_autoincrement=True,
)

# -- access -----------------------------------------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    Column("user_id", _Serial, primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("password", Text, nullable=False),  # the scrypt hash with its parameters; empty: tokens only
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(256), nullable=False),
    sqlite_autoincrement=True,
)


def _of_user() -> ForeignKey:
    return ForeignKey("users.user_id", ondelete="CASCADE")


grants = Table(
    "grants",
    metadata,
    Column("user_id", _of_user(), nullable=False),
    Column("pattern", String(256), nullable=False),  # names of models and experiments; `*` is the installation
    Column("role", String(20), nullable=False),
    PrimaryKeyConstraint("user_id", "pattern"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", String(12), primary_key=True),
    Column("user_id", _of_user(), nullable=False, index=True),
    Column("digest", String(64), nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("expires_at", BigInteger),
)

# One row at most: counts the changes of the three tables above, so that a server reads them again only when it must.
access_revision = Table(
    "access_revision",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", _Serial, primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("by", String(256), nullable=False),
    Column("address", String(64), nullable=False),  # empty: a process that opened the database itself
    Column("operation", String(100), nullable=False),
    Column("subject", Text, nullable=False),  # the model or experiment; empty: the installation
    Column("outcome", String(64), nullable=False),  # OK, or the code of the error
    Column("details", Text, nullable=False),  # JSON object
    Index(None, "subject", "sequence"),
    sqlite_autoincrement=True,
)

# -- webhooks ---------------------------------------------------------------------------------------------------------

webhooks = Table(
    "webhooks",
    metadata,
    Column("webhook_id", String(36), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("secret", Text, nullable=False),  # empty: deliveries are not signed
    Column("status", String(20), nullable=False),  # ACTIVE, DISABLED, or REMOVED: its messages are still there
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("leased_until", BigInteger, server_default="0", nullable=False),  # somebody sends to it until then
    Column("due_at", BigInteger, server_default="0", nullable=False),  # not to be sent to before
    Column("failures", Integer, server_default="0", nullable=False),  # times in a row that it did not answer
)


def _of_webhook() -> ForeignKey:
    return ForeignKey("webhooks.webhook_id", ondelete="CASCADE")


webhook_events = Table(
    "webhook_events",
    metadata,
    Column("webhook_id", _of_webhook(), nullable=False),
    Column("event", String(64), nullable=False),
    PrimaryKeyConstraint("webhook_id", "event"),
    Index(None, "event"),
)

_WAITS, _GIVEN_UP, _HAS_FAILED = text("due_at IS NOT NULL"), text("due_at IS NULL"), text("error <> ''")

# The outbox: written with the event, gone when it is delivered.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("delivery_id", String(36), primary_key=True),
    Column("webhook_id", _of_webhook(), nullable=False),
    Column("event", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),  # not to be sent before; NULL: given up
    Column("attempts", Integer, nullable=False),  # those that failed
    Column("error", Text, nullable=False),  # why the last attempt failed
    Index(None, "webhook_id", "due_at"),
    # What is too old, and what failed first, among millions of others.
    Index(
        "ix_webhook_deliveries_waiting",
        "webhook_id",
        "created_at",
        sqlite_where=_WAITS,
        postgresql_where=_WAITS,
    ),
    Index("ix_webhook_deliveries_given_up", "created_at", sqlite_where=_GIVEN_UP, postgresql_where=_GIVEN_UP),
    Index(
        "ix_webhook_deliveries_failed",
        "webhook_id",
        "created_at",
        sqlite_where=_HAS_FAILED,
        postgresql_where=_HAS_FAILED,
    ),
)
