"""A webhook is leased and left alone as a whole, not message by message."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("leased_until", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("webhooks", sa.Column("due_at", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("webhooks", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
