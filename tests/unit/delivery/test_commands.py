import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lockgate.cli.app import App
from lockgate.cli.approve import approve
from lockgate.cli.deploy import deploy
from lockgate.cli.main import lockgate
from lockgate.cli.models import models
from lockgate.cli.rollback import rollback
from lockgate.clock import FakeClock
from lockgate.errors import GateFailed, InvalidInput, LockgateError, NotFound, PermissionDenied

Place = Any  # conftest's Workplace: test folders are no packages

YAML = """\
model: churn
task: regression
environments:
  staging: {promote: automatic}
  production: {promote: {approvals: 1}}
"""


class Commands:
    """The commands in one process, on the project of `place`."""

    def __init__(self, root: Path, clock: FakeClock) -> None:
        (root / "lockgate.yaml").write_text(YAML)
        self.app = App(start=root, clock=clock)

    def __call__(self, command: Any, *arguments: str) -> Result:
        result = CliRunner().invoke(command, arguments, obj=self.app)
        if isinstance(result.exception, LockgateError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result


@pytest.fixture
def run(place: Place) -> Commands:
    return Commands(place.folder.root, place.clock)


def test_deploy_drives_a_rollout_to_its_end(run: Commands) -> None:
    result = run(deploy, "churn@1", "--to", "staging", "--json")
    assert json.loads(result.stdout)["state"] == "succeeded"
    assert "succeeded" in result.stderr
    assert "already" in run(deploy, "@1", "--to", "staging").output


def test_an_environments_alias_that_is_moved_by_hand_says_that_traffic_is_not(run: Commands) -> None:
    run(deploy, "@1", "--to", "staging")
    moved = run(models, "alias", "churn", "staging", "--version", "2").output
    assert moved == (
        "churn@staging is version 2.\n"
        "traffic has not moved: staging serves version 1.\n"
        "to move it: lockgate deploy churn@2 --to staging\n"
    )
    assert run(models, "alias", "churn", "staging", "--version", "1").output == "churn@staging is version 1.\n"
    removed = run(models, "alias", "churn", "staging", "--delete").output
    assert removed.splitlines()[1:] == ["traffic has not moved: staging serves version 1."]


def test_deploy_without_a_version_takes_the_challenger(run: Commands) -> None:
    with pytest.raises(NotFound, match="has passed its gates yet"):
        run(deploy, "--to", "staging")
    run.app.client.registry.set_alias("churn", "challenger", 2)
    assert json.loads(run(deploy, "--to", "staging", "--json").stdout)["version"] == 2


def test_deploy_refuses_and_says_how_to_override(run: Commands) -> None:
    with pytest.raises(GateFailed) as refused:
        run(deploy, "@3", "--to", "staging")
    assert refused.value.hint is not None and "--override --reason" in refused.value.hint
    with pytest.raises(InvalidInput):
        run(deploy, "@3", "--to", "staging", "--override")
    run(deploy, "@3", "--to", "staging", "--override", "--reason", "we know")


def test_another_model_and_an_unknown_alias_are_named(run: Commands) -> None:
    with pytest.raises(InvalidInput, match="'fraud'"):
        run(deploy, "fraud@1", "--to", "staging")
    with pytest.raises(NotFound, match="no alias 'best'"):
        run(deploy, "@best", "--to", "staging")


def test_approve_lets_a_version_in(run: Commands) -> None:
    with pytest.raises(PermissionDenied):
        run(deploy, "@1", "--to", "production")
    assert "1 of 1 needed" in run(approve, "@1", "--for", "production").output
    run(deploy, "@1", "--to", "production")


def test_approve_says_where_none_is_asked(run: Commands) -> None:
    assert run(approve, "@1", "--for", "staging").output.endswith("approved churn@1 for staging: it asks for none.\n")


def test_an_interrupted_rollout_goes_on(run: Commands) -> None:
    begun = json.loads(run(deploy, "@1", "--to", "staging", "--no-wait", "--json").stdout)
    ended = json.loads(run(deploy, "@1", "--to", "staging", "--json").stdout)
    assert (ended["rollout_id"], ended["state"]) == (begun["rollout_id"], "succeeded")


def test_rollback_says_where_traffic_went(run: Commands, place: Place) -> None:
    for version in ("@1", "@2"):
        place.clock.sleep(1.0)
        run(deploy, version, "--to", "staging")
    place.clock.sleep(1.0)
    output = run(rollback, "staging", "--reason", "bad").output
    assert "went back to version 1" in output
    assert "succeeded" in output


@pytest.mark.parametrize("name", ["approve", "deploy", "rollback", "trace", "up"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(lockgate, [name, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output
