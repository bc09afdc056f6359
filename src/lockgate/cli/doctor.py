"""`lockgate doctor`: are this machine and the project in this folder ready? It leaves everything as it was.

Each check is a function that returns one `Finding`; what a finding says to do must be a command or a setting.
"""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from lockgate.errors import DataDamaged, InvalidInput, LockgateError, NotFound

if TYPE_CHECKING:
    from lockgate.cli.app import App
    from lockgate.config import Settings
    from lockgate.metadata.database import Where

_GIB = 1 << 30
# extra -> the module that shows whether it is there, and what it is for
_EXTRAS = {
    "mlflow": ("mlflow", "training code that logs with mlflow"),
    "onnx": ("onnxruntime", "ONNX models"),
    "postgres": ("psycopg", "records in PostgreSQL"),
}


class Finding(NamedTuple):
    """One line of the answer. `advice` is empty where there is nothing to do."""

    check: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def doctor(app: "App", as_json: bool) -> None:
    """Check that this machine, the project in this folder and what the settings name are ready.

    Each line is ok, warn (works, but something is lost) or fail (will not work), with what to do. Exit code 2 when
    anything failed.

    Example: lockgate -C examples/churn doctor
    """
    from lockgate.cli.output import print_json

    findings = list(_findings(app))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.status:4}  {finding.check:9}  {finding.found}")
            if finding.advice:
                click.echo(f"                 next: {finding.advice}")
    failed = [finding.check for finding in findings if finding.status == "fail"]
    if failed:
        raise InvalidInput(f"not ready: {', '.join(failed)}.")


def _findings(app: "App") -> Iterator[Finding]:
    from lockgate.config import masked

    yield check_python()
    yield check_git(app.start)
    for extra, (module, purpose) in _EXTRAS.items():
        yield check_extra(extra, module, purpose)
    try:
        folder = app.folder
    except NotFound as error:
        yield Finding("project", "warn", error.message, error.hint or "")
        state = app.start
    except InvalidInput as error:
        yield Finding("project", "fail", error.message, error.hint or "correct lockgate.yaml")
        state = app.start
    else:
        yield Finding("project", "ok", f"{folder.project.model} in {folder.root}")
        state = folder.state
        yield check_writable(state)
        yield _records(app, state)
    yield check_disk(state)
    try:
        settings = app.settings
    except LockgateError as error:
        yield Finding("settings", "fail", error.message, error.hint or "correct the setting")
        return
    yield Finding("settings", "ok", f"records go to {masked(settings.uri) or 'the project itself'}")
    if settings.uri:
        yield check_server(app)
    if settings.artifacts:
        yield check_artifacts(settings.artifacts)
    yield from check_ports(settings)


def _records(app: "App", state: Path) -> Finding:
    try:
        address = app.settings.database
    except LockgateError:
        address = ""  # told below
    return check_address(address, environ=os.environ) if address else check_database(state / "lockgate.db")


def check_python() -> Finding:
    """The interpreter, and whether a stage that says `python` gets the same one, with the same libraries."""
    from lockgate.pipelines.search_path import with_our_python

    version = ".".join(map(str, sys.version_info[:3]))
    first = shutil.which("python", path=with_our_python(os.environ).get("PATH"))
    if first is None or Path(first).parent.resolve() != Path(sys.executable).parent.resolve():
        found = f"{version} ({sys.executable}); `python` in a stage is {first or 'not found'}"
        return Finding("python", "warn", found, "activate the environment that your project's libraries are in")
    return Finding("python", "ok", f"{version} ({sys.executable})")


def check_git(folder: Path) -> Finding:
    """Git, and whether the folder is in a repository with a commit: without one a release has no commit."""
    if shutil.which("git") is None:
        return Finding("git", "warn", "git is not on PATH; releases will have no commit", "install git")
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return Finding("git", "ok", f"at commit {done.stdout.strip()}")
    if "not a git repository" in done.stderr:
        return Finding("git", "warn", "no git repository; releases will have no commit", "git init")
    return Finding("git", "warn", "the repository has no commit yet", "git add . && git commit")


def check_extra(extra: str, module: str, purpose: str) -> Finding:
    """An optional part of the installation; found without importing it."""
    if find_spec(module) is not None:
        return Finding(extra, "ok", f"installed: {purpose}")
    return Finding(extra, "warn", f"not installed: {purpose}", f"pip install 'lockgate[{extra}]', if you need it")


def check_disk(folder: Path) -> Finding:
    """Room for models and the content store."""
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{free / _GIB:.1f} GiB free"
    if free < _GIB // 4:
        return Finding("disk", "fail", found, "make room, then: lockgate gc")
    if free < 2 * _GIB:
        return Finding("disk", "warn", found, "lockgate gc deletes what nothing refers to")
    return Finding("disk", "ok", found)


def check_writable(state: Path) -> Finding:
    """A file can be made where the project's state lives, or will live."""
    folder = _existing(state)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".lockgate-doctor-"):
            pass
    except OSError as error:
        advice = f"make {folder} writable for {_user_name()}"
        return Finding("state", "fail", f"{state} cannot be written: {error.strerror}", advice)
    return Finding("state", "ok", str(state) if state.is_dir() else f"{state} will be made by the first command")


def check_database(path: Path) -> Finding:
    """The revision of the project's records. Reads it without opening the database for writing."""
    from lockgate.metadata.schema import OURS, foreign_error

    if not path.is_file():
        return Finding("database", "ok", "none yet")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if not tables:
                return Finding("database", "ok", "none yet")  # the disk was full when it was to be made
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        from lockgate.metadata.sqlite_engine import translate

        known = translate(error) or DataDamaged(f"cannot be read: {error}", hint="restore it from a copy")
        advice = known.hint or "look at the disk, and at who may read the file"
        return Finding("database", "fail", f"{path}: {known.message}", advice)
    if row is None or not str(row[0]).isdigit() or not tables.issuperset(OURS):
        return _failed("database", foreign_error(path))
    return _at_revision(path, row[0])


def check_address(setting: str, *, environ: Mapping[str, str]) -> Finding:
    """The same for records in PostgreSQL, at the address that the setting `database` is or points at."""
    from lockgate.config import read_secret
    from lockgate.metadata.database import open_engine, storage_errors
    from lockgate.metadata.postgres_address import parse_address
    from lockgate.metadata.schema import current_revision

    try:
        where = parse_address(read_secret(setting, environ=environ).strip())
        engine = open_engine(where)
        try:
            with storage_errors(where):
                revision = current_revision(engine)
        finally:
            engine.dispose()
    except LockgateError as error:
        return _failed("database", error, "correct the setting database")
    return Finding("database", "ok", "none yet") if revision is None else _at_revision(where, revision)


def _at_revision(where: "Where", revision: str) -> Finding:
    from lockgate.metadata.schema import HEAD, is_known, newer_error

    if revision == HEAD:
        return Finding("database", "ok", f"revision {HEAD}")
    if is_known(revision):
        return Finding("database", "fail", f"revision {revision}, this Lockgate needs {HEAD}", "lockgate migrate")
    return _failed("database", newer_error(where, revision))


def check_server(app: "App") -> Finding:
    """That the server of the setting `uri` answers, and takes the token."""
    try:
        with app.client as client:
            name = client.access.who_am_i().name
    except LockgateError as error:
        return _failed("server", error, "correct the settings uri and token")
    return Finding("server", "ok", f"it answers {name}")


def check_artifacts(setting: str) -> Finding:
    """That the place of the setting `artifacts` can be read; a folder also that it can be written."""
    from lockgate.server.artifacts.folder import ArtifactFolder
    from lockgate.server.artifacts.open import open_artifacts

    try:
        store = open_artifacts(setting, default=Path())
        store.list(limit=1)
    except LockgateError as error:
        return _failed("artifacts", error, "correct the setting artifacts")
    if isinstance(store, ArtifactFolder):
        return check_writable(store.root)._replace(check="artifacts")
    return Finding("artifacts", "ok", "they can be read")


def _failed(check: str, error: LockgateError, advice: str = "") -> Finding:
    return Finding(check, "fail", error.message, error.hint or advice)


def check_ports(settings: "Settings") -> Iterator[Finding]:
    """The ports of `lockgate up`. A taken one may be Lockgate itself at work, so it is no failure."""
    for name in ("api_port", "serve_port"):
        port = getattr(settings, name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError as error:
                advice = f"stop what uses it, or set LOCKGATE_{name.upper()}"
                yield Finding("port", "warn", f"{settings.host}:{port} ({name}): {error.strerror}", advice)
            else:
                yield Finding("port", "ok", f"{settings.host}:{port} is free ({name})")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _user_name() -> str:
    return os.environ.get("USER") or str(os.getuid())
