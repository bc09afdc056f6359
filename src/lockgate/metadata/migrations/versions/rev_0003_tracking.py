"""What searching, ordering and paging of runs is served by, and when a run was deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("deleted_at", sa.BigInteger(), nullable=True))
    # When is not known: they count as deleted now, so that nothing goes sooner than its owner expects.
    now = "strftime('%s', 'now')" if _is_sqlite() else "CAST(extract(epoch FROM now()) AS BIGINT)"
    op.execute(f"UPDATE runs SET deleted_at = 1000 * {now} WHERE lifecycle_stage = 'deleted'")
    _replace_indexes()
    _rekey_metrics()
    _rekey_logged_model_metrics()
    op.create_index(op.f("ix_logged_model_metrics_run_id"), "logged_model_metrics", ["run_id"], unique=False)
    op.create_table(
        "doomed_folders",
        sa.Column("doomed_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("doomed_id", name=op.f("pk_doomed_folders")),
        sqlite_autoincrement=True,
    )


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _replace_indexes() -> None:
    op.drop_index(op.f("ix_runs_experiment_id_lifecycle_stage_start_time"), table_name="runs")
    op.drop_index(op.f("ix_latest_metrics_key_value"), table_name="latest_metrics")
    newest = sa.text("start_time DESC")
    op.create_index(
        "ix_runs_newest_of_experiment", "runs", ["experiment_id", "lifecycle_stage", newest, "run_id"], unique=False
    )
    op.create_index("ix_runs_newest", "runs", [newest, "run_id", "experiment_id", "lifecycle_stage"], unique=False)
    op.create_index("ix_runs_run_name", "runs", [_indexed("run_name")], unique=False)
    if not _is_sqlite():
        for table in ("params", "run_tags"):
            op.drop_index(op.f(f"ix_{table}_key_value"), table_name=table)
            op.create_index(f"ix_{table}_key_value", table, ["key", _indexed("value")], unique=False)
    op.create_index(
        op.f("ix_latest_metrics_key_is_nan_value"), "latest_metrics", ["key", "is_nan", "value"], unique=False
    )
    op.create_index(op.f("ix_run_datasets_dataset_id"), "run_datasets", ["dataset_id"], unique=False)


def _indexed(column: str) -> sa.TextClause:
    """PostgreSQL indexes no more than 2,700 bytes of a text."""
    return sa.text(column if _is_sqlite() else f"substr({column}, 1, 64)")


def _rekey_metrics() -> None:
    key = ["run_id", "key", "timestamp", "step", "value", "is_nan"]
    if not _is_sqlite():
        _replace_key("metrics", key)
        return
    op.rename_table("metrics", "old_metrics")
    op.create_table(
        "metrics",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("is_nan", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_metrics_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_metrics")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO metrics SELECT run_id, key, step, timestamp, value, is_nan FROM old_metrics ORDER BY 1, 2, 4"
    )
    op.drop_table("old_metrics")


def _rekey_logged_model_metrics() -> None:
    key = ["model_id", "key", "timestamp", "step", "run_id", "dataset_name", "dataset_digest"]
    if not _is_sqlite():
        _replace_key("logged_model_metrics", key)
        return
    op.rename_table("logged_model_metrics", "old_logged_model_metrics")
    op.create_table(
        "logged_model_metrics",
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("dataset_name", sa.String(length=500), nullable=False),
        sa.Column("dataset_digest", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("is_nan", sa.Boolean(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["logged_models.model_id"],
            name=op.f("fk_logged_model_metrics_model_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_logged_model_metrics_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_logged_model_metrics")),
    )
    op.execute("INSERT INTO logged_model_metrics SELECT * FROM old_logged_model_metrics")
    op.drop_table("old_logged_model_metrics")


def _replace_key(table: str, columns: list[str]) -> None:
    op.drop_constraint(f"pk_{table}", table, type_="primary")
    op.create_primary_key(f"pk_{table}", table, columns)
