"""The history of metrics by the number of a series instead of by two texts in every point, the run and the name.

The number is kept with the latest value. On SQLite too metrics lose their foreign keys now: what writes them makes sure
of the run, and what deletes runs deletes them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        _number_on_sqlite()
    else:
        op.add_column("latest_metrics", sa.Column("series", sa.BigInteger(), sa.Identity(always=True), nullable=False))
        op.drop_constraint("pk_metrics", "metrics", type_="primary")
        for column in ("run_id", "key", "step", "timestamp", "value", "is_nan"):  # which have names since PostgreSQL 18
            op.alter_column("metrics", column, nullable=True)
    op.rename_table("metrics", "old_metrics")
    op.create_table(
        "metrics",
        sa.Column("series", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("is_nan", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("series", "timestamp", "step", "value", "is_nan", name=op.f("pk_metrics")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO metrics (series, timestamp, step, value, is_nan) "
        "SELECT latest.series, old.timestamp, old.step, old.value, old.is_nan FROM latest_metrics AS latest "
        "JOIN old_metrics AS old ON old.run_id = latest.run_id AND old.key = latest.key "
        "ORDER BY latest.series, old.timestamp, old.step, old.value, old.is_nan"
    )
    op.drop_table("old_metrics")


def _number_on_sqlite() -> None:
    op.drop_index("ix_latest_metrics_key_is_nan_value", table_name="latest_metrics")
    op.rename_table("latest_metrics", "old_latest_metrics")
    op.create_table(
        "latest_metrics",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("is_nan", sa.Boolean(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("series", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_latest_metrics")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO latest_metrics SELECT run_id, key, value, is_nan, timestamp, step, "
        "row_number() OVER (ORDER BY run_id, key) FROM old_latest_metrics"
    )
    op.drop_table("old_latest_metrics")
    op.create_index(op.f("ix_latest_metrics_key_is_nan_value"), "latest_metrics", ["key", "is_nan", "value"])
    op.create_index(op.f("ix_latest_metrics_series"), "latest_metrics", ["series"], unique=True)
