import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.config import HELP, Settings, config_files, load_settings, masked, read_secret, read_token, resolve
from lockgate.errors import InvalidInput


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_flag_beats_variable_beats_user_file_beats_machine_file_beats_default(tmp_path: Path) -> None:
    user = write(tmp_path / "user.toml", "jobs = 2\nlog_format = 'json'\n")
    machine = write(tmp_path / "machine.toml", "jobs = 1\nlog_format = 'text'\nuser = 'm'\n")

    def jobs(flags: dict[str, object], environ: dict[str, str], *files: Path) -> tuple[object, str]:
        return {i.name: (i.value, i.origin) for i in resolve(flags=flags, environ=environ, files=files)}["jobs"]

    assert jobs({"jobs": 4}, {"LOCKGATE_JOBS": "3"}, user, machine) == (4, "flag")
    assert jobs({"jobs": None}, {"LOCKGATE_JOBS": "3"}, user, machine) == (3, "LOCKGATE_JOBS")
    assert jobs({}, {}, user, machine) == (2, str(user))
    assert jobs({}, {}, machine) == (1, str(machine))
    assert jobs({}, {}) == (0, "default")


def test_files_are_merged_setting_by_setting(tmp_path: Path) -> None:
    user = write(tmp_path / "user.toml", "jobs = 2\n")
    machine = write(tmp_path / "machine.toml", "user = 'm'\n")
    found = {i.name: i.value for i in resolve(flags={}, environ={}, files=(user, machine))}
    assert (found["jobs"], found["user"]) == (2, "m")


def test_password_of_an_address_is_not_shown() -> None:
    environ = {"LOCKGATE_DATABASE": "postgresql://ann:p%40ss:w@host:5432/records?sslmode=require", "LOCKGATE_JOBS": "2"}
    shown = {item.name: item.shown for item in resolve(flags={}, environ=environ, files=())}
    assert shown["database"] == "postgresql://ann:***@host:5432/records?sslmode=require"
    assert (shown["jobs"], shown["host"]) == (2, "127.0.0.1")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://u:x@h/d?password=SECRET&sslPassword=SECRET&a=b", "u:***@h/d?password=***&sslPassword=***&a=b"),
        ("postgresql://u:SEC/RET#1@h/d", "u:***@h/d"),
        ("postgresql://u:SEC?RET@1@h/d", "u:***@h/d"),
        ("s3://bucket/x?secret_key=SECRET", "bucket/x?secret_key=***"),
        ("http://:SECRET@h:5000", ":***@h:5000"),
        ("u:SECRET@h:5000", "u:***@h:5000"),
        ("http://h:5000/x?y", "h:5000/x?y"),
        ("env:SOME@NAME", "env:SOME@NAME"),
        ("file:some@where", "file:some@where"),
    ],
)
def test_secrets_anywhere_in_an_address_are_masked(value: str, shown: str) -> None:
    assert masked(value).removeprefix(value.partition("//")[0] + "//") == shown


def test_token_that_should_be_elsewhere_is_not_shown() -> None:
    for token, shown in (("SECRET", "***"), ("env:T", "env:T"), ("file:/t", "file:/t"), ("", "")):
        found = resolve(flags={}, environ={"LOCKGATE_TOKEN": token}, files=())
        assert {item.name: item.shown for item in found}["token"] == shown


def test_settings_are_loaded_from_the_users_folder(tmp_path: Path) -> None:
    write(tmp_path / ".config" / "lockgate" / "lockgate.toml", "serve_port = 9000\n")
    assert load_settings(environ={}, home=tmp_path).serve_port == 9000
    assert load_settings(environ={"XDG_CONFIG_HOME": str(tmp_path / "else")}, home=tmp_path).serve_port == 8080
    assert load_settings(environ={}, home=tmp_path, uri="http://x").uri == "http://x"


def test_xdg_folder_is_honoured(tmp_path: Path) -> None:
    files = config_files(environ={"XDG_CONFIG_HOME": "/x"}, home=tmp_path)
    assert files == (Path("/x/lockgate/lockgate.toml"), Path("/etc/lockgate.toml"))


def test_without_a_home_the_machines_file_is_read() -> None:
    assert config_files(environ={}, home=None) == (Path("/etc/lockgate.toml"),)
    assert len(config_files(environ={"XDG_CONFIG_HOME": "/x"}, home=None)) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user whom the machine does not know")
def test_user_who_is_only_a_number_has_a_name_and_no_home() -> None:
    code = """
import os
from lockgate.config import home_folder, login_name
os.setuid(54321)
print(login_name(), home_folder())
"""
    unnamed = {key: value for key, value in os.environ.items() if key not in ("HOME", "LOGNAME", "USER", "USERNAME")}
    done = subprocess.run([sys.executable, "-c", code], env=unnamed, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("uid-54321 None\n", "")


def test_variable_of_the_wrong_type_names_setting_value_and_origin() -> None:
    with pytest.raises(InvalidInput, match=r"setting jobs from LOCKGATE_JOBS: 'many' is not a whole number from 0 to"):
        resolve(flags={}, environ={"LOCKGATE_JOBS": "many"}, files=())


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("audit_days", "-1", "a whole number from 0 to 36500"),
        ("outbox_mb", "0", "a whole number from 1 to 1000000"),
        ("outbox_mb", "-1", "a whole number from 1 to 1000000"),
        ("outbox_wait_s", "1" + "0" * 13, "a whole number from 0 to 604800"),
        ("api_port", "70000", "a whole number from 0 to 65535"),
        ("max_body_mb", "-1", "a whole number from 1 to 65536"),
        ("log_format", "xml", "text or json"),
        ("webhook_private_addresses", "perhaps", "true or false"),
    ],
)
def test_value_out_of_range_names_what_was_expected(name: str, value: str, wanted: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        resolve(flags={}, environ={f"LOCKGATE_{name.upper()}": value}, files=())
    assert refused.value.message == f"setting {name} from LOCKGATE_{name.upper()}: {value!r} is not {wanted}."


def test_every_number_has_a_range_that_a_file_is_held_to_and_that_its_default_is_in(tmp_path: Path) -> None:
    numbers = [name for name in Settings.__struct_fields__ if type(getattr(Settings(), name)) is int]
    for name in numbers:
        for value in (-1, 10**12):
            with pytest.raises(InvalidInput, match=f"setting {name} from .* from [01] to"):
                resolve(flags={}, environ={}, files=(write(tmp_path / "x.toml", f"{name} = {value}\n"),))
        environ = {f"LOCKGATE_{name.upper()}": str(getattr(Settings(), name))}
        assert load_settings(environ=environ, home=None) == Settings()


def test_unknown_name_in_a_file_names_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "x.toml", "job = 2\n")
    with pytest.raises(InvalidInput) as caught:
        resolve(flags={}, environ={}, files=(path,))
    assert caught.value.message == f"{path}: there is no setting 'job'."
    assert caught.value.hint == "did you mean 'jobs'?"


def test_broken_toml_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.toml", "jobs = \n")
    with pytest.raises(InvalidInput, match="is not valid TOML"):
        resolve(flags={}, environ={}, files=(path,))


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(InvalidInput, match="cannot be read"):
        resolve(flags={}, environ={}, files=(tmp_path / "x.toml",))


def test_other_variables_with_our_prefix_are_left_alone() -> None:
    # LOCKGATE_RUN_ID and the like belong to stages, not to the settings
    assert resolve(flags={}, environ={"LOCKGATE_RUN_ID": "1"}, files=())


def test_every_setting_is_explained() -> None:
    assert set(HELP) == set(Settings.__struct_fields__)


def test_secret_is_a_reference(tmp_path: Path) -> None:
    write(tmp_path / "token", "s3cret\n")
    assert read_secret("env:TOKEN", environ={"TOKEN": "x"}) == "x"
    assert read_secret(f"file:{tmp_path / 'token'}", environ={}) == "s3cret"
    assert read_secret("json://localhost", environ={}) == "json://localhost"


def test_missing_secret_is_named_but_never_shown(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="TOKEN, which is not set"):
        read_secret("env:TOKEN", environ={})
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_secret(f"file:{tmp_path / 'gone'}", environ={})


def test_token_is_found_where_the_setting_says_and_is_never_the_setting(tmp_path: Path) -> None:
    default = Settings().token
    assert read_token(default, environ={}) == ""
    assert read_token(default, environ={"MLFLOW_TRACKING_TOKEN": "t\n"}) == "t"
    assert read_token("", environ={"MLFLOW_TRACKING_TOKEN": "t"}) == ""
    assert read_token(f"file:{write(tmp_path / 'token', 'f')}", environ={}) == "f"
    for missing in ("env:NONE", f"file:{tmp_path / 'none'}"):
        with pytest.raises(InvalidInput):
            read_token(missing, environ={})
    with pytest.raises(InvalidInput, match="not the token itself") as refused:
        read_token("lockgate_secret", environ={})
    assert "lockgate_secret" not in str(refused.value)
