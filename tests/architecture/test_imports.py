"""What starting up costs, as a list of modules: time is never asserted, but nothing heavy may be loaded."""

import json
import subprocess
import sys

import pytest

PRINT = "import json, sys; print(json.dumps(sorted(sys.modules)))"
# Everything that is installed and may be loaded by `lockgate --help`; the standard library is free.
HELP_MAY_LOAD = {"click", "lockgate"}
# `cli.app` is made for every command: the settings and lockgate.yaml are read with these.
COMMAND_MAY_LOAD = HELP_MAY_LOAD | {"msgspec", "typing_extensions", "yaml", "_yaml"}
HEAVY_STANDARD_LIBRARY = {"asyncio", "http", "multiprocessing", "sqlite3", "unittest", "urllib.request", "xml"}


def loaded_by(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(modules)


def foreign(modules: set[str]) -> set[str]:
    """Top-level packages that are neither the standard library's nor there before anything is imported."""
    bare = {module.partition(".")[0] for module in loaded_by(PRINT)}
    packages = {module.partition(".")[0] for module in modules if "cython" not in module}  # a helper inside extensions
    return packages - set(sys.stdlib_module_names) - bare


def test_import_lockgate_loads_nothing_but_itself() -> None:
    modules = loaded_by("import lockgate; " + PRINT)
    assert foreign(modules) == {"lockgate"}
    assert {module for module in modules if module.startswith("lockgate")} == {"lockgate"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_loads_click_and_the_command_table_alone(arguments: list[str]) -> None:
    modules = loaded_by(
        f"from lockgate.cli.main import lockgate; lockgate.main({arguments!r}, standalone_mode=False); {PRINT}"
    )
    assert foreign(modules) == HELP_MAY_LOAD
    assert {module for module in modules if module.startswith("lockgate.")} == {
        "lockgate.cli",
        "lockgate.cli.main",
        "lockgate.errors",
    }
    assert modules & HEAVY_STANDARD_LIBRARY == set()


def test_help_of_every_command_loads_nothing_heavy() -> None:
    code = f"""
from lockgate.cli.main import COMMANDS, lockgate
for name in COMMANDS:
    lockgate.main([name, "--help"], standalone_mode=False)
{PRINT}
"""
    assert foreign(loaded_by(code)) <= COMMAND_MAY_LOAD
