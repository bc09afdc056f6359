"""Everything public is explained, where it is and on the generated pages."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lockgate.cli.main import COMMANDS, lockgate

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lockgate"
MODULES = sorted(SOURCE.rglob("*.py"))
# What has so few statements is read faster than a sentence about it (STYLE.md: skip what repeats the name). A method
# has its class's docstring beside it, so it may be longer.
OBVIOUS_STATEMENTS = 4
OBVIOUS_STATEMENTS_OF_METHOD = 9
# A handler carries out the operation of its name, which is explained where it is declared, in wire/.
HANDLERS = SOURCE / "server" / "routes"
# Alembic gives `upgrade` and `downgrade` their meaning.
MIGRATIONS = SOURCE / "metadata" / "migrations" / "versions"


def undocumented(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    if not ast.get_docstring(tree):
        yield "the module"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and is_public(node.name):
            if not ast.get_docstring(node) and not is_obvious(node):
                yield node.name
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if (
                        isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
                        and is_public(method.name)
                        and not ast.get_docstring(method)
                        and not is_obvious(method, OBVIOUS_STATEMENTS_OF_METHOD)
                    ):
                        yield f"{node.name}.{method.name}"


def is_public(name: str) -> bool:
    return not name.startswith("_")


def is_obvious(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, statements: int = OBVIOUS_STATEMENTS
) -> bool:
    """A function of few statements, or a record: a class of nothing but fields, whose names and types say it."""
    if isinstance(node, ast.ClassDef):
        return bool(node.bases) and all(isinstance(item, ast.AnnAssign | ast.Assign) for item in node.body)
    return sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1 <= statements


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.parent not in (HANDLERS, MIGRATIONS)],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_what_is_public_has_a_docstring(path: Path) -> None:
    assert list(undocumented(path)) == []


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES}), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_package_says_what_lives_there(folder: Path) -> None:
    text = (folder / "__init__.py").read_text()
    assert ast.get_docstring(ast.parse(text))


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def test_every_command_and_option_has_its_help() -> None:
    missing = []
    for path, command in commands(lockgate, "lockgate"):
        if not command.help:
            missing.append(path)
        missing += [
            f"{path} {option.opts[0]}"
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden and not option.help
        ]
    assert missing == []


def test_every_command_says_an_example_or_is_a_group() -> None:
    silent = [
        path
        for path, command in commands(lockgate, "lockgate")
        if not isinstance(command, click.Group) and "Example" not in (command.help or "") and path.count(" ") == 1
    ]
    assert silent == []


def test_listed_help_and_the_commands_own_first_line_agree_in_length() -> None:
    assert [name for name, lazy in COMMANDS.items() if not lazy.short_help.endswith(".")] == []


def test_reference_is_what_the_code_says() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "write-reference"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_links_between_the_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def shown_commands() -> Iterator[tuple[str, str]]:
    """Every `$ lockgate ...` of the pages, without what the shell does around it."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for line in re.findall(r"^\s*\$ (.*)$", page.read_text(), flags=re.MULTILINE):
            for part in re.split(r"&&|\|\||[;|>&]", line.partition("  # ")[0].partition(" # ")[0]):
                if part.strip().startswith("lockgate "):
                    yield str(page.relative_to(ROOT)), part.strip()


@pytest.mark.parametrize(("page", "line"), sorted(set(shown_commands())))
def test_shown_command_exists_with_its_options(page: str, line: str) -> None:
    arguments = shlex.split(line)[1:]
    command: click.Command = lockgate
    context = click.Context(lockgate)
    while isinstance(command, click.Group) and arguments and arguments[0] != "-C":
        found = command.get_command(context, arguments[0])
        if found is None:
            assert command.invoke_without_command, f"there is no command {arguments[0]!r}"
            break
        command, arguments = found, arguments[1:]
    command.make_parser(click.Context(command)).parse_args(args=arguments)


def test_version_is_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changelog


def test_requirement_files_ask_for_what_the_package_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {*project["dependencies"], *extras["mlflow"], *extras["onnx"]}
    asked = {
        line
        for line in (ROOT / "requirements" / "runtime.in").read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert asked - declared == {"editables", "hatchling>=1.27"}
    assert declared - asked == set()


def test_compiled_requirements_are_pinned_hashed_and_name_no_registry() -> None:
    for name in ("runtime.txt", "dev.txt", "mlflow.txt"):
        text = (ROOT / "requirements" / name).read_text()
        entries = re.findall(r"^\S.*?(?=^\S|\Z)", text, flags=re.MULTILINE | re.DOTALL)
        assert entries
        assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
        assert "://" not in text


def test_the_full_mlflow_and_the_skinny_one_are_of_one_release() -> None:
    skinny, full = (
        re.search(rf"^{package}==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE)
        for package, name in (("mlflow-skinny", "dev.txt"), ("mlflow", "mlflow.txt"))
    )
    assert skinny and full
    assert skinny[1] == full[1]


def test_no_committed_file_names_a_registry_host() -> None:
    # in parts, so that this file keeps the rule itself
    names = (
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("registry", "npmjs", "org"),
        ("npmjs", "com"),
        ("deb", "debian", "org"),
    )
    hosts = re.compile(rf"\b({'|'.join(re.escape('.'.join(parts)) for parts in names)})\b")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    named = []
    for name in listed:
        path = ROOT / name
        if path.is_file():
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                continue
            if hosts.search(text):
                named.append(name)
    assert named == []
