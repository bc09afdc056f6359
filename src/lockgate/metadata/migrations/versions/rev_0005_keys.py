"""Approvals follow their version when it is renamed or deleted; metrics have no foreign keys on PostgreSQL.

There a statement makes sure of the run once, and a key would with every row.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in ("metrics", "latest_metrics"):
            op.drop_constraint(op.f(f"fk_{table}_run_id"), table, type_="foreignkey")
        op.drop_constraint("fk_approvals_name_version", "approvals", type_="foreignkey")
        columns = ["name", "version"]
        op.create_foreign_key(
            "fk_approvals_name_version",
            "approvals",
            "model_versions",
            columns,
            columns,
            onupdate="CASCADE",
            ondelete="CASCADE",
        )
        return
    op.rename_table("approvals", "old_approvals")
    op.create_table(
        "approvals",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=False),
        sa.Column("approver", sa.String(length=256), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["model_versions.name", "model_versions.version"],
            name=op.f("fk_approvals_name_version"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("name", "version", "environment", "approver", name=op.f("pk_approvals")),
    )
    op.execute("INSERT INTO approvals SELECT * FROM old_approvals")
    op.drop_table("old_approvals")
