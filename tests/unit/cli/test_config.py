import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.main import lockgate
from lockgate.config import Settings
from lockgate.errors import InvalidInput


def environ(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "COLUMNS": "200", **more}


def test_every_setting_is_shown_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / "config" / "lockgate").mkdir(parents=True)
    file = tmp_path / "config" / "lockgate" / "lockgate.toml"
    file.write_text("serve_port = 9999\n")
    result = CliRunner().invoke(
        lockgate, ["--uri", "http://x", "config", "--json"], env=environ(tmp_path, LOCKGATE_JOBS="3")
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert set(found) == set(Settings.__struct_fields__)
    assert (found["uri"]["value"], found["uri"]["origin"]) == ("http://x", "flag")
    assert (found["jobs"]["value"], found["jobs"]["origin"]) == (3, "LOCKGATE_JOBS")
    assert (found["serve_port"]["value"], found["serve_port"]["origin"]) == (9999, str(file))
    assert found["host"]["origin"] == "default"


def test_table_names_the_files_that_were_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(lockgate, ["config"], env=environ(tmp_path))
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}/config/lockgate/lockgate.toml: not there" in result.output
    assert "serve_port" in result.output


def test_wrong_value_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(lockgate, ["config"], env=environ(tmp_path, LOCKGATE_JOBS="many"))
    assert isinstance(result.exception, InvalidInput)


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_every_setting_can_come_from_its_variable(tmp_path: Path, name: str) -> None:
    value = str(getattr(Settings(), name)) or "x"
    result = CliRunner().invoke(
        lockgate, ["config", "--json"], env=environ(tmp_path, **{f"LOCKGATE_{name.upper()}": value})
    )
    assert json.loads(result.output)[name]["origin"] == f"LOCKGATE_{name.upper()}"
