"""The datasets of a run in the order it named them, not in that in which its experiment first saw them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run_datasets", sa.Column("position", sa.BigInteger(), server_default="0", nullable=False))
