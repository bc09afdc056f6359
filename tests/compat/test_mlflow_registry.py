"""The released mlflow client on what Lockgate's registry adds: prompts, copies, folders, and gates that hold."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from lockgate.config import Settings  # noqa: E402
from lockgate.entities import Approval, Check, Content, Release, Verdict  # noqa: E402
from lockgate.server import courier  # noqa: E402
from lockgate.testing.receiver import Received, Receiver  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own warnings are not ours to fix


@pytest.fixture
def settings() -> Settings:
    return Settings(webhook_private_addresses=True)


def release(served: Any, *, passed: bool | None) -> int:
    """A version that its gates let pass, refused, or were never asked about."""
    reason = "passed" if passed else "auc is 0.7"
    check = Check(gate="auc >= 0.8", kind="bound", status="passed" if passed else "failed", reason=reason)
    verdict = Verdict(passed=bool(passed), checks=(check,), metrics={}, champion_version=None, rows=9, decided_at=1)
    made = Release(
        model="churn",
        version=0,
        content=Content(kind="tree", digest="a" * 64, size_bytes=1),
        run_id="",
        created_at=1,
        created_by="me",
        flavor="sklearn",
        verdict=None if passed is None else verdict,
    )
    return int(served.client.registry.create_release(made).version)


def test_prompts_are_registered_loaded_and_searched(client: MlflowClient) -> None:
    mlflow.genai.register_prompt("greet", "Hello {{name}}", commit_message="first", tags={"a": "b"})
    second = mlflow.genai.register_prompt("greet", "Hi {{name}}")
    assert second.version == 2
    assert mlflow.genai.load_prompt("greet").version == 2
    assert mlflow.genai.load_prompt("prompts:/greet/1").format(name="Ada") == "Hello Ada"
    client.set_prompt_alias("greet", "live", 1)
    assert mlflow.genai.load_prompt("prompts:/greet@live").version == 1
    client.set_prompt_tag("greet", "team", "crm")
    client.set_prompt_version_tag("greet", "1", "seen", "yes")
    assert client.get_prompt("greet").tags["team"] == "crm"
    assert client.get_prompt_version("greet", "1").tags == {"a": "b", "seen": "yes"}
    assert [prompt.name for prompt in client.search_prompts()] == ["greet"]
    assert [version.version for version in client.search_prompt_versions("greet")] == [2, 1]
    chat = [{"role": "user", "content": "{{question}}"}]
    mlflow.genai.register_prompt("chat", chat)
    assert mlflow.genai.load_prompt("chat").template == chat


def test_prompts_are_deleted(client: MlflowClient) -> None:
    mlflow.genai.register_prompt("greet", "Hello")
    client.set_prompt_alias("greet", "live", 1)
    client.delete_prompt_alias("greet", "live")
    with pytest.raises(MlflowException, match="alias live not found"):
        mlflow.genai.load_prompt("prompts:/greet@live")
    client.delete_prompt_version("greet", "1")
    client.delete_prompt("greet")
    assert mlflow.genai.load_prompt("greet", allow_missing=True) is None


def test_a_model_cannot_take_the_name_of_a_prompt(client: MlflowClient) -> None:
    mlflow.genai.register_prompt("greet", "Hello")
    with pytest.raises(MlflowException) as taken:
        client.create_registered_model("greet")
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_a_version_is_copied_with_its_files_tags_and_description(client: MlflowClient) -> None:
    client.create_registered_model("a")
    client.create_model_version("a", "s3://b/x", run_id="r", tags={"k": "v"}, description="good")
    client.set_registered_model_alias("a", "best", "1")
    copy = client.copy_model_version("models:/a@best", "b")
    assert (copy.version, copy.source, copy.run_id, copy.tags, copy.description) == (
        "1",
        "models:/a/1",
        "r",
        {"k": "v"},
        "good",
    )
    assert client.get_model_version_download_uri("b", "1") == "s3://b/x"
    assert client.copy_model_version("models:/b/1", "b").version == "2"


def test_folders_hold_models(client: MlflowClient, served) -> None:
    client.create_registered_model("team%2Fchurn")
    client.create_model_version("team%2Fchurn", "s3://b/x")
    client.set_registered_model_alias("team%2Fchurn", "best", "1")
    client.create_registered_model("other")
    assert client.get_model_version_by_alias("team%2Fchurn", "best").name == "team/churn"
    assert client.copy_model_version("models:/team%2Fchurn@best", "team%2Fcopy").name == "team/copy"
    found = client.search_registered_models("name LIKE 'team/%'", order_by=["name ASC"])
    assert [model.name for model in found] == ["team/churn", "team/copy"]
    assert [model.name for model in served.client.registry.list_models("team/")] == ["team/churn", "team/copy"]


def test_model_in_a_folder_is_registered_and_downloaded_by_alias(client: MlflowClient, tmp_path: Path) -> None:
    """The client takes a slash in a name for the next part of a URI, and refuses one where it sets an alias."""
    name = "team%2Fchurn"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(tmp_path / "model"), "model")
    first = mlflow.register_model(f"runs:/{run.info.run_id}/model", name, tags={"k": "v"})
    second = mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
    assert [(made.name, made.version) for made in (first, second)] == [("team/churn", "1"), ("team/churn", "2")]
    client.set_registered_model_alias(name, "best", "1")
    found = client.get_model_version_by_alias(name, "best")
    assert (found.name, found.version, found.run_id, found.tags) == ("team/churn", "1", run.info.run_id, {"k": "v"})
    assert [item.version for item in client.search_model_versions("name = 'team/churn'")] == ["2", "1"]
    client.transition_model_version_stage(name, "1", "Production")
    for suffix in ("@best", "/1", "/latest", "/Production"):
        back = mlflow.artifacts.download_artifacts(
            f"models:/team%2Fchurn{suffix}", dst_path=str(tmp_path / suffix.strip("@/"))
        )
        assert (Path(back) / "MLmodel").read_text() == "flavors: {}", suffix
    assert mlflow.artifacts.load_text("models:/team%2Fchurn@best/MLmodel") == "flavors: {}"
    client.delete_registered_model_alias(name, "best")
    client.delete_model_version(name, "2")
    client.rename_registered_model(name, "team%2Fother")
    assert client.get_model_version("team/other", "1").current_stage == "Production"


def test_an_environment_does_not_move_past_a_failed_gate(client: MlflowClient, served) -> None:
    refused = release(served, passed=False)
    served.client.registry.declare_environments("churn", {"staging": 0, "production": 0}, may_loosen=False)
    for alias in ("production", "staging", "champion", "challenger"):
        with pytest.raises(MlflowException) as error:
            client.set_registered_model_alias("churn", alias, str(refused))
        assert error.value.error_code == "INVALID_STATE"
        environment = alias if alias in ("production", "staging") else "production"
        assert str(error.value) == (
            "INVALID_STATE: version 1 of churn was refused by its gates: auc >= 0.8 (auc is 0.7). To go on: "
            f"lockgate deploy churn@1 --to {environment} --override --reason TEXT"
        )
    client.set_registered_model_alias("churn", "to-look-at", str(refused))  # stands for nothing
    assert dict(client.get_registered_model("churn").aliases) == {"to-look-at": "1"}
    passed = release(served, passed=True)
    client.set_registered_model_alias("churn", "production", str(passed))
    assert client.get_model_version_by_alias("churn", "production").version == "2"


def test_a_version_that_no_gate_has_judged_does_not_enter_an_environment(client: MlflowClient, served) -> None:
    release(served, passed=True)
    served.client.registry.declare_environments("churn", {"production": 0}, may_loosen=False)
    outside = client.create_model_version("churn", "s3://b/x")
    with pytest.raises(MlflowException, match="no gate has judged version 2 of churn") as error:
        client.set_registered_model_alias("churn", "production", outside.version)
    assert error.value.error_code == "INVALID_STATE"
    assert "To go on: have a stage of lockgate.yaml make it" in str(error.value)


def test_a_copy_of_what_was_refused_stays_out(client: MlflowClient, served) -> None:
    refused = release(served, passed=False)
    copy = client.copy_model_version(f"models:/churn/{refused}", "churn")
    for move in (
        lambda: client.set_registered_model_alias("churn", "champion", copy.version),
        lambda: client.set_registered_model_alias("churn", "production", copy.version),
        lambda: client.transition_model_version_stage("churn", copy.version, "Production"),
    ):
        with pytest.raises(MlflowException, match="no gate has judged version 2 of churn") as error:
            move()
        assert str(error.value).endswith("of a copy, take the version that was judged")
    assert dict(client.get_registered_model("churn").aliases) == {}


def test_production_is_an_environment_of_every_model_with_releases(client: MlflowClient, served) -> None:
    refused, passed = release(served, passed=False), release(served, passed=True)
    for move in (
        lambda: client.set_registered_model_alias("churn", "production", str(refused)),
        lambda: client.transition_model_version_stage("churn", str(refused), "Production"),
    ):
        with pytest.raises(MlflowException, match="refused by its gates") as error:
            move()
        assert error.value.error_code == "INVALID_STATE"
    client.set_registered_model_alias("churn", "staging", str(refused))  # nobody said that it is an environment
    client.set_registered_model_alias("churn", "production", str(passed))
    assert client.get_model_version("churn", str(passed)).current_stage == "Production"


@pytest.mark.parametrize("stage", ["Archived", "Staging", "None"])
def test_version_that_leaves_its_stage_leaves_the_environment(client: MlflowClient, served, stage: str) -> None:
    version = str(release(served, passed=True))
    served.client.registry.declare_environments("churn", {"production": 0}, may_loosen=False)
    client.transition_model_version_stage("churn", version, "Production")
    client.transition_model_version_stage("churn", version, "Production")  # which leaves nothing
    assert dict(client.get_registered_model("churn").aliases) == {"production": "1"}
    client.transition_model_version_stage("churn", version, stage)
    assert client.get_model_version("churn", version).current_stage == stage
    assert dict(client.get_registered_model("churn").aliases) == {}
    newest = served.client.registry.alias_history("churn")[0]
    assert (newest.from_version, newest.to_version, newest.reason) == (1, None, f"moved to stage {stage}")


def test_missing_approvals_keep_a_version_out(client: MlflowClient, served) -> None:
    version = release(served, passed=True)
    served.client.registry.declare_environments("churn", {"staging": 0, "production": 1}, may_loosen=False)
    client.set_registered_model_alias("churn", "staging", str(version))
    client.set_registered_model_alias("churn", "challenger", str(version))
    for alias in ("production", "champion"):
        with pytest.raises(MlflowException) as error:
            client.set_registered_model_alias("churn", alias, str(version))
        assert error.value.error_code == "PERMISSION_DENIED"
        assert "lockgate approve churn@1 --for production" in str(error.value)
    served.client.registry.approve(
        Approval(model="churn", version=version, environment="production", approver="bea", approved_at=1)
    )
    client.set_registered_model_alias("churn", "production", str(version))


def test_stages_called_like_environments_obey_them(client: MlflowClient, served) -> None:
    refused, passed = release(served, passed=False), release(served, passed=True)
    served.client.registry.declare_environments("churn", {"staging": 0, "production": 0}, may_loosen=False)
    with pytest.raises(MlflowException, match="refused by its gates"):
        client.transition_model_version_stage("churn", str(refused), "Production")
    assert client.get_model_version("churn", str(refused)).current_stage == "None"
    client.transition_model_version_stage("churn", str(passed), "Production")
    assert dict(client.get_registered_model("churn").aliases) == {"production": "2"}
    history = served.client.registry.alias_history("churn")
    assert [(change.alias, change.to_version, change.reason) for change in history] == [
        ("production", 2, "moved to stage Production")
    ]


def test_stages_follow_the_aliases_of_environments(client: MlflowClient, served) -> None:
    versions = [release(served, passed=True) for _ in range(2)]
    served.client.registry.declare_environments("churn", {"staging": 0, "production": 0}, may_loosen=False)
    for version in versions:
        served.client.registry.set_alias("churn", "production", version, reason="canary was fine")
        assert [found.version for found in client.get_latest_versions("churn", ["Production"])] == [str(version)]
    assert client.get_model_version("churn", str(versions[0])).current_stage == "Archived"
    client.delete_registered_model_alias("churn", "production")
    assert client.get_latest_versions("churn", ["Production"]) == []


def test_a_version_in_two_environments_is_in_the_stage_of_one_that_it_is_in(client: MlflowClient, served) -> None:
    for _ in range(2):
        release(served, passed=True)
    registry = served.client.registry
    registry.declare_environments("churn", {"staging": 0, "production": 0}, may_loosen=False)

    def stages() -> list[str]:
        return [client.get_model_version("churn", number).current_stage for number in ("1", "2")]

    registry.set_alias("churn", "production", 1)
    registry.set_alias("churn", "staging", 1)
    assert stages() == ["Production", "None"]
    registry.set_alias("churn", "production", 2)
    assert stages() == ["Staging", "Production"]
    registry.set_alias("churn", "staging", 2)
    assert stages() == ["Archived", "Production"]
    client.transition_model_version_stage("churn", "2", "Production")
    assert dict(client.get_registered_model("churn").aliases) == {"production": "2", "staging": "2"}
    client.transition_model_version_stage("churn", "2", "None")
    assert dict(client.get_registered_model("churn").aliases) == {}


def test_a_page_of_models_shows_each_as_it_is_shown_alone(client: MlflowClient) -> None:
    for name, stages in (("bare", []), ("churn", ["Staging", "None", "Staging"]), ("fraud", ["None", "Production"])):
        client.create_registered_model(name, tags={"team": name} if stages else None)
        for number, stage in enumerate(stages, 1):
            client.create_model_version(name, f"s3://models/{name}/{number}", tags={"number": str(number)})
            client.set_registered_model_alias(name, f"number-{number}", str(number))
            client.transition_model_version_stage(name, str(number), stage)
    page = {model.name: model for model in client.search_registered_models()}
    assert list(page) == ["bare", "churn", "fraud"]
    assert {name: [found.version for found in model.latest_versions] for name, model in page.items()} == {
        "bare": [],
        "churn": ["3", "2"],  # in the order in which its stages were first used
        "fraud": ["1", "2"],
    }
    for name, model in page.items():
        alone = client.get_registered_model(name)
        assert (model.tags, model.aliases) == (alone.tags, alone.aliases)
        assert [dict(found) for found in model.latest_versions] == [dict(found) for found in alone.latest_versions]
    assert page["churn"].latest_versions[0].tags == {"number": "3"}
    assert page["fraud"].latest_versions[1].aliases == ["number-2"]


def test_environment_that_is_written_like_a_stage_is_held_by_it(client: MlflowClient, served) -> None:
    refused, passed = release(served, passed=False), release(served, passed=True)
    served.client.registry.declare_environments("churn", {"Production": 0}, may_loosen=False)
    with pytest.raises(MlflowException, match="refused by its gates"):
        client.transition_model_version_stage("churn", str(refused), "Production")
    client.transition_model_version_stage("churn", str(passed), "Production")
    assert dict(client.get_registered_model("churn").aliases) == {"Production": "2"}


def test_every_version_that_changes_its_stage_is_told_of_once(client: MlflowClient, served) -> None:
    for _ in range(2):
        release(served, passed=True)
    served.client.registry.declare_environments("churn", {"production": 0}, may_loosen=False)
    client.transition_model_version_stage("churn", "1", "Production")
    client.transition_model_version_stage("churn", "2", "Production", archive_existing_versions=True)
    told = [
        (event.subject, event.details["stage"])
        for event in served.client.events.list_events()
        if event.kind == "version.staged"
    ]
    assert told == [("churn@1", "Production"), ("churn@1", "Archived"), ("churn@2", "Production")]


def test_a_registry_without_releases_is_as_free_as_mlflow_s(client: MlflowClient) -> None:
    client.create_registered_model("plain")
    client.create_model_version("plain", "s3://b/x")
    for alias in ("champion", "production"):
        client.set_registered_model_alias("plain", alias, "1")
    client.transition_model_version_stage("plain", "1", "Production")
    assert dict(client.get_registered_model("plain").aliases) == {"champion": "1", "production": "1"}


def test_what_is_not_there_is_said_in_mlflows_words(client: MlflowClient) -> None:
    client.create_registered_model("m")
    client.create_model_version("m", "s3://b/x")
    mlflow.genai.register_prompt("greet", "Hello")
    mlflow.delete_experiment(mlflow.create_experiment("gone"))
    for ask, words in (
        (lambda: client.get_registered_model("nobody"), "Registered Model with name=nobody not found"),
        (lambda: client.get_model_version("m", "9"), r"Model Version \(name=m, version=9\) not found"),
        (lambda: client.create_registered_model("m"), r"Registered Model \(name=m\) already exists"),
        (lambda: client.rename_registered_model("m", "greet"), r"Registered Model \(name=greet\) already exists"),
        (lambda: mlflow.create_experiment("Default"), r"Experiment\(name=Default\) already exists"),
        (lambda: mlflow.create_experiment("gone"), r"Experiment\(name=gone\) already exists. It is deleted"),
        (lambda: mlflow.genai.load_prompt("greet", version=9), r"Prompt \(name=greet, version=9\) not found"),
    ):
        with pytest.raises(MlflowException, match=words):
            ask()


def test_errors_are_of_mlflows_classes(client: MlflowClient) -> None:
    client.create_registered_model("m")
    for ask, expected in (
        (lambda: client.get_registered_model("nobody"), ("RESOURCE_DOES_NOT_EXIST", "KAM00", "RESOURCE_NOT_FOUND")),
        (lambda: client.create_registered_model("m"), ("RESOURCE_ALREADY_EXISTS", "KAM00", "RESOURCE_ALREADY_EXISTS")),
        (lambda: client.get_model_version("m", "x"), ("INVALID_PARAMETER_VALUE", "KAM00", "INVALID_PARAMETER_VALUE")),
    ):
        with pytest.raises(MlflowException) as refused:
            ask()
        assert (refused.value.error_code, refused.value.sqlstate, refused.value.error_class) == expected


def test_renaming_a_model_changes_its_versions(client: MlflowClient) -> None:
    client.create_registered_model("m")
    client.create_model_version("m", "s3://b/x")
    before = client.get_model_version("m", "1").last_updated_timestamp
    client.rename_registered_model("m", "n")
    renamed = client.get_registered_model("n").last_updated_timestamp
    assert client.get_model_version("n", "1").last_updated_timestamp == renamed >= before


def test_logged_model_tells_by_a_tag_where_it_is_registered(client: MlflowClient) -> None:
    def registered() -> Any:
        return json.loads(mlflow.get_logged_model(logged.model_id).tags.get("mlflow.modelVersions", "[]"))

    logged = mlflow.initialize_logged_model(name="ext")
    client.create_registered_model("m")
    assert registered() == []
    for _ in range(2):
        client.create_model_version("m", f"models:/{logged.model_id}", model_id=logged.model_id)
    assert registered() == [{"name": "m", "version": 1}, {"name": "m", "version": 2}]
    mlflow.register_model(f"models:/{logged.model_id}", "other")  # where the client sets the tag itself
    client.rename_registered_model("m", "n")
    client.delete_model_version("n", "1")
    assert registered() == [{"name": "n", "version": 2}, {"name": "other", "version": 1}]
    for name in ("n", "other"):
        client.delete_registered_model(name)
    assert registered() == []


def test_moves_through_the_client_are_kept(client: MlflowClient, served) -> None:
    client.create_registered_model("m")
    for _ in range(2):
        client.create_model_version("m", "s3://b/x")
    client.set_registered_model_alias("m", "best", "1")
    client.set_registered_model_alias("m", "best", "2")
    client.delete_registered_model_alias("m", "best")
    moves = [(change.from_version, change.to_version) for change in served.client.registry.alias_history("m")]
    assert moves == [(2, None), (1, 2), (None, 1)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


def test_webhooks_of_mlflow_are_told_what_mlflow_tells(client: MlflowClient, served, receiver: Receiver) -> None:
    events = [
        *("registered_model.created", "model_version.created", "model_version_tag.set", "model_version_tag.deleted"),
        *("model_version_alias.created", "model_version_alias.deleted", "prompt.created", "prompt_version.created"),
        *("prompt_alias.created", "prompt_tag.set", "prompt_tag.deleted", "prompt_version_tag.set"),
    ]
    webhook = client.create_webhook("all", receiver.url, events, description="d", secret="s")
    assert {str(event) for event in client.get_webhook(webhook.webhook_id).events} == set(events)
    assert client.test_webhook(webhook.webhook_id).success
    assert [item.event for item in receiver.take_all()] == ["model_version.created"]

    client.create_registered_model("m", tags={"a": "1"}, description="d")
    client.create_model_version("m", "s3://b/x", tags={"b": "2"})
    client.set_model_version_tag("m", "1", "k", "v")
    client.delete_model_version_tag("m", "1", "k")
    for _ in range(2):  # who sets it again is heard again
        client.set_registered_model_alias("m", "best", "1")
    client.delete_registered_model_alias("m", "best")
    client.set_registered_model_tag("m", "no", "event")  # only prompts tell of these
    mlflow.genai.register_prompt("greet", "Hello {{name}}")
    # The client tags a new prompt with its experiment in a thread of its own.
    for thread in threading.enumerate():
        if thread.name.startswith("link_prompt_to_experiment"):
            thread.join()
    heard = all_told(served, receiver)
    assert [item.event for item in heard].count("model_version_alias.created") == 2
    assert "prompt_tag.set" in {item.event for item in heard}
    told = {item.event: item.message["data"] for item in heard}
    assert told["registered_model.created"] == {"name": "m", "tags": {"a": "1"}, "description": "d"}
    assert told["model_version.created"] == {
        "name": "m",
        "version": "1",
        "source": "s3://b/x",
        "run_id": None,
        "tags": {"b": "2"},
        "description": None,
    }
    assert told["model_version_tag.set"] == {"name": "m", "version": "1", "key": "k", "value": "v"}
    assert told["model_version_tag.deleted"] == {"name": "m", "version": "1", "key": "k"}
    assert told["model_version_alias.created"] == {"name": "m", "alias": "best", "version": "1"}
    assert told["model_version_alias.deleted"] == {"name": "m", "alias": "best"}
    assert told["prompt.created"]["name"] == "greet"
    assert "mlflow.prompt.is_prompt" not in told["prompt.created"]["tags"]
    assert told["prompt_version.created"]["template"] == "Hello {{name}}"

    # An alias that is not there is gone as well; a version is a prompt's by its own mark, a tag by its model's.
    client.delete_registered_model_alias("m", "best")
    client.create_model_version("greet", "s3://b/x", tags={"mlflow.prompt.text": "Hi"})
    client.delete_prompt_tag("greet", "mlflow.prompt.is_prompt")
    gone, made = all_told(served, receiver)
    assert (gone.event, gone.message["data"]) == ("model_version_alias.deleted", {"name": "m", "alias": "best"})
    assert (made.event, made.message["data"]["tags"]) == ("model_version.created", {"mlflow.prompt.text": "Hi"})


def all_told(served, receiver: Receiver) -> list[Received]:
    for webhook_id in courier.waiting(served.context):
        while courier.deliver(served.context, webhook_id):
            pass
    return receiver.take_all()


def test_webhooks_are_listed_changed_and_deleted(client: MlflowClient, served, receiver: Receiver) -> None:
    made = [client.create_webhook(f"w{i}", receiver.url, ["registered_model.created"]) for i in range(3)]
    own = served.client.webhooks.add_webhook("own", receiver.url, ["rollout.changed"])
    page = client.list_webhooks(max_results=2)
    rest = client.list_webhooks(max_results=2, page_token=page.token)
    assert {hook.webhook_id for hook in [*page, *rest]} == {hook.webhook_id for hook in made}
    for ask in (client.get_webhook, client.test_webhook):
        with pytest.raises(MlflowException) as refused:
            ask(own.webhook_id)
        assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    changed = client.update_webhook(made[0].webhook_id, name="new", status="DISABLED", events=["prompt.created"])
    assert (changed.name, str(changed.status), [str(event) for event in changed.events]) == (
        "new",
        "DISABLED",
        ["prompt.created"],
    )
    client.create_registered_model("m")
    for webhook_id in courier.waiting(served.context):
        assert courier.deliver(served.context, webhook_id)
    assert len(receiver.take_all()) == 2  # the disabled one hears nothing
    client.delete_webhook(made[0].webhook_id)
    with pytest.raises(MlflowException) as missing:
        client.get_webhook(made[0].webhook_id)
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_webhook_that_is_refused_says_what_it_heard(client: MlflowClient) -> None:
    events = ["registered_model.created", "model_version_alias.created", "model_version.created"]
    with Receiver([404]) as receiver:
        hook = client.create_webhook("w", receiver.url, events)
        assert [str(event) for event in hook.events] == [events[2], events[1], events[0]]
        tried = client.test_webhook(hook.webhook_id)
    assert (tried.success, tried.response_status, tried.error_message) == (False, 404, None)


def test_changing_a_webhook_keeps_the_events_that_mlflow_does_not_know(client: MlflowClient, served, receiver) -> None:
    both = served.client.webhooks.add_webhook("both", receiver.url, ["gate.decided", "prompt.created"])
    assert [str(event) for event in client.get_webhook(both.webhook_id).events] == ["prompt.created"]
    client.update_webhook(both.webhook_id, events=["registered_model.created"])
    (found,) = served.client.webhooks.list_webhooks()
    assert found.events == ("registered_model.created", "gate.decided")
