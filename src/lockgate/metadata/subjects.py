"""Which models and experiments a request is about, by name: what grants are made on."""

from collections.abc import Sequence

from sqlalchemy import Connection, Select, func, select

from lockgate.errors import NotFound
from lockgate.metadata.tables import alerts, experiments, logged_models, monitor_windows, releases, rollouts, runs


class Found(str):
    """A name that the database told, and not the request: who may not see what is called so must not hear it."""

    __slots__ = ()


def experiments_named(connection: Connection, experiment_ids: Sequence[int]) -> tuple[str, ...]:
    """The names of experiments. Raises NotFound for one that is not there."""
    t = experiments.c
    query = select(t.experiment_id, t.name).where(t.experiment_id.in_(experiment_ids))
    names = {row.experiment_id: Found(row.name) for row in connection.execute(query)}
    for wanted in experiment_ids:
        if wanted not in names:
            raise NotFound(f"No Experiment with id={wanted} exists")
    return tuple(names.values())


def experiment_of_run(connection: Connection, run_id: str) -> str:
    """Raises NotFound."""
    query = select(experiments.c.name).join(runs, runs.c.experiment_id == experiments.c.experiment_id)
    return _one(connection, query.where(runs.c.run_id == run_id), f"Run with id={run_id} not found")


def experiments_of_runs(connection: Connection, run_ids: Sequence[str]) -> tuple[str, ...]:
    """Of those runs that are there."""
    query = select(experiments.c.name).join(runs, runs.c.experiment_id == experiments.c.experiment_id)
    return tuple(map(Found, connection.scalars(query.where(runs.c.run_id.in_(run_ids)).distinct())))


def experiment_of_logged_model(connection: Connection, model_id: str) -> str:
    """Raises NotFound."""
    joined = logged_models.c.experiment_id == experiments.c.experiment_id
    query = select(experiments.c.name).join(logged_models, joined).where(logged_models.c.model_id == model_id)
    return _one(connection, query, f"Logged model with ID '{model_id}' not found.")


def model_of_rollout(connection: Connection, rollout_id: str) -> str:
    """Raises NotFound."""
    query = select(rollouts.c.model).where(rollouts.c.rollout_id == rollout_id)
    return _one(connection, query, f"there is no rollout {rollout_id!r}.")


def models_of_window(connection: Connection, window_id: str) -> tuple[str, ...]:
    """Nothing where there is no such window yet."""
    query = select(monitor_windows.c.model).where(monitor_windows.c.window_id == window_id)
    return tuple(map(Found, connection.scalars(query)))


def model_of_alert(connection: Connection, alert_id: str) -> str:
    """Raises NotFound."""
    query = select(alerts.c.model).where(alerts.c.alert_id == alert_id)
    return _one(connection, query, f"there is no alert {alert_id!r}.")


def models_with_content(connection: Connection, digest: str) -> tuple[str, ...]:
    """The models that have a release with exactly that content."""
    query = select(releases.c.name).where(releases.c.content_digest == digest).distinct()
    return tuple(map(Found, connection.scalars(query)))


def has_rollouts(connection: Connection, model: str, environment: str | None = None) -> bool:
    """Whether anything was ever rolled out of a model, into one environment, however it is written, or into any."""
    query = select(rollouts.c.rollout_id).where(rollouts.c.model == model).limit(1)
    if environment is not None:
        query = query.where(func.lower(rollouts.c.environment) == func.lower(environment))
    return connection.scalar(query) is not None


def _one(connection: Connection, query: Select[tuple[str]], missing: str) -> Found:
    found = connection.execute(query).first()
    if found is None:
        raise NotFound(missing)
    return Found(found[0])
