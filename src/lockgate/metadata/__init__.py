"""All SQL: SQLAlchemy Core on SQLite, written so that PostgreSQL fits; one file an entity."""
