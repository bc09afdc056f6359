"""The released mlflow client logs in, with a token and with a password, and manages users."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.client.client import Client
from lockgate.clock import SystemClock
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.local import LocalTransport
from lockgate.server.run import serve_in_thread

mlflow = pytest.importorskip("mlflow")

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Guarded:
    """A server where everybody logs in: `ada` is an admin, `bob` only logs to what is called churn."""

    url: str
    token_of_bob: str
    client: Client


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_setting: str) -> Iterator[Guarded]:
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where mlflow keeps credentials of its own
    context = open_context(tmp_path / "state", user="tester", clock=SystemClock(), database=database_setting)
    client = Client(LocalTransport(context), SystemClock())
    client.access.add_user("ada", password=PASSWORD, role="admin")
    client.access.add_user("bob", role="contributor", pattern="churn")
    client.tracking.ensure_experiment("churn")
    app = make_app(context)
    before = mlflow.get_tracking_uri()
    with serve_in_thread(app) as server:
        mlflow.set_tracking_uri(server.url)
        yield Guarded(server.url, client.access.create_token("bob").text, client)
    mlflow.set_tracking_uri(before)
    app.close()
    context.close()


def test_token_lets_training_code_log_to_what_is_its_users(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", guarded.token_of_bob)
    client = mlflow.MlflowClient()
    number = client.get_experiment_by_name("churn").experiment_id
    with mlflow.start_run(experiment_id=number) as run:
        mlflow.log_metric("loss", 0.5)
        mlflow.log_param("depth", 3)
        mlflow.log_text("hello", "notes.txt")
    found = client.get_run(run.info.run_id)
    assert found.data.metrics == {"loss": 0.5}
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes.txt") == "hello"
    assert [found.name for found in mlflow.search_experiments()] == ["churn"]
    with pytest.raises(mlflow.MlflowException, match="needs the role contributor on 'fraud'") as refused:
        client.create_experiment("fraud")
    assert refused.value.error_code == "PERMISSION_DENIED"


def test_user_name_and_password_let_in(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    client = mlflow.MlflowClient()
    client.create_registered_model("churn")
    assert client.get_registered_model("churn").name == "churn"
    (made,) = guarded.client.access.list_audit(model="churn", limit=1)
    assert (made.by, made.operation) == ("ada", "mlflow:POST:registered-models/create")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"MLFLOW_TRACKING_TOKEN": "lockgate_000000000000_" + "0" * 64},
        {"MLFLOW_TRACKING_TOKEN": "something else"},
        {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "wrong"},
        {"MLFLOW_TRACKING_USERNAME": "nobody", "MLFLOW_TRACKING_PASSWORD": PASSWORD},
    ],
    ids=["nothing", "unknown token", "no token", "wrong password", "unknown user"],
)
def test_client_is_told_that_it_must_log_in(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(mlflow.MlflowException) as refused:
        mlflow.MlflowClient().get_experiment("0")
    assert refused.value.error_code == "UNAUTHENTICATED"


def test_users_are_managed_by_mlflows_own_requests(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    # What mlflow's AuthServiceClient sends, by the function that sends it; its own module needs a web framework.
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)

    def send(name: str, method: str, **values: Any) -> Any:
        endpoint = f"/api/2.0/mlflow/users/{name}"
        answer = http_request(get_default_host_creds(guarded.url), endpoint, method, **values)
        return verify_rest_response(answer, endpoint).json()

    made = send("create", "POST", json={"username": "eve", "password": "a long password"})["user"]
    assert made == {"id": made["id"], "username": "eve", "is_admin": False}
    assert send("get", "GET", params={"username": "eve"})["user"] == made
    send("update-admin", "PATCH", json={"username": "eve", "is_admin": True})
    send("update-password", "PATCH", json={"username": "eve", "password": "another password"})
    listed = {user["username"]: user["is_admin"] for user in send("list", "GET")["users"]}
    assert listed == {"ada": True, "bob": False, "eve": True}
    with pytest.raises(mlflow.MlflowException, match="the current password is needed"):
        send("update-password", "PATCH", json={"username": "ada", "password": "another password"})
    with pytest.raises(mlflow.MlflowException, match="logged in as"):
        send("delete", "DELETE", json={"username": "ada"})
    send("delete", "DELETE", json={"username": "eve"})
    with pytest.raises(mlflow.MlflowException) as missing:
        send("get", "GET", params={"username": "eve"})
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    current = send("current", "GET")
    assert current["user"]["username"] == "ada"
    assert current["is_basic_auth"] is True


def test_users_are_not_managed_by_others_than_admins(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", guarded.token_of_bob)

    def status(name: str, method: str, **values: Any) -> int:
        answer = http_request(get_default_host_creds(guarded.url), f"/api/2.0/mlflow/users/{name}", method, **values)
        return int(answer.status_code)

    assert status("list", "GET") == 403
    assert status("create", "POST", json={"username": "eve", "password": "a long password"}) == 403
    assert status("update-admin", "PATCH", json={"username": "bob", "is_admin": True}) == 403
    assert status("delete", "DELETE", json={"username": "ada"}) == 403
    assert status("get", "GET", params={"username": "ada"}) == 403
    assert status("get", "GET", params={"username": "bob"}) == 200
    assert status("current", "GET") == 200
