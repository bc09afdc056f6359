"""Taking in model versions as they were, and runs and logged models under the ids that the client says."""

import re

from lockgate.errors import AlreadyExists, InvalidInput, NotFound
from lockgate.ids import RUN_ID, new_name
from lockgate.metadata import experiments, logged_models, runs, versions
from lockgate.metadata.limits import require_unique
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import admin, contributor
from lockgate.server.numbers import experiment_number
from lockgate.server.subjects import of_begun_run
from lockgate.wire import adoption as wire
from lockgate.wire.mlflow.registry import CreateVersion
from lockgate.wire.operation import Empty

# Ids are names of folders as well; these are what the columns hold.
_RUN_ID = re.compile(r"(?!models$)[a-zA-Z0-9][\w\-]{0,31}", re.ASCII)  # beside runs, `models` has the logged models
_MODEL_ID = re.compile(r"m-[\w\-]{1,38}", re.ASCII)


def adopt_run(ctx: Context, request: wire.AdoptRun) -> wire.Adopted:
    """A run with status RUNNING."""
    _require_id(request.run_id, _RUN_ID)
    with ctx.write() as tx:
        if runs.is_known(tx.connection, request.run_id):
            there = runs.get_run(tx.connection, request.run_id)
            raise AlreadyExists(
                f"the run {request.run_id} is here already, in the experiment {there['experiment_id']}.",
                hint="perhaps it was imported before, under another prefix",
            )
        row = runs.create_run(
            tx,
            request.run_id,
            experiment_id=experiment_number(request.experiment_id),
            run_name=request.run_name or new_name(),
            user_id=request.user_id,
            start_time=request.start_time or 0,
            tags={tag.key: tag.value for tag in request.tags},
        )
        return wire.Adopted(artifact_uri=row["artifact_uri"])


def begin_run(ctx: Context, request: wire.BeginRun) -> Empty:
    """A run that is there is begun, whatever its experiment is called by now; who may log to it is asked then."""
    _require_id(request.run_id, RUN_ID)
    with ctx.read() as connection:
        if runs.is_known(connection, request.run_id):  # most often: no decision, and no line in the audit
            return Empty()
    with ctx.write() as tx:
        if runs.is_known(tx.connection, request.run_id):
            return Empty()
        found = experiments.find_experiment(tx.connection, request.experiment)
        runs.create_run(
            tx,
            request.run_id,
            experiment_id=found["experiment_id"] if found else experiments.create_experiment(tx, request.experiment),
            run_name=request.run_name or new_name(),
            user_id=ctx.user,
            start_time=request.start_time,
            tags={},
        )
    return Empty()


def adopt_logged_model(ctx: Context, request: wire.AdoptLoggedModel) -> wire.Adopted:
    _require_id(request.model_id, _MODEL_ID)
    require_unique([param.key for param in request.params])
    with ctx.write() as tx:
        try:
            there = logged_models.get_logged_model(tx.connection, request.model_id, allow_deleted=True)
        except NotFound:
            pass
        else:
            raise AlreadyExists(
                f"the logged model {request.model_id} is here already, in the experiment {there['experiment_id']}."
            )
        logged_models.create_logged_model(
            tx,
            request.model_id,
            experiment_id=experiment_number(request.experiment_id),
            name=request.name or f"model-{request.model_id[2:10]}",
            model_type=request.model_type,
            source_run_id=request.source_run_id,
            params={param.key: param.value for param in request.params},
            tags={tag.key: tag.value for tag in request.tags},
        )
        made = logged_models.get_logged_model(tx.connection, request.model_id)
        return wire.Adopted(artifact_uri=made["artifact_uri"])


def adopt_version(ctx: Context, request: CreateVersion) -> wire.AdoptedVersion:
    """Its run may be gone, so that nobody can be asked whose its source is; who reads files there is asked then."""
    with ctx.write() as tx:
        version = versions.create_version(
            tx,
            request.name,
            source=request.source,
            run_id=request.run_id or "",
            run_link=request.run_link,
            model_id=request.model_id or "",
            description=request.description,
            tags={tag.key: tag.value for tag in request.tags},
        )
    return wire.AdoptedVersion(version=version)


def _require_id(text: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(text):
        raise InvalidInput(f"{text[:60]!r} cannot be an id here: it does not match {pattern.pattern}.")


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.BEGIN_RUN, begin_run, contributor(of_begun_run)),
    Route(wire.ADOPT_RUN, adopt_run, admin()),
    Route(wire.ADOPT_LOGGED_MODEL, adopt_logged_model, admin()),
    Route(wire.ADOPT_VERSION, adopt_version, admin()),
)
