import msgspec
import pytest

from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.entities import AliasChange, Approval, Check, Verdict
from lockgate.errors import AlreadyExists, Conflict, GateFailed, InvalidInput, NotFound, PermissionDenied
from lockgate.wire.mlflow import registry as mlflow


def test_release_gets_the_next_version_and_is_read_back_whole(client: Client, make_release) -> None:
    verdict = Verdict(
        passed=False,
        checks=(Check(gate="auc", kind="bound", status="failed", reason="too low", metric="auc", value=0.5),),
        metrics={"auc": 0.5},
        champion_version=None,
        rows=10,
        decided_at=1,
    )
    release = msgspec.structs.replace(make_release(), verdict=verdict, params={"depth": 3, "name": None}, commit="abc")
    first = client.registry.create_release(release)
    second = client.registry.create_release(make_release(digest="b" * 64))
    assert (first.version, second.version) == (1, 2)
    assert client.registry.get_release("churn", 1) == first == msgspec.structs.replace(release, version=1)
    assert [item.version for item in client.registry.list_releases("churn")] == [2, 1]
    assert [item.version for item in client.registry.list_releases("churn", limit=1)] == [2]


def test_versions_are_listed_with_and_without_a_release(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    client.transport.call(mlflow.CREATE_VERSION, mlflow.CreateVersion(name="churn", source="s3://b/x"))
    client.registry.set_alias("churn", "mine", 2)
    client.registry.set_version_tag("churn", 2, "k", "v")
    listed = client.registry.list_versions("churn")
    assert listed == [client.registry.get_version("churn", 2), client.registry.get_version("churn", 1)]
    assert (listed[0].source, listed[0].aliases, listed[0].tags) == ("s3://b/x", ("mine",), {"k": "v"})
    assert [item.version for item in client.registry.list_versions("churn", limit=1)] == [2]
    assert client.registry.list_versions("nobody") == []


def test_release_is_found_by_content(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    newest = client.registry.create_release(make_release())
    assert client.registry.find_release("churn", "a" * 64) == newest
    assert client.registry.find_release("churn", "c" * 64) is None
    assert client.registry.find_release("other", "a" * 64) is None


def test_missing_version_is_not_found_with_what_is_there(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    with pytest.raises(NotFound, match=r"version=7\) not found; its newest is 1") as found:
        client.registry.get_release("churn", 7)
    assert found.value.hint == "lockgate models show churn"


def test_alias_moves_are_kept_with_who_when_and_why(client: Client, clock: FakeClock, make_release) -> None:
    client.registry.create_release(make_release())
    client.registry.create_release(make_release())
    start = clock.now_ms()
    client.registry.set_alias("churn", "champion", 1, reason="first")
    clock.sleep(1)
    client.registry.set_alias("churn", "champion", 2, reason="better")
    client.registry.set_alias("churn", "champion", 2, reason="again")  # no move, no history
    clock.sleep(1)
    client.registry.delete_alias("churn", "champion", reason="gone")

    def change(before: int | None, after: int | None, at: int, reason: str) -> AliasChange:
        return AliasChange(
            model="churn",
            alias="champion",
            from_version=before,
            to_version=after,
            changed_at=at,
            changed_by="ann",
            reason=reason,
        )

    assert client.registry.alias_history("churn") == [
        change(2, None, start + 2000, "gone"),
        change(1, 2, start + 1000, "better"),
        change(None, 1, start, "first"),
    ]


def test_aliases_are_read_one_by_one_and_together(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    client.registry.set_alias("churn", "champion", 1)
    assert client.registry.get_alias("churn", "champion") == 1
    assert client.registry.get_alias("churn", "challenger") is None
    assert client.registry.list_aliases("churn") == {"champion": 1}
    assert client.registry.list_aliases("nobody") == {}
    client.registry.delete_alias("churn", "never-there")


@pytest.mark.parametrize(
    ("alias", "words"),
    [
        ("v3", "Version alias name 'v3' is reserved"),
        ("LATEST", "'latest' alias name \\(case insensitive\\) is reserved"),
        ("", "cannot be empty"),
        ("a b", "Names may only contain alphanumerics"),
        ("a/b", "Names may only contain alphanumerics"),
        ("a.b", "Names may only contain alphanumerics"),
        ("a\n", "Names may only contain alphanumerics"),
        ("x" * 256, "exceeds the maximum length of 255"),
    ],
)
def test_alias_that_mlflow_refuses_is_refused_in_its_words(
    client: Client, make_release, alias: str, words: str
) -> None:
    client.registry.create_release(make_release())
    with pytest.raises(InvalidInput, match=words):
        client.registry.set_alias("churn", alias, 1)


def test_alias_may_be_a_number_as_in_mlflow(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    client.registry.set_alias("churn", "5", 1)
    assert client.registry.get_alias("churn", "5") == 1


def test_alias_needs_an_existing_version(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    with pytest.raises(NotFound):
        client.registry.set_alias("churn", "champion", 2)


def test_models_and_versions_carry_tags_and_descriptions(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    client.registry.set_model_tag("churn", "team", "crm")
    client.registry.set_model_tag("churn", "old", "x")
    client.registry.set_model_tag("churn", "old", None)
    client.registry.set_model_description("churn", "who leaves")
    client.registry.set_version_tag("churn", 1, "reviewed", "yes")
    client.registry.set_version_description("churn", 1, "first")
    client.registry.set_alias("churn", "champion", 1)
    model = client.registry.get_model("churn")
    assert (model.tags, model.description, model.latest_version) == ({"team": "crm"}, "who leaves", 1)
    assert client.registry.list_models() == [model]
    version = client.registry.get_version("churn", 1)
    assert (version.tags, version.description, version.aliases) == ({"reviewed": "yes"}, "first", ("champion",))
    assert version.source == f"mlflow-artifacts:/content/{'a' * 64}"


def test_ensure_model_twice_makes_one(client: Client) -> None:
    assert client.registry.ensure_model("m") == client.registry.ensure_model("m")
    assert [item.name for item in client.registry.list_models()] == ["m"]


@pytest.mark.parametrize(
    "name", ["", " ", "a:b", "a@b", "a\\b", "a\nb", "x" * 257, "/a", "a/", "a//b", "a/../b", ".", "a%2fb"]
)
def test_model_name_that_no_uri_can_carry_is_refused(client: Client, name: str) -> None:
    with pytest.raises(InvalidInput):
        client.registry.ensure_model(name)


def test_folders_are_listed_by_their_prefix(client: Client) -> None:
    for name in ("team/churn", "team/fraud/v2", "teams", "other"):
        client.registry.ensure_model(name)
    assert [item.name for item in client.registry.list_models("team/")] == ["team/churn", "team/fraud/v2"]
    assert [item.name for item in client.registry.list_models("team%")] == []
    assert client.registry.get_model("team/fraud/v2").name == "team/fraud/v2"


def test_an_alias_that_is_an_environment_takes_only_what_may_enter_it(client: Client, make_release) -> None:
    checks = (Check(gate="auc", kind="bound", status="failed", reason="too low"),)
    refused = Verdict(passed=False, checks=checks, metrics={}, champion_version=None, rows=1, decided_at=1)
    client.registry.create_release(msgspec.structs.replace(make_release(), verdict=refused))
    client.registry.declare_environments("churn", {"production": 1}, may_loosen=False)
    for alias in ("Production", "production"):
        with pytest.raises(GateFailed, match=r"refused by its gates: auc \(too low\)") as error:
            client.registry.set_alias("churn", alias, 1)
    assert error.value.hint == "lockgate deploy churn@1 --to production --override --reason TEXT"
    passed = msgspec.structs.replace(refused, passed=True, checks=())
    client.registry.create_release(msgspec.structs.replace(make_release(), verdict=passed))
    with pytest.raises(PermissionDenied, match="1 missing, approved by nobody"):
        client.registry.set_alias("churn", "production", 2)
    client.registry.approve(Approval(model="churn", version=2, environment="production", approver="bob", approved_at=1))
    client.registry.set_alias("churn", "production", 2)
    assert client.registry.list_aliases("churn") == {"production": 2}


def test_an_approval_is_for_an_environment_that_is_declared(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    client.registry.declare_environments("churn", {"staging": 0, "production": 1}, may_loosen=False)
    word = Approval(model="churn", version=1, environment="PRODUCTION", approver="bob", approved_at=1)
    assert client.registry.approve(word).environment == "production"
    assert len(client.registry.list_approvals("churn", 1, "production")) == 1
    with pytest.raises(NotFound, match="churn has no environment 'nowhere'; it has: staging, production"):
        client.registry.approve(msgspec.structs.replace(word, environment="nowhere"))


def test_webhooks_are_added_listed_and_removed(client: Client) -> None:
    url = "https://example.com/hook"
    made = client.webhooks.add_webhook("a", url, ["gate.decided", "prompt.created"], secret="s3cret", description="d")
    assert (made.events, made.is_signed, made.status, made.created_by) == (
        ("prompt.created", "gate.decided"),
        True,
        "ACTIVE",
        "ann",
    )
    assert client.webhooks.list_webhooks() == [made]
    assert b"s3cret" not in msgspec.json.encode(client.webhooks.list_webhooks())
    for bad in ("http://example.com", "https://127.0.0.1/hook"):
        with pytest.raises(InvalidInput):
            client.webhooks.add_webhook("b", bad, ["gate.decided"])
    client.webhooks.remove_webhook(made.webhook_id)
    assert client.webhooks.list_webhooks() == []
    with pytest.raises(NotFound):
        client.webhooks.update_webhook(made.webhook_id, secret="n3w")
    with pytest.raises(NotFound):
        client.webhooks.test_webhook(made.webhook_id)


def test_a_webhook_of_own_events_is_changed_in_what_is_given(client: Client) -> None:
    made = client.webhooks.add_webhook("a", "https://example.com/hook", ["gate.decided"], description="d")
    hook = made.webhook_id
    assert client.webhooks.update_webhook(hook, secret="n3w") == msgspec.structs.replace(made, is_signed=True)
    assert client.webhooks.update_webhook(hook, secret="") == made
    assert client.webhooks.update_webhook(hook, is_active=False).status == "DISABLED"
    other = client.webhooks.update_webhook(hook, name="b", url=" https://b.example.com", events=["run.finished"])
    assert (other.name, other.url, other.events, other.status) == (
        "b",
        "https://b.example.com",
        ("run.finished",),
        "DISABLED",
    )
    assert client.webhooks.update_webhook(hook, is_active=True, description="").status == "ACTIVE"
    for bad in ({"url": "https://127.0.0.1/"}, {"url": ""}, {"events": []}, {"events": ["no.event"]}, {"name": ""}):
        with pytest.raises(InvalidInput):
            client.webhooks.update_webhook(hook, **bad)
    (found,) = client.webhooks.list_webhooks()
    assert (found.name, found.url, found.description) == ("b", "https://b.example.com", "")


def test_first_word_of_an_approver_stands(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    word = Approval(model="churn", version=1, environment="production", approver="bob", approved_at=1, comment="fine")
    assert client.registry.approve(word) == word
    assert client.registry.approve(msgspec.structs.replace(word, approved_at=2, comment="")) == word
    other = msgspec.structs.replace(word, approver="eve", approved_at=3)
    client.registry.approve(other)
    client.registry.approve(msgspec.structs.replace(word, environment="staging"))
    assert client.registry.list_approvals("churn", 1, "production") == [word, other]
    assert len(client.registry.list_approvals("churn", 1)) == 3
    with pytest.raises(NotFound):
        client.registry.approve(msgspec.structs.replace(word, version=9))


def test_what_was_released_cannot_be_deleted_or_renamed(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    with pytest.raises(Conflict, match="what was released is kept"):
        client.transport.call(mlflow.DELETE_VERSION, mlflow.OneModelVersion(name="churn", version="1"))
    with pytest.raises(Conflict, match="cannot be renamed"):
        client.transport.call(mlflow.RENAME_MODEL, mlflow.RenameModel(name="churn", new_name="other"))
    with pytest.raises(Conflict, match="cannot be deleted"):
        client.transport.call(mlflow.DELETE_MODEL, mlflow.ModelName(name="churn"))
    assert client.registry.get_release("churn", 1).version == 1


def test_what_was_rolled_out_without_a_release_is_kept_too(client: Client, make_rollout) -> None:
    client.registry.ensure_model("churn")
    client.transport.call(mlflow.CREATE_VERSION, mlflow.CreateVersion(name="churn", source="s3://b/x"))
    client.delivery.create_rollout(make_rollout("r1"))
    for operation, request in (
        (mlflow.DELETE_VERSION, mlflow.OneModelVersion(name="churn", version="1")),
        (mlflow.RENAME_MODEL, mlflow.RenameModel(name="churn", new_name="other")),
        (mlflow.DELETE_MODEL, mlflow.ModelName(name="churn")),
    ):
        with pytest.raises(Conflict, match="what was rolled out is kept"):
            client.transport.call(operation, request)


def test_error_comes_with_its_class_on_both_sides(client: Client) -> None:
    client.registry.ensure_model("m")
    with pytest.raises(AlreadyExists):
        client.transport.call(mlflow.CREATE_MODEL, mlflow.CreateRegisteredModel(name="m"))


def test_every_write_leaves_an_event_with_its_author(client: Client, make_release) -> None:
    client.registry.create_release(make_release())
    client.registry.set_alias("churn", "champion", 1)
    events = client.events.list_events()
    assert [event.kind for event in events] == ["model.created", "version.created", "release.created", "alias.moved"]
    assert {event.by for event in events} == {"ann"}
    assert events[-1].details == {"alias": "champion", "from": None, "to": 1, "reason": ""}
    assert client.events.list_events(after=events[1].sequence, limit=1) == [events[2]]


def test_time_in_nanoseconds_is_refused(client: Client, make_release) -> None:
    release = msgspec.structs.replace(make_release(), created_at=1_700_000_000_000_000_000)
    with pytest.raises(InvalidInput, match="'created_at' is 1700000000000000000, expected milliseconds since 1970"):
        client.registry.create_release(release)
    client.registry.create_release(make_release())
    approval = Approval(
        model="churn", version=1, environment="production", approver="ann", approved_at=2**63, comment=""
    )
    with pytest.raises(InvalidInput, match="'approved_at' is"):
        client.registry.approve(approval)
