"""Alembic revisions of the metadata database, run in-process by `lockgate.metadata.migrate`."""
