from collections.abc import Callable
from contextlib import AbstractContextManager

from lockgate.metadata.database import Database, Tx
from lockgate.metadata.driver import rows_among, scalar
from lockgate.metadata.runs import create_run, set_run_tags

RUN = "a" * 32
TEXTS = ["", " ", "plain", 'say "hi"', "back\\slash", "\\", '"', "{a,b}", "NULL", "two\nlines", "ü€😀", "it's", "%s"]


def test_texts_are_looked_up_as_they_are(database: Database, write: Callable[..., AbstractContextManager[Tx]]) -> None:
    with write() as tx:
        create_run(tx, RUN, experiment_id=0, run_name="r", user_id="ann", start_time=1, tags={})
        set_run_tags(tx, RUN, {f"t{number}": text for number, text in enumerate(TEXTS)})
    statement = "SELECT key, value FROM run_tags WHERE run_id = ? AND value IN ?"
    with database.read() as connection:
        found = rows_among(connection, statement, RUN, among=TEXTS)
        assert dict(found) == {f"t{number}": text for number, text in enumerate(TEXTS)}
        assert rows_among(connection, statement, RUN, among=[]) == []
        assert rows_among(connection, statement, RUN, among=[TEXTS[3]]) == [("t3", TEXTS[3])]
        for number, text in enumerate(TEXTS):
            assert scalar(connection, "SELECT key FROM run_tags WHERE value = ?", text) == f"t{number}"
        assert scalar(connection, "SELECT key FROM run_tags WHERE value = ?", "none") is None
