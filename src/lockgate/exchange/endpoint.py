"""One side of a copy, read page by page: any server of MLflow's protocol, a local store, this project's own records."""

from collections.abc import Iterator

from lockgate.client.transport import Transport
from lockgate.errors import NotFound
from lockgate.exchange import answers
from lockgate.wire.mlflow import experiments, logged_models, registry, runs

_RUNS_A_PAGE = 200
_MODELS_A_PAGE = 50
_POINTS_A_PAGE = 25_000  # what MLflow's servers give at most
_PROMPTS = "tag.`mlflow.prompt.is_prompt` = 'true'"


class Endpoint:
    """What is there, in an order that stays while it is copied. Safe to share between threads."""

    def __init__(self, transport: Transport, name: str) -> None:
        self.transport = transport
        self.name = name  # in messages

    def iter_experiments(self) -> Iterator[experiments.Experiment]:
        """Oldest first, deleted ones as well."""
        token = ""
        while True:
            request = experiments.SearchExperiments(
                view_type="ALL", order_by=("creation_time ASC",), max_results=_RUNS_A_PAGE, page_token=token
            )
            page = self.transport.call(answers.SEARCH_EXPERIMENTS, request)
            yield from page.experiments
            token = page.next_page_token
            if not token:
                return

    def find_experiment(self, name: str) -> experiments.Experiment | None:
        """Deleted ones as well: they keep their names."""
        try:
            request = experiments.ExperimentName(experiment_name=name)
            return self.transport.call(answers.GET_EXPERIMENT_BY_NAME, request).experiment
        except NotFound:
            return None

    def iter_runs(self, *experiment_ids: str) -> Iterator[tuple[runs.Run, ...]]:
        """Pages, oldest first: a parent comes before its children, and what is added meanwhile comes last."""
        token = ""
        while True:
            request = runs.SearchRuns(
                experiment_ids=experiment_ids,
                run_view_type="ALL",
                order_by=("attributes.start_time ASC",),
                max_results=_RUNS_A_PAGE,
                page_token=token,
            )
            page = self.transport.call(answers.SEARCH_RUNS, request)
            yield page.runs
            token = page.next_page_token
            if not token:
                return

    def list_model_inputs(self, run_id: str) -> tuple[runs.ModelInput, ...]:
        """The models that a run says it has used, which a search at MLflow's servers does not tell."""
        return self.transport.call(answers.GET_RUN, runs.OfRun(run_id=run_id)).run.inputs.model_inputs

    def iter_points(self, run: runs.Run) -> Iterator[runs.Metric]:
        """The whole history of every metric of a run."""
        for latest in run.data.metrics:
            yield from self.iter_history(run.info.run_id, latest.key)

    def iter_history(self, run_id: str, key: str) -> Iterator[runs.Metric]:
        """Each value once: servers on a folder tell one that was logged twice twice, most often side by side.

        So a page is compared with itself and the one before, however long the history is.
        """
        token, before = "", set[tuple[runs.Number, int, int | None]]()
        while True:
            request = runs.MetricHistory(run_id=run_id, metric_key=key, max_results=_POINTS_A_PAGE, page_token=token)
            page = self.transport.call(runs.METRIC_HISTORY, request)
            found = set[tuple[runs.Number, int, int | None]]()
            for point in page.metrics:
                value = (point.value, point.timestamp, point.step)
                if value not in found and value not in before:
                    yield point
                found.add(value)
            before = found
            token = page.next_page_token
            if not token:
                return

    def iter_logged_models(self, experiment_id: str) -> Iterator[logged_models.LoggedModel]:
        """Those that are not deleted, oldest first."""
        token = ""
        while True:
            request = logged_models.SearchLoggedModels(
                experiment_ids=(experiment_id,),
                order_by=(logged_models.OrderBy(field_name="creation_timestamp"),),
                max_results=_MODELS_A_PAGE,
                page_token=token,
            )
            page = self.transport.call(answers.SEARCH_LOGGED_MODELS, request)
            yield from page.models
            token = page.next_page_token
            if not token:
                return

    def iter_models(self) -> Iterator[registry.RegisteredModel]:
        """By name; then the prompts, which some servers list only when they are asked for."""
        known: set[str] = set()
        for text in ("", _PROMPTS):
            token = ""
            while True:
                request = registry.Search(filter=text, max_results=100, order_by=("name ASC",), page_token=token)
                page = self.transport.call(answers.SEARCH_MODELS, request)
                yield from (model for model in page.registered_models if model.name not in known)
                known.update(model.name for model in page.registered_models)
                token = page.next_page_token
                if not token:
                    break

    def list_versions(self, model: registry.RegisteredModel) -> list[registry.ModelVersion]:
        """Lowest number first."""
        quote = '"' if "'" in model.name else "'"
        text = f"name = {quote}{model.name}{quote}"
        if "'" in model.name and '"' in model.name:  # for which a filter has no quotes
            text = 'name LIKE "' + model.name.replace('"', "_") + '"'
        if any(tag.key == "mlflow.prompt.is_prompt" for tag in model.tags):
            text += f" AND {_PROMPTS}"
        found: list[registry.ModelVersion] = []
        token = ""
        while True:
            request = registry.SearchVersions(filter=text, max_results=1000, page_token=token)
            page = self.transport.call(answers.SEARCH_VERSIONS, request)
            found += (version for version in page.model_versions if version.name == model.name)
            token = page.next_page_token
            if not token:
                return sorted(found, key=lambda version: int(version.version))
