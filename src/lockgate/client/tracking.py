"""Experiments, runs, what is logged to them and their files, over MLflow's protocol like all training code."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from lockgate.client.transport import Transport
from lockgate.clock import Clock
from lockgate.errors import AlreadyExists, InvalidInput, NotFound
from lockgate.wire.adoption import BEGIN_RUN, BeginRun
from lockgate.wire.mlflow import artifacts, experiments, logged_models, runs
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.purge import PURGE, Purge, Purged
from lockgate.wire.series import LOG_SERIES, LogSeries, Series

log = logging.getLogger("lockgate.client")

EndStatus = Literal["FINISHED", "FAILED", "KILLED"]
# MLflow's own limits for one batch, of each kind and of all; a larger one is sent in parts.
_ITEMS_A_BATCH, _PARAMS_A_BATCH = 1000, 100
_FILES_A_PAGE = 10_000
_SHOWN = 10

T = TypeVar("T")


class Tracking:
    """Experiments, runs, what they logged, and their artifacts."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment of that name, made where there is none."""
        try:
            return self._experiment_id(name)
        except NotFound:
            pass
        try:
            request = experiments.CreateExperiment(name=name)
            return self._transport.call(experiments.CREATE_EXPERIMENT, request).experiment_id
        except AlreadyExists:  # somebody else made it between the two calls
            return self._experiment_id(name)

    def create_run(self, experiment_id: str, *, run_name: str = "", tags: Mapping[str, str] | None = None) -> str:
        """The id of a new run with status RUNNING."""
        request = runs.CreateRun(
            experiment_id=experiment_id,
            run_name=run_name,
            start_time=self._clock.now_ms(),
            tags=_tags(tags or {}),
        )
        return self._transport.call(runs.CREATE_RUN, request).run.info.run_id

    def begin_run(self, run_id: str, *, experiment: str, run_name: str, at: int) -> None:
        """A run whose id the caller chose, `ids.new_run_id()`; nothing where it is there already.

        Raises InvalidInput where the experiment is deleted or its name cannot be one.
        """
        request = BeginRun(run_id=run_id, experiment=experiment, run_name=run_name, start_time=at)
        self._transport.call(BEGIN_RUN, request)

    def log_batch(
        self,
        run_id: str,
        *,
        metrics: Sequence[runs.Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Raises InvalidInput where a param has another value already; what fits one batch is all or nothing."""
        others = min(len(params or ()), _PARAMS_A_BATCH) + min(len(tags or ()), _PARAMS_A_BATCH)
        metric_parts = list(_parts(metrics, _ITEMS_A_BATCH - others))
        param_parts = list(_parts(_tags(params or {}), _PARAMS_A_BATCH))
        tag_parts = list(_parts(_tags(tags or {}), _PARAMS_A_BATCH))
        for i in range(max(len(metric_parts), len(param_parts), len(tag_parts))):
            request = runs.LogBatch(
                run_id=run_id,
                metrics=tuple(metric_parts[i]) if i < len(metric_parts) else (),
                params=tuple(param_parts[i]) if i < len(param_parts) else (),
                tags=tuple(tag_parts[i]) if i < len(tag_parts) else (),
            )
            self._transport.call(runs.LOG_BATCH, request)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Values of now."""
        at = self._clock.now_ms()
        self.log_batch(
            run_id,
            metrics=[
                runs.Metric(key=key, value=runs.number_out(float(value)), timestamp=at, step=step)
                for key, value in metrics.items()
            ],
        )

    def log_series(self, run_id: str, series: Iterable[Series]) -> None:
        """Many values of metrics in one transaction; one that is there already changes nothing.

        Raises InvalidInput for a name that cannot be stored, and for more than `VALUES_A_REQUEST` values.
        """
        self._transport.call(LOG_SERIES, LogSeries(run_id=run_id, series=tuple(series)))

    def finish_run(self, run_id: str, status: EndStatus = "FINISHED", *, at: int | None = None) -> None:
        """The run ends now, or ended `at` some time."""
        self._transport.call(runs.UPDATE_RUN, runs.UpdateRun(run_id=run_id, status=status, end_time=at))

    def get_run(self, run_id: str) -> runs.Run:
        """With the latest value of each metric. Raises NotFound."""
        return self._transport.call(runs.GET_RUN, runs.OfRun(run_id=run_id)).run

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        *,
        filter: str = "",  # the protocol's word
        order_by: Sequence[str] = (),
        max_results: int = 100,
        page_token: str | None = None,
    ) -> runs.RunPage:
        """One page; `next_page_token` is empty on the last. Raises InvalidInput for an unreadable filter."""
        request = runs.SearchRuns(
            experiment_ids=tuple(experiment_ids),
            filter=filter,
            order_by=tuple(order_by),
            max_results=max_results,
            page_token=page_token or "",
        )
        return self._transport.call(runs.SEARCH_RUNS, request)

    def list_experiments(self) -> list[experiments.Experiment]:
        """All that are not deleted, newest first."""
        found: list[experiments.Experiment] = []
        token = ""
        while True:
            request = experiments.SearchExperiments(page_token=token)
            page = self._transport.call(experiments.SEARCH_EXPERIMENTS, request)
            found.extend(page.experiments)
            token = page.next_page_token
            if not token:
                return found

    def metric_history(self, run_id: str, key: str) -> list[runs.Metric]:
        """Every value of one metric by step, then time."""
        request = runs.MetricHistory(run_id=run_id, metric_key=key)
        return list(self._transport.call(runs.METRIC_HISTORY, request).metrics)

    def purge(self, *, before_ms: int, dry_run: bool = False) -> Purged:
        """Delete for good what was deleted before that time, with its files; `dry_run` only counts."""
        request = Purge(before=before_ms, dry_run=dry_run)
        done = self._transport.call(PURGE, request)
        while done.more:  # a call deletes a limited number
            then = self._transport.call(PURGE, request)
            done = Purged(
                runs=done.runs + then.runs,
                logged_models=done.logged_models + then.logged_models,
                experiments=done.experiments + then.experiments,
                kept=then.kept,
                folders=done.folders + then.folders,
                elsewhere=done.elsewhere + then.elsewhere,
                more=then.more,
            )
        return done

    def upload_artifact(self, run_id: str, local: Path, artifact_path: str = "") -> None:
        """Store a file, or a folder with all it holds, in the folder `artifact_path` of the run.

        Like MLflow's client this follows links to files, not those to folders; a warning names what is left out. A name
        that is refused keeps back nothing else of its folder; InvalidInput then says which.
        """
        root = _proxied(self.get_run(run_id).info.artifact_uri)
        folder = _join(root, artifact_path)
        if local.is_file():
            self._put_file(_join(folder, local.name), local)
            return
        if not local.is_dir():
            raise NotFound(f"there is no file or folder {local} to upload.")
        left_out: list[str] = []
        refused: list[str] = []
        for path in sorted(local.rglob("*")):
            name = path.relative_to(local).as_posix()
            if path.is_file():
                try:
                    self._put_file(_join(folder, name), path)
                except InvalidInput as error:
                    refused.append(f"{name!r}: {error.message}")
            elif path.is_symlink() or not path.is_dir():
                left_out.append(repr(name))
        if left_out:
            log.warning("links to folders and what is no file are left out of %s: %s", local, _brief(left_out))
        if refused:
            raise InvalidInput(f"all of {local} was stored but {len(refused)}: {_brief(refused)}")

    def list_artifacts(self, run_id: str, path: str = "") -> list[artifacts.FileInfo]:
        """One folder of the run's files; each `path` is relative to the run."""
        found: list[artifacts.FileInfo] = []
        token = ""
        while True:
            request = artifacts.ListArtifacts(run_id=run_id, path=path, page_token=token)
            page = self._transport.call(artifacts.LIST_ARTIFACTS, request)
            found.extend(page.files)
            token = page.next_page_token
            if not token:
                return found

    def download_artifact(self, run_id: str, artifact_path: str, target: Path) -> None:
        """Write one file of the run to `target`, or a folder below it. Raises NotFound."""
        self._download(_join(_proxied(self.get_run(run_id).info.artifact_uri), artifact_path), target)

    def list_logged_models(self, run_id: str) -> list[logged_models.LoggedModel]:
        """Models that were logged to the run, newest first; `info.artifact_uri` says where their files are."""
        request = logged_models.RunModels(run_id=run_id)
        return list(self._transport.call(logged_models.LIST_RUN_MODELS, request).models)

    def download_logged_model(self, model: logged_models.LoggedModel, target: Path) -> None:
        """Write the model's directory to `target`. Raises NotFound where it has no files."""
        self._download(_proxied(model.info.artifact_uri), target)

    def _put_file(self, path: str, local: Path) -> None:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"the path {path!r} is no valid text.", hint="rename the file") from error
        self._transport.put_file(path, local)

    def _download(self, path: str, target: Path) -> None:
        files = list(self._files(path))
        if not files:
            self._transport.get_file(path, target)
        for item in files:
            inner = _join(path, item.path)
            if item.is_dir:
                self._download(inner, target / item.path)
            else:
                self._transport.get_file(inner, target / item.path)

    def _files(self, path: str) -> Iterator[artifacts.FileInfo]:
        token = ""
        while True:
            request = artifacts.ListProxy(path=artifacts.listed_as(path), max_results=_FILES_A_PAGE, page_token=token)
            page = self._transport.call(artifacts.LIST_PROXY, request)
            yield from page.files
            token = page.next_page_token
            if not token:
                return

    def _experiment_id(self, name: str) -> str:
        request = experiments.ExperimentName(experiment_name=name)
        return self._transport.call(experiments.GET_EXPERIMENT_BY_NAME, request).experiment.experiment_id


def _proxied(uri: str) -> str:
    """The path below the artifact root. Raises InvalidInput for files that are kept elsewhere."""
    path = artifacts.proxied_path(uri)
    if path is None:
        raise InvalidInput(f"the files at {uri} are not kept by Lockgate.")
    return path


def _join(folder: str, name: str) -> str:
    return "/".join(part for part in (folder, name.strip("/")) if part)


def _brief(items: Sequence[str]) -> str:
    more = len(items) - _SHOWN
    return "; ".join(items[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _tags(values: Mapping[str, str]) -> tuple[Tag, ...]:
    return tuple(Tag(key=key, value=str(value)) for key, value in values.items())


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
