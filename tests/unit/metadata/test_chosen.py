from sqlalchemy import event

from lockgate.metadata.chosen import Steps, chosen_below, find_chosen, list_chosen
from lockgate.metadata.database import Database
from lockgate.metadata.experiments import DELETED, create_experiment, rename_experiment, set_experiment_stage
from lockgate.metadata.purge import purge


def create(database: Database, name: str, location: str = "") -> int:
    with database.write(at=1, by="ann") as tx:
        return create_experiment(tx, name, artifact_location=location)


def found(database: Database, path: str) -> tuple[int, tuple[str, ...]] | None:
    with database.read() as connection:
        return find_chosen(connection, tuple(path.split("/")))


def below(database: Database, *steps: str) -> list[str]:
    with database.read() as connection:
        return sorted(chosen_below(connection, steps))


def test_nearest_chosen_folder_is_found_by_whole_names(database: Database) -> None:
    create(database, "usual")
    create(database, "outer", "mlflow-artifacts:/a")
    create(database, "inner", "mlflow-artifacts://host:5000//a/b%20c/")
    create(database, "bucket", "s3://bucket/a/x")
    create(database, "folder", "/a/x")
    assert found(database, "a/b c/d/e") == found(database, "a/b c") == (2, ("inner",))
    assert found(database, "a") == found(database, "a/b cd") == found(database, "a/x") == (1, ("outer",))
    create(database, "shouted", "MLflow-Artifacts:/C")
    assert found(database, "C/d") == (1, ("shouted",))
    assert found(database, "ab") is found(database, "b c") is found(database, "1") is found(database, "c") is None
    assert (below(database, "a"), below(database), below(database, "a", "b c")) == (
        ["inner"],
        ["inner", "outer", "shouted"],
        [],
    )
    create(database, "everything", "mlflow-artifacts:/")
    assert found(database, "ab") == (0, ("everything",))


def test_what_is_made_renamed_or_purged_later_is_noticed(database: Database) -> None:
    outer, inner = create(database, "outer", "mlflow-artifacts:/a"), create(database, "inner", "mlflow-artifacts:/a/b")
    assert found(database, "a/b/c") == (2, ("inner",))
    second = create(database, "second", "mlflow-artifacts:/a/b")
    depth, names = found(database, "a/b/c") or (0, ())
    assert (depth, sorted(names)) == (2, ["inner", "second"])
    with database.write(at=1, by="ann") as tx:
        rename_experiment(tx, inner, "renamed")
        for number in (outer, second):
            set_experiment_stage(tx, number, DELETED)
    assert sorted((found(database, "a/b/c") or (0, ()))[1]) == ["renamed", "second"]  # it can be restored
    with database.write(at=9, by="ann") as tx:
        purge(tx, before=9, limit=9)
    assert (found(database, "a/b/c"), found(database, "a/x")) == ((2, ("renamed",)), None)
    assert below(database, "a") == ["renamed"]
    with database.read() as connection:
        assert list(list_chosen(connection)) == [(("a", "b"), inner)]


def test_locations_are_read_once_and_not_by_every_upload(database: Database) -> None:
    create(database, "chosen", "mlflow-artifacts:/a")
    steps: Steps = ("1", "f")
    said: list[str] = []
    with database.read() as connection:
        find_chosen(connection, steps)
        event.listen(database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
        assert find_chosen(connection, steps) is None
        assert said == []  # but for one question by key, straight to the driver
    create(database, "newer", "mlflow-artifacts:/1")
    with database.read() as connection:
        assert find_chosen(connection, steps) == (1, ("newer",))
