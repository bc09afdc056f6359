import threading
from itertools import pairwise

import pytest
from sqlalchemy import event, func, select

from lockgate.metadata import logged_models
from lockgate.metadata import purge as module
from lockgate.metadata.database import Database
from lockgate.metadata.experiments import DELETED, create_experiment, set_experiment_stage
from lockgate.metadata.inputs import DatasetUse, datasets_of, log_datasets
from lockgate.metadata.metrics import history, latest_of
from lockgate.metadata.models import create_model
from lockgate.metadata.points import Point, log_points
from lockgate.metadata.purge import Purge, count_purgeable, delete_points, has_points, list_doomed, purge, strike_off
from lockgate.metadata.runs import create_run, is_known, log_params, params_of, set_run_stage
from lockgate.metadata.tables import latest_metrics, metrics
from lockgate.metadata.versions import create_version

OLD, RECENT, LIVE, SOURCE = "a" * 32, "b" * 32, "c" * 32, "d" * 32


@pytest.fixture
def deleted(database: Database) -> Database:
    """Runs: deleted at 10, deleted at 90, never deleted, and deleted at 10 with a version made from it."""
    with database.write(at=1, by="ann") as tx:
        for run_id in (OLD, RECENT, LIVE, SOURCE):
            create_run(tx, run_id, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
            log_params(tx, run_id, {"p": "1"})
            log_points(tx, run_id, [Point("m", 1.0, 1, 0)])
        create_model(tx, "churn")
        create_version(tx, "churn", source=f"runs:/{SOURCE}/model", run_id=SOURCE)
    for run_id, at in ((OLD, 10), (SOURCE, 10), (RECENT, 90)):
        with database.write(at=at, by="ann") as tx:
            set_run_stage(tx, run_id, deleted=True)
    return database


def counted(database: Database, before: int) -> Purge:
    with database.read() as connection:
        return count_purgeable(connection, before=before)


def purged(database: Database, before: int, limit: int = 100) -> Purge:
    with database.write(at=100, by="ann") as tx:
        return purge(tx, before=before, limit=limit)[0]


def doomed(database: Database) -> list[str]:
    with database.read() as connection:
        return [uri for _, uri in list_doomed(connection, limit=100)]


def test_old_deleted_run_goes_with_all_it_had_and_its_folder_is_doomed(deleted: Database) -> None:
    assert counted(deleted, 50) == Purge(runs=1, logged_models=0, experiments=0, kept=1)
    assert purged(deleted, 50) == Purge(1, 0, 0, 0)
    with deleted.read() as connection:
        assert set(params_of(connection, [OLD, RECENT, LIVE, SOURCE])) == {RECENT, LIVE, SOURCE}
        kept = connection.scalars(select(latest_metrics.c.series).order_by(latest_metrics.c.series)).all()
        assert connection.scalars(select(metrics.c.series).order_by(metrics.c.series)).all() == kept
        assert len(kept) == 3
    assert doomed(deleted) == [f"mlflow-artifacts:/0/{OLD}"]
    assert counted(deleted, 50) == Purge(0, 0, 0, 1)


def test_metric_that_is_logged_while_its_run_goes_for_good_goes_with_it(database: Database) -> None:
    with database.write(at=1, by="ann") as tx:
        create_run(tx, OLD, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})

    def delete_for_good() -> None:
        with database.write(at=10, by="ann") as tx:
            set_run_stage(tx, OLD, deleted=True)
        purged(database, 50)

    deleting = threading.Thread(target=delete_for_good)
    with database.write(at=5, by="ann", decision=False) as tx:
        log_points(tx, OLD, [Point("m", 1.0, 1, 0)])
        deleting.start()
        deleting.join(0.3)
        assert deleting.is_alive()  # what is written here keeps the run there
    deleting.join()
    with database.read() as connection:
        for table in (metrics, latest_metrics):
            assert connection.scalar(select(func.count()).select_from(table)) == 0
        assert doomed(database) == [f"mlflow-artifacts:/0/{OLD}"]


def test_dataset_that_a_run_is_about_to_name_stays_though_the_last_run_that_used_it_goes(database: Database) -> None:
    use = DatasetUse("rows", "d", "local", "s", None, None, {})
    with database.write(at=1, by="ann") as tx:
        for run_id in (OLD, LIVE):
            create_run(tx, run_id, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        log_datasets(tx, OLD, [use])
        set_run_stage(tx, OLD, deleted=True)
    purging = threading.Thread(target=purged, args=(database, 50))
    with database.write(at=5, by="ann", decision=False) as tx:
        log_datasets(tx, LIVE, [use])
        purging.start()
        purging.join(0.3)
        assert purging.is_alive()
    purging.join()
    with database.read() as connection:
        assert datasets_of(connection, [OLD, LIVE]) == {LIVE: [use]}


def test_run_that_is_begun_again_after_it_went_for_good_has_only_what_is_new(deleted: Database) -> None:
    purged(deleted, 1000)
    with deleted.write(at=101, by="ann") as tx:
        create_run(tx, RECENT, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        log_points(tx, RECENT, [Point("m", 2.0, 2, 2), Point("new", 3.0, 3, 3)])
    with deleted.read() as connection:
        assert [list(history(connection, RECENT, key)) for key in ("m", "new")] == [[(2, 2, 2.0, 0)], [(3, 3, 3.0, 0)]]


def test_folder_is_doomed_until_it_is_struck_off(deleted: Database) -> None:
    purged(deleted, 50)
    with deleted.write(at=101, by="ann") as tx:
        strike_off(tx, list_doomed(tx.connection, limit=1)[0][0])
    assert doomed(deleted) == []


def test_restored_run_is_safe(deleted: Database) -> None:
    with deleted.write(at=20, by="ann") as tx:
        set_run_stage(tx, OLD, deleted=False)
    assert purged(deleted, 50) == Purge(0, 0, 0, 0)


def test_a_call_deletes_no_more_than_its_limit(deleted: Database) -> None:
    assert [purged(deleted, 1000, limit=1).runs for _ in range(3)] == [1, 1, 0]


def points_left(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(metrics)) or 0


def test_long_history_goes_a_part_at_a_time_and_its_run_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POINTS", 5)
    lengths = {"1": 12, "2": 3, "3": 2, "4": 4}  # of one metric longer than a part, and of some that make one together
    with database.write(at=1, by="ann") as tx:
        for run_id in (LIVE, OLD):
            create_run(tx, run_id, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        log_points(tx, LIVE, [Point("m", 1.0, 1, 0)])
        log_points(tx, OLD, [Point(key, 1.0, 1, step) for key, length in lengths.items() for step in range(length)])
    with database.write(at=10, by="ann") as tx:
        set_run_stage(tx, OLD, deleted=True)
    with database.write(at=100, by="ann") as tx:
        assert purge(tx, before=50, limit=100) == (Purge(1, 0, 0, 0), [OLD], False)
        assert not is_known(tx.connection, OLD)
    left = [points_left(database)]
    with database.write(at=101, by="ann") as tx:  # as an import does, which keeps the ids of runs
        create_run(tx, OLD, experiment_id=0, run_name="r", user_id="u", start_time=1, tags={})
        log_points(tx, OLD, [Point("1", 7.0, 7, 7)])
    with database.read() as connection:
        assert list(history(connection, OLD, "1")) == [(7, 7, 7.0, 0)]
        assert [row[:2] for row in latest_of(connection, [OLD, LIVE])] == [(OLD, "1"), (LIVE, "m")]
    while True:
        with database.read() as connection:
            if not has_points(connection):
                break
        with database.write(at=102, by="ann", decision=False) as tx:
            delete_points(tx)
        left.append(points_left(database) - 1)  # of what was begun again
    assert left[0] == 22
    assert [before - after <= 5 for before, after in pairwise(left)] == [True] * (len(left) - 1)
    assert left[-1] == 1
    with database.read() as connection:
        assert [len(history(connection, run_id, key)) for run_id, key in ((LIVE, "m"), (OLD, "1"))] == [1, 1]


def test_a_call_deletes_no_more_runs_than_have_few_points(deleted: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POINTS", 1)
    done = []
    for _ in range(3):
        with deleted.write(at=100, by="ann") as tx:
            (counts, _, has_more) = purge(tx, before=1000, limit=100)
            done.append((counts.runs, has_more))
            assert not has_points(tx.connection)
    assert done == [(1, True), (1, False), (0, False)]
    assert points_left(deleted) == 2


def test_what_versions_were_made_from_is_found_without_reading_all_versions(deleted: Database) -> None:
    if deleted.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by its statistics, and reads small tables whole")
    said: list[tuple[str, object]] = []
    event.listen(deleted.engine, "before_cursor_execute", lambda *a: said.append((a[2], a[3])))
    counted(deleted, 50)
    purged(deleted, 50)
    with deleted.read() as connection:
        logged_models.registrations_of(connection, ["m-0"])
        driver = connection.connection.driver_connection
        assert driver is not None
        of_versions = [(text, values) for text, values in said if "FROM model_versions" in text]
        plans = [row[3] for text, values in of_versions for row in driver.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    for column in ("run_id", "model_id"):
        assert [step for step in plans if step.endswith(f"INDEX ix_model_versions_{column} ({column}=?)")] != []
    assert [step for step in plans if step.startswith("SCAN model_versions")] == []


def test_experiment_goes_when_nothing_is_left_in_it(database: Database) -> None:
    with database.write(at=1, by="ann") as tx:
        gone = create_experiment(tx, "gone")
        chosen = create_experiment(tx, "chosen", artifact_location="mlflow-artifacts:/shared")
        for number, experiment in enumerate((gone, chosen)):
            create_run(tx, f"{number}" * 32, experiment_id=experiment, run_name="r", user_id="u", start_time=1, tags={})
            logged_models.create_logged_model(
                tx,
                f"m-{number}",
                experiment_id=experiment,
                name="m",
                model_type="",
                source_run_id="",
                params={"a": "1"},
                tags={},
            )
    with database.write(at=10, by="ann") as tx:
        for experiment in (gone, chosen, 0):
            set_experiment_stage(tx, experiment, DELETED)
    assert counted(database, 50) == Purge(runs=2, logged_models=2, experiments=2, kept=0)
    done = [purged(database, 50, limit=1) for _ in range(4)]
    assert tuple(map(sum, zip(*done, strict=True))) == (2, 2, 2, 0)
    # What somebody chose as a location may hold more than this experiment.
    assert sorted(doomed(database)) == [
        "mlflow-artifacts:/1",
        f"mlflow-artifacts:/1/{'0' * 32}",
        "mlflow-artifacts:/1/models/m-0",
        f"mlflow-artifacts:/shared/{'1' * 32}",
        "mlflow-artifacts:/shared/models/m-1",
    ]


def test_default_experiment_stays_whatever_became_of_it(database: Database) -> None:
    with database.write(at=1, by="ann") as tx:
        set_experiment_stage(tx, 0, DELETED)
    assert purged(database, 50) == Purge(0, 0, 0, 0)
