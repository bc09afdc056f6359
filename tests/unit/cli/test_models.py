import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from lockgate.cli.app import App
from lockgate.cli.models import models
from lockgate.clock import FakeClock
from lockgate.entities import Approval, Check, Content, Release, Verdict
from lockgate.errors import InvalidInput, LockgateError, NotFound


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "lockgate.yaml").write_text("model: churn\ntask: binary_classification\n")
    app = App(start=tmp_path, clock=FakeClock())
    for auc, passed in ((0.8, True), (0.7, False)):
        check = Check(gate="auc >= 0.75", kind="bound", status="passed" if passed else "failed", reason=f"auc is {auc}")
        verdict = Verdict(
            passed=passed, checks=(check,), metrics={"auc": auc}, champion_version=None, rows=10, decided_at=1
        )
        release = Release(
            model="churn",
            version=0,
            content=Content(kind="tree", digest=f"{auc}".encode().hex().ljust(64, "0"), size_bytes=10),
            run_id="r" * 32,
            created_at=1,
            created_by="ann",
            flavor="sklearn",
            commit="c" * 40,
            data={"train": Content(kind="file", digest="d" * 64, size_bytes=1)},
            params={"depth": 3} if passed else {"depth": 4, "extra": "x"},
            verdict=verdict,
        )
        app.client.registry.create_release(release)
    app.client.registry.set_alias("churn", "champion", 1, reason="first")
    return app


def call(app: App, *words: str) -> str:
    result = CliRunner().invoke(models, words, obj=app, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def refuse(app: App, error: type[LockgateError], *words: str) -> str:
    with pytest.raises(error) as raised:
        call(app, *words)
    return str(raised.value)


def test_models_are_listed_with_their_aliases(app: App) -> None:
    assert "champion=1" in call(app)
    assert json.loads(call(app, "--json"))[0]["aliases"] == {"champion": 1}


def test_description_in_brackets_is_printed_as_it_is(app: App) -> None:
    call(app, "describe", "churn", "[draft] :bug: [/end]")
    assert "[draft] :bug: [/end]" in call(app)


def test_models_are_listed_by_folder(app: App) -> None:
    for name in ("team/churn", "team/fraud"):
        app.client.registry.ensure_model(name)
    assert [item["name"] for item in json.loads(call(app, "list", "team/", "--json"))] == ["team/churn", "team/fraud"]
    assert [item["name"] for item in json.loads(call(app, "list", "--json"))] == ["churn", "team/churn", "team/fraud"]
    assert "no model begins with 'nobody/'" in call(app, "list", "nobody/")
    assert "no version yet" in call(app, "show", "team/churn")


def test_empty_registry_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text("model: m\ntask: regression\n")
    assert "lockgate run" in call(App(start=tmp_path))


def test_model_is_shown_with_its_versions(app: App) -> None:
    shown = call(app, "show", "churn")
    assert "passed" in shown
    assert "refused" in shown
    found = json.loads(call(app, "show", "churn", "--json", "--limit", "1"))
    assert [release["version"] for release in found["releases"]] == [2]


def test_version_is_shown_with_verdict_lineage_and_approvals(app: App) -> None:
    app.client.registry.approve(
        Approval(model="churn", version=1, environment="production", approver="bob", approved_at=1, comment="fine")
    )
    shown = call(app, "show", "churn@champion")
    for text in ("auc >= 0.75", "auc is 0.8", "c" * 40, "d" * 64, "approved for production by bob: fine", "depth"):
        assert text in shown
    found = json.loads(call(app, "show", "churn@2", "--json"))
    assert found["release"]["verdict"]["passed"] is False


def test_version_from_outside_has_no_release(app: App) -> None:
    from lockgate.wire.mlflow.registry import CREATE_VERSION, CreateVersion

    app.client.transport.call(CREATE_VERSION, CreateVersion(name="churn", source="s3://bucket/x"))
    shown = call(app, "show", "churn@3")
    assert "s3://bucket/x" in shown
    assert "no release: the version was registered from outside. To get one, have a stage" in shown
    assert "registered from outside" in refuse(app, NotFound, "compare", "churn", "1", "3")


def test_model_from_outside_is_shown_with_its_versions(app: App) -> None:
    from lockgate.wire.mlflow.registry import CREATE_VERSION, CreateVersion

    assert "no release" not in call(app, "show", "churn")
    app.client.registry.ensure_model("theirs")
    app.client.transport.call(CREATE_VERSION, CreateVersion(name="theirs", source="s3://bucket/x"))
    app.client.registry.set_alias("theirs", "best", 1)
    shown = call(app, "show", "theirs")
    (row,) = (line.split() for line in shown.splitlines() if "s3://bucket/x" in line)
    assert row[:4] == ["1", "best", "no", "release"]
    assert "lockgate run judges and releases" in shown
    found = json.loads(call(app, "show", "theirs", "--json"))
    assert ([version["source"] for version in found["versions"]], found["releases"]) == (["s3://bucket/x"], [])


def test_long_tag_is_told_from_its_value(app: App) -> None:
    call(app, "tag", "churn@2", "lockgate.copied.from", "8@elsewhere")
    assert "  lockgate.copied.from 8@elsewhere\n" in call(app, "show", "churn@2")


def test_two_versions_are_compared(app: App) -> None:
    shown = call(app, "compare", "churn", "champion", "2")
    assert "@1" in shown
    assert "-0.1" in shown
    found = json.loads(call(app, "compare", "churn", "1", "2", "--json"))
    assert found["metrics"] == [{"name": "auc", "a": 0.8, "b": 0.7, "difference": pytest.approx(-0.1)}]
    assert {row["name"]: row["difference"] for row in found["params"]} == {"depth": 1, "extra": "added"}
    assert found["data"][0]["difference"] is None


def test_alias_is_moved_shown_and_removed_with_its_history(app: App) -> None:
    assert "churn@shadow is version 2" in call(app, "alias", "churn", "shadow", "--version", "2", "--reason", "to see")
    assert json.loads(call(app, "alias", "churn", "--json")) == {"champion": 1, "shadow": 2}
    assert json.loads(call(app, "alias", "churn", "shadow", "--json")) == {"shadow": 2}
    call(app, "alias", "churn", "shadow", "--version", "champion")
    call(app, "alias", "churn", "shadow", "--delete")
    history = json.loads(call(app, "alias", "churn", "shadow", "--history", "--json"))
    assert [(item["from_version"], item["to_version"]) for item in history] == [(1, None), (2, 1), (None, 2)]
    assert "to see" in call(app, "alias", "churn", "--history")
    assert "it has: champion" in refuse(app, NotFound, "alias", "churn", "shadow")


def test_alias_options_that_contradict_are_refused(app: App) -> None:
    refuse(app, InvalidInput, "alias", "churn", "x", "--version", "1", "--delete")
    refuse(app, InvalidInput, "alias", "churn", "--delete")
    refuse(app, NotFound, "alias", "nobody", "x", "--delete")


def test_tags_and_descriptions_are_written(app: App) -> None:
    call(app, "tag", "churn", "team", "crm")
    call(app, "tag", "churn@2", "reviewed", "yes")
    call(app, "describe", "churn", "who leaves")
    call(app, "describe", "churn@2", "second")
    assert "who leaves" in call(app, "show", "churn")
    shown = call(app, "show", "churn@2")
    assert "second" in shown
    assert "reviewed" in shown
    call(app, "tag", "churn@2", "reviewed", "--delete")
    assert "reviewed" not in call(app, "show", "churn@2")
    refuse(app, InvalidInput, "tag", "churn", "k")
    refuse(app, InvalidInput, "tag", "churn", "k", "v", "--delete")


def test_unknown_model_version_and_alias_are_said(app: App) -> None:
    assert "name=nobody not found" in refuse(app, NotFound, "show", "nobody")
    assert "version=9) not found; its newest is 2" in refuse(app, NotFound, "show", "churn@9")
    assert "it has: champion" in refuse(app, NotFound, "show", "churn@nothing")
    assert msgspec.json.encode(app.client.registry.list_aliases("churn")) == b'{"champion":1}'
