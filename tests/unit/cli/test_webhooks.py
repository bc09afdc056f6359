import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.app import App
from lockgate.cli.webhooks import webhooks
from lockgate.clock import FakeClock
from lockgate.errors import InvalidInput, LockgateError, NotFound, Unavailable
from lockgate.testing.receiver import Receiver


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setenv("LOCKGATE_WEBHOOK_PRIVATE_ADDRESSES", "true")
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    app = App(start=tmp_path, clock=FakeClock())
    yield app
    app.client.close()


def call(app: App, *words: str) -> str:
    result = CliRunner().invoke(webhooks, words, obj=app, catch_exceptions=False, env={"COLUMNS": "250"})
    assert result.exit_code == 0, result.output
    return result.output


def refuse(app: App, error: type[LockgateError], *words: str) -> str:
    with pytest.raises(error) as raised:
        call(app, *words)
    return str(raised.value)


def test_a_webhook_is_added_listed_tried_and_removed(app: App) -> None:
    assert "no webhooks yet" in call(app)
    with Receiver() as receiver:
        added = call(app, "add", "ci", receiver.url, "--event", "gate.decided", "--secret", "env:HOOK_SECRET")
        assert "is told of gate.decided" in added
        (listed,) = json.loads(call(app, "list", "--json"))
        assert (listed["name"], listed["events"], listed["is_signed"]) == ("ci", ["gate.decided"], True)
        assert "s3cret" not in call(app, "list", "--json")
        assert call(app, "test", "ci") == "ci answered 204.\n"
        tried = receiver.wait()
        assert (tried.event, "x-mlflow-signature" in tried.headers) == ("gate.decided", True)
        assert json.loads(call(app, "test", "ci", "--event", "run.finished", "--json"))["response_status"] == 204
        assert receiver.wait().event == "run.finished"
    assert "no answer" in refuse(app, Unavailable, "test", listed["webhook_id"])
    assert "is removed" in call(app, "remove", "ci")
    assert "there are: none" in refuse(app, NotFound, "remove", "ci")


def test_a_receiver_that_sends_elsewhere_is_said_to(app: App) -> None:
    with Receiver([307, 404]) as receiver:
        call(app, "add", "ci", receiver.url, "--event", "gate.decided")
        assert "the receiver answered 307; redirects are not followed" in refuse(app, Unavailable, "test", "ci")
        assert "the receiver answered 404" in refuse(app, Unavailable, "test", "ci")


def test_an_unknown_event_is_answered_with_all_that_there_are(app: App) -> None:
    said = refuse(app, InvalidInput, "add", "ci", "https://example.com", "--event", "gate.decide")
    assert "gate.decided, alias.moved" in said


def test_two_of_one_name_are_told_apart_by_their_id(app: App) -> None:
    for _ in range(2):
        call(app, "add", "ci", "https://example.com", "--event", "run.finished")
    ids = [item["webhook_id"] for item in json.loads(call(app, "list", "--json"))]
    said = refuse(app, InvalidInput, "remove", "ci")
    assert all(webhook_id in said for webhook_id in ids)
    call(app, "remove", ids[0])
    call(app, "remove", "ci")


def test_a_webhook_is_updated_and_keeps_what_is_not_given(app: App) -> None:
    call(app, "add", "ci", "https://example.com", "--event", "run.finished", "--description", "d")
    assert "is DISABLED and told of run.finished" in call(app, "update", "ci", "--disable")
    words = ("--url", "https://b.example.com", "--secret", "env:HOOK_SECRET", "--event", "gate.decided", "--enable")
    changed = json.loads(call(app, "update", "ci", *words, "--json"))
    assert (changed["url"], changed["events"], changed["is_signed"]) == (
        "https://b.example.com",
        ["gate.decided"],
        True,
    )
    assert (changed["status"], changed["description"]) == ("ACTIVE", "d")
    assert "is_signed" not in json.loads(call(app, "update", "ci", "--secret", "", "--json"))
    assert "nothing to change" in refuse(app, InvalidInput, "update", "ci")
    assert "there are: ci" in refuse(app, NotFound, "update", "cd", "--enable")


def test_webhooks_beyond_the_first_page_are_known_and_a_message_names_few(app: App) -> None:
    call(app, "add", "oldest", "https://example.com", "--event", "run.finished")
    for i in range(1_000):
        app.client.webhooks.add_webhook(f"w{i}", "https://example.com", ["run.finished"])
    assert "is removed" in call(app, "remove", "oldest")
    assert "and 980 more" in refuse(app, NotFound, "remove", "oldest")


def test_a_secret_that_is_not_there_is_named(app: App) -> None:
    words = ("add", "ci", "https://example.com", "--event", "run.finished", "--secret", "env:NOT_SET")
    assert "NOT_SET" in refuse(app, InvalidInput, *words)


def test_a_secret_itself_is_refused_and_not_shown(app: App) -> None:
    words = ("add", "ci", "https://example.com", "--event", "run.finished")
    assert "s3cret" not in refuse(app, InvalidInput, *words, "--secret", "s3cret")
    call(app, *words)
    assert "--secret must say where the secret is" in refuse(app, InvalidInput, "update", "ci", "--secret", "s3cret")
    assert "is_signed" not in json.loads(call(app, "list", "--json"))[0]


def test_this_machine_is_refused_without_the_setting(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCKGATE_WEBHOOK_PRIVATE_ADDRESSES")
    said = refuse(app, InvalidInput, "add", "ci", "https://127.0.0.1/", "--event", "run.finished")
    assert "webhook_private_addresses" in said
