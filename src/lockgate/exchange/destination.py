"""Where a copy goes. The protocol is the same everywhere; only who gives the ids, and the fastest way in, differ."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from lockgate.client.transport import Transport
from lockgate.exchange import answers
from lockgate.wire.adoption import ADOPT_LOGGED_MODEL, ADOPT_RUN, ADOPT_VERSION, AdoptLoggedModel, AdoptRun
from lockgate.wire.mlflow import logged_models, registry, runs
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.series import LOG_SERIES, VALUES_A_REQUEST, LogSeries, Series


class Place(NamedTuple):
    """A copied run or logged model."""

    id: str
    artifact_uri: str


class Destination(Protocol):
    """What only one kind of server does."""

    keeps_ids: bool  # of runs and logged models, each of which is there once then
    points_a_request: int
    takes_folders: bool  # in names of registered models: team/churn

    def create_run(self, run: runs.Run, experiment_id: str, tags: tuple[Tag, ...]) -> Place: ...

    def create_logged_model(
        self, model: logged_models.LoggedModel, experiment_id: str, source_run_id: str, tags: tuple[Tag, ...]
    ) -> Place: ...

    def create_loose_version(self, version: registry.ModelVersion, request: registry.CreateVersion) -> int:
        """Its number. No run and no logged model has its files: its run may be gone at the source."""
        ...

    def log_points(self, run_id: str, points: Sequence[runs.Metric]) -> None:
        """At most `points_a_request`; one that is there already changes nothing."""
        ...


class Lockgate:
    """Our own server: ids stay, and values of metrics travel in columns."""

    keeps_ids = True
    points_a_request = VALUES_A_REQUEST
    takes_folders = True

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create_run(self, run: runs.Run, experiment_id: str, tags: tuple[Tag, ...]) -> Place:
        info = run.info
        request = AdoptRun(
            run_id=info.run_id,
            experiment_id=experiment_id,
            user_id=info.user_id,
            run_name=info.run_name,
            start_time=info.start_time,
            tags=tags,
        )
        return Place(info.run_id, self._transport.call(ADOPT_RUN, request).artifact_uri)

    def create_logged_model(
        self, model: logged_models.LoggedModel, experiment_id: str, source_run_id: str, tags: tuple[Tag, ...]
    ) -> Place:
        request = AdoptLoggedModel(
            model_id=model.info.model_id,
            experiment_id=experiment_id,
            name=model.info.name,
            model_type=model.info.model_type,
            source_run_id=source_run_id,
            params=model.data.params,
            tags=tags,
        )
        return Place(model.info.model_id, self._transport.call(ADOPT_LOGGED_MODEL, request).artifact_uri)

    def create_loose_version(self, version: registry.ModelVersion, request: registry.CreateVersion) -> int:
        return self._transport.call(ADOPT_VERSION, replace(request, run_id=version.run_id)).version

    def log_points(self, run_id: str, points: Sequence[runs.Metric]) -> None:
        columns: dict[str, tuple[list[runs.Number], list[int], list[int]]] = {}
        for point in points:
            values, timestamps, steps = columns.setdefault(point.key, ([], [], []))
            values.append(point.value)
            timestamps.append(point.timestamp)
            steps.append(point.step or 0)
        series = tuple(
            Series(key=key, values=tuple(values), timestamps=tuple(timestamps), steps=tuple(steps))
            for key, (values, timestamps, steps) in columns.items()
        )
        self._transport.call(LOG_SERIES, LogSeries(run_id=run_id, series=series))


class AnyServer:
    """Any server of MLflow's protocol: it gives new ids, and takes a thousand values at once."""

    keeps_ids = False
    points_a_request = 1000
    takes_folders = False

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create_run(self, run: runs.Run, experiment_id: str, tags: tuple[Tag, ...]) -> Place:
        info = run.info
        request = runs.CreateRun(
            experiment_id=experiment_id,
            user_id=info.user_id,
            run_name=info.run_name,
            start_time=info.start_time,
            tags=tags,
        )
        made = self._transport.call(answers.CREATE_RUN, request).run.info
        return Place(made.run_id, made.artifact_uri)

    def create_logged_model(
        self, model: logged_models.LoggedModel, experiment_id: str, source_run_id: str, tags: tuple[Tag, ...]
    ) -> Place:
        request = logged_models.CreateLoggedModel(
            experiment_id=experiment_id,
            name=model.info.name,
            model_type=model.info.model_type,
            source_run_id=source_run_id,
            params=model.data.params,
            tags=tags,
        )
        made = self._transport.call(answers.CREATE_LOGGED_MODEL, request).model.info
        return Place(made.model_id, made.artifact_uri)

    def create_loose_version(self, version: registry.ModelVersion, request: registry.CreateVersion) -> int:
        return int(self._transport.call(answers.CREATE_VERSION, request).model_version.version)

    def log_points(self, run_id: str, points: Sequence[runs.Metric]) -> None:
        self._transport.call(runs.LOG_BATCH, runs.LogBatch(run_id=run_id, metrics=tuple(points)))
