import pytest
from sqlalchemy import event

from lockgate.entities import Approval
from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.aliases import alias_history, delete_version, list_aliases, set_alias
from lockgate.metadata.approvals import approve, list_approvals
from lockgate.metadata.events import list_events, newest_events
from lockgate.metadata.limits import DESCRIPTION_LENGTH
from lockgate.metadata.models import create_model, delete_model, describe_model, rename_model
from lockgate.metadata.versions import (
    create_version,
    describe_version,
    latest_versions,
    list_versions,
    move_to_stage,
    newest_of_each,
)


def test_number_is_never_given_twice(write) -> None:
    with write() as tx:
        create_model(tx, "m")
        assert [create_version(tx, "m", source="s") for _ in range(2)] == [1, 2]
        delete_version(tx, "m", 2)
        assert create_version(tx, "m", source="s") == 3


def test_deleted_version_takes_its_aliases_along_and_history_says_so(write) -> None:
    with write(at=9) as tx:
        create_model(tx, "m")
        set_alias(tx, "m", "x", create_version(tx, "m", source="s"))
        delete_version(tx, "m", 1)
        assert list_aliases(tx.connection, "m") == {}
        newest = alias_history(tx.connection, "m", limit=1)[0][0]
        assert (newest.from_version, newest.to_version, newest.reason) == (1, None, "version deleted")
        kinds = [event.kind for event in list_events(tx.connection, after=0, limit=100)]
    assert kinds.count("alias.moved") == 2


def test_deleted_model_tells_the_end_of_its_aliases(write) -> None:
    with write(at=9) as tx:
        create_model(tx, "m")
        set_alias(tx, "m", "x", create_version(tx, "m", source="s"))
        delete_model(tx, "m")
        moved, deleted = list_events(tx.connection, after=0, limit=100)[-2:]
    assert (moved.kind, moved.subject, deleted.kind) == ("alias.moved", "m", "model.deleted")
    assert moved.details == {"alias": "x", "from": 1, "to": None, "reason": "model deleted"}


def test_approvals_follow_their_version(write) -> None:
    with write() as tx:
        create_model(tx, "m")
        for _ in range(2):
            version = create_version(tx, "m", source="s")
            approve(tx, Approval(model="m", version=version, environment="production", approver="ann", approved_at=1))
        rename_model(tx, "m", "n")
        assert [len(list_approvals(tx.connection, "n", version, None)) for version in (1, 2)] == [1, 1]
        delete_version(tx, "n", 1)
        delete_model(tx, "n")
        assert list_approvals(tx.connection, "n", 2, None) == ()


def test_promotion_archives_the_others_when_asked(write) -> None:
    with write() as tx:
        create_model(tx, "m")
        for _ in range(2):
            create_version(tx, "m", source="s")
        move_to_stage(tx, "m", 1, "production", archive_existing=False)
        move_to_stage(tx, "m", 2, "Production", archive_existing=True)
        stages = {row["version"]: row["stage"] for row in latest_versions(tx.connection, ["m"])}
        assert stages == {1: "Archived", 2: "Production"}
        with pytest.raises(InvalidInput, match="no stage"):
            move_to_stage(tx, "m", 1, "Prod", archive_existing=False)
        with pytest.raises(InvalidInput):
            move_to_stage(tx, "m", 1, "None", archive_existing=True)


def test_promotion_archives_many_as_fast_as_one_and_tells_of_each(write) -> None:
    said: list[str] = []

    def promote(model: str, others: int) -> int:
        """How many statements it takes."""
        with write() as tx:
            create_model(tx, model)
            for _ in range(others + 1):
                move_to_stage(tx, model, create_version(tx, model, source="s"), "Staging", archive_existing=False)
        with write(at=7) as tx:
            event.listen(tx.connection, "before_cursor_execute", lambda *given: said.append(given[2]))
            said.clear()
            move_to_stage(tx, model, others + 1, "Staging", archive_existing=True)
            return len(said)

    assert promote("few", 1) == promote("many", 12)
    with write() as tx:
        rows = list_versions(tx.connection, "many", limit=20)
        assert [row["stage"] for row in rows] == ["Staging", *["Archived"] * 12]
        assert all(row["updated_at"] == 7 for row in rows)
        told = [
            (item.kind, item.subject, item.at, item.by, item.details) for item in newest_events(tx.connection, limit=13)
        ]
    archived = [("version.staged", f"many@{n}", 7, "ann", {"stage": "Archived"}) for n in range(1, 13)]
    assert told[::-1] == [*archived, ("version.staged", "many@13", 7, "ann", {"stage": "Staging"})]


def test_newest_versions_of_several_models_are_read_at_once(write) -> None:
    with write() as tx:
        for name, count in (("a", 4), ("b", 1), ("c", 3), ("none", 0), ("unasked", 2)):
            create_model(tx, name)
            for _ in range(count):
                create_version(tx, name, source="s")
        delete_version(tx, "a", 3)
        found = newest_of_each(tx.connection, ["a", "b", "c", "none", "missing"], limit=2)
    assert [(row["name"], row["version"]) for row in found] == [("a", 4), ("a", 2), ("b", 1), ("c", 3), ("c", 2)]


def test_version_needs_its_model(write) -> None:
    with pytest.raises(NotFound), write() as tx:
        create_version(tx, "nothing", source="s")


def test_texts_have_an_end(write) -> None:
    long = "x" * (DESCRIPTION_LENGTH + 1)
    with write() as tx:
        create_model(tx, "m", description=long[1:])
        create_version(tx, "m", source="s")
        for refused, what in (
            (lambda: create_model(tx, "n", description=long), "description"),
            (lambda: describe_model(tx, "m", long), "description"),
            (lambda: create_version(tx, "m", source="s", description=long), "description"),
            (lambda: describe_version(tx, "m", 1, long), "description"),
            (lambda: create_version(tx, "m", source=long), "source"),
            (lambda: create_version(tx, "m", source="s", run_link=long), "run_link"),
            (lambda: create_version(tx, "m", source="s", run_id=long), "run_id"),
            (lambda: create_version(tx, "m", source="s", model_id=long), "model_id"),
            (lambda: set_alias(tx, "m", "x", 1, reason=long), "reason"),
        ):
            with pytest.raises(InvalidInput, match=f"'{what}' exceeds the maximum length"):
                refused()
