"""The messages of a webhook that are too old or have failed are found without reading all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index(op.f("ix_webhook_deliveries_due_at"), "webhook_deliveries")
    for name, columns, condition in (
        ("waiting", ["webhook_id", "created_at"], "due_at IS NOT NULL"),
        ("given_up", ["created_at"], "due_at IS NULL"),
        ("failed", ["webhook_id", "created_at"], "error <> ''"),
    ):
        where = sa.text(condition)
        op.create_index(
            f"ix_webhook_deliveries_{name}", "webhook_deliveries", columns, sqlite_where=where, postgresql_where=where
        )
