"""On PostgreSQL, metrics without foreign keys: a statement makes sure of the run once, not with every row."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in ("metrics", "latest_metrics"):
            op.drop_constraint(op.f(f"fk_{table}_run_id"), table, type_="foreignkey")
