"""The versions that were made from a logged model are found without reading all versions."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_model_versions_model_id"), "model_versions", ["model_id"])
