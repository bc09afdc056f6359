"""Runs and logged models of another server come in under their own ids, once, and from an admin only.

So do versions whose run is gone.
"""

import pytest
from msgspec.structs import replace

from lockgate.errors import AlreadyExists, InvalidInput, NotFound
from lockgate.server.context import Context
from lockgate.server.local import LocalTransport
from lockgate.server.needs import admin
from lockgate.server.routes.adoption import ROUTES
from lockgate.wire.adoption import ADOPT_LOGGED_MODEL, ADOPT_RUN, ADOPT_VERSION, AdoptLoggedModel, AdoptRun
from lockgate.wire.mlflow import logged_models, registry, runs

RUN = "0123456789abcdef0123456789abcdef"
MODEL = "m-0123456789abcdef0123456789abcdef"


@pytest.fixture
def transport(context: Context) -> LocalTransport:
    return LocalTransport(context)


def test_run_has_the_id_user_and_time_it_had(transport: LocalTransport) -> None:
    request = AdoptRun(run_id=RUN, experiment_id="0", user_id="bob", run_name="old", start_time=5)
    uri = transport.call(ADOPT_RUN, request).artifact_uri
    info = transport.call(runs.GET_RUN, runs.OfRun(run_id=RUN)).run.info
    assert (info.user_id, info.run_name, info.start_time, info.status) == ("bob", "old", 5, "RUNNING")
    assert uri == info.artifact_uri


def test_logged_model_has_the_id_it_had(transport: LocalTransport) -> None:
    uri = transport.call(ADOPT_LOGGED_MODEL, AdoptLoggedModel(model_id=MODEL, experiment_id="0")).artifact_uri
    request = logged_models.GetLoggedModel(model_id=MODEL)
    info = transport.call(logged_models.GET_LOGGED_MODEL, request).model.info
    assert (info.model_id, info.status, info.artifact_uri) == (MODEL, "LOGGED_MODEL_PENDING", uri)


def test_id_that_is_taken_stays_with_whom_it_has(transport: LocalTransport) -> None:
    transport.call(ADOPT_RUN, AdoptRun(run_id=RUN, run_name="first"))
    with pytest.raises(AlreadyExists, match=f"{RUN} is here already, in the experiment 0"):
        transport.call(ADOPT_RUN, AdoptRun(run_id=RUN, run_name="second"))
    assert transport.call(runs.GET_RUN, runs.OfRun(run_id=RUN)).run.info.run_name == "first"
    transport.call(ADOPT_LOGGED_MODEL, AdoptLoggedModel(model_id=MODEL, experiment_id="0"))
    transport.call(logged_models.DELETE_LOGGED_MODEL, logged_models.OneLoggedModel(model_id=MODEL))
    with pytest.raises(AlreadyExists):
        transport.call(ADOPT_LOGGED_MODEL, AdoptLoggedModel(model_id=MODEL, experiment_id="0"))


@pytest.mark.parametrize("text", ["", "..", "models", "a/b", "a\\b", "ü" * 32, "a" * 33, "../../etc", "a\n"])
def test_what_could_not_be_a_folder_is_no_id(transport: LocalTransport, text: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be an id"):
        transport.call(ADOPT_RUN, AdoptRun(run_id=text))
    with pytest.raises(InvalidInput, match="cannot be an id"):
        transport.call(ADOPT_LOGGED_MODEL, AdoptLoggedModel(model_id=text, experiment_id="0"))


def test_experiment_must_be_there(transport: LocalTransport) -> None:
    with pytest.raises(NotFound):
        transport.call(ADOPT_RUN, AdoptRun(run_id=RUN, experiment_id="77"))


@pytest.mark.parametrize("source", [f"runs:/{RUN}/m", "mlflow-artifacts:/registered/churn/1", "/home/ann/m"])
def test_version_keeps_a_source_and_a_run_that_are_not_here(transport: LocalTransport, source: str) -> None:
    transport.call(registry.CREATE_MODEL, registry.CreateRegisteredModel(name="churn"))
    request = registry.CreateVersion(name="churn", source=source, run_id=RUN)
    with pytest.raises(InvalidInput, match="version source"):
        transport.call(registry.CREATE_VERSION, replace(request, run_id=None))
    assert transport.call(ADOPT_VERSION, request).version == 1
    one = registry.OneModelVersion(name="churn", version="1")
    found = transport.call(registry.GET_VERSION, one).model_version
    assert (found.source, found.run_id) == (source, RUN)


def test_only_an_admin_may() -> None:
    adopting = {route.operation for route in ROUTES if route.need == admin()}
    assert adopting == {ADOPT_RUN, ADOPT_LOGGED_MODEL, ADOPT_VERSION}
