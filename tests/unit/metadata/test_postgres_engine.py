"""What only PostgreSQL does."""

import logging
from typing import Any

import pytest
from sqlalchemy import event

from lockgate.errors import Unavailable
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import open_database


def test_connection_that_ends_as_a_transaction_begins_is_one_line_in_the_log(
    postgres: Any, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database(parse_address(postgres_url))

    def end(driver: Any, record: object, proxy: object) -> None:
        postgres.execute(f"SELECT pg_terminate_backend({driver.info.backend_pid}, 5000)")

    event.listen(database.engine, "checkout", end)  # after it was found alive
    caplog.set_level(logging.WARNING)
    with pytest.raises(Unavailable), database.read():
        pass
    assert [(record.name, record.exc_info) for record in caplog.records] == [("lockgate.metadata", None)]
    event.remove(database.engine, "checkout", end)
    with database.read():
        pass
    database.close()
