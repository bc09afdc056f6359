"""The one settings table: flag > `LOCKGATE_NAME` > the user's `lockgate.toml` > the machine's > default.

The user's file is `~/.config/lockgate/lockgate.toml` (`XDG_CONFIG_HOME` is honoured), the machine's
`/etc/lockgate.toml`. Settings are resolved once, by the edge, into a frozen object that is handed down.
"""

import getpass
import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Meta

from lockgate.errors import InvalidInput

Port = Annotated[int, Meta(ge=0, le=65_535)]  # 0: a free one


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, resolved. The field's type says what it may be; with its default and `HELP` it is documented."""

    uri: str = ""
    user: str = ""
    token: str = "env:MLFLOW_TRACKING_TOKEN"
    jobs: Annotated[int, Meta(ge=0, le=1024)] = 0
    log_format: Literal["text", "json"] = "text"
    api_port: Port = 5000
    serve_port: Port = 8080
    host: str = "127.0.0.1"
    max_body_mb: Annotated[int, Meta(ge=1, le=65_536)] = 64
    database: str = ""
    artifacts: str = ""
    max_artifact_mb: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    audit_days: Annotated[int, Meta(ge=0, le=36_500)] = 365
    webhook_private_addresses: bool = False
    prediction_log_days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    prediction_log_mb: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 4096
    traffic_poll_ms: Annotated[int, Meta(ge=1, le=60_000)] = 50
    outbox: str = ""
    outbox_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    outbox_wait_s: Annotated[int, Meta(ge=0, le=604_800)] = 30


HELP: Mapping[str, str] = {
    "uri": "Address of a Lockgate server; empty means the project's own state in .lockgate/.",
    "user": "Name recorded with what you do; empty means the login name.",
    "token": "Where the token for the server at `uri` is: env:NAME or file:PATH, never the token itself.",
    "jobs": "Stages that run at the same time; 0 means one per core.",
    "log_format": "How servers write their log.",
    "api_port": "Port of the API and the pages under `lockgate up` and `lockgate server`.",
    "serve_port": "Port of the first environment's replica; further environments take the next ones.",
    "host": "Address that servers bind to.",
    "max_body_mb": "Largest request body that is read.",
    "database": "Where records are: postgresql://USER:PASSWORD@HOST/DATABASE, or env:NAME or file:PATH that holds such "
    "an address; empty means SQLite in .lockgate/.",
    "artifacts": "Where files of runs are: a folder, s3://BUCKET/PREFIX or an fsspec URL; empty means in .lockgate/.",
    "max_artifact_mb": "Largest file of a run that a server takes; 0 means as large as there is space.",
    "webhook_private_addresses": "Whether webhooks may be sent to this machine and private networks, and over http.",
    "audit_days": "Days that a server keeps the audit; 0 means for ever.",
    "prediction_log_days": "Days that prediction logs are kept.",
    "prediction_log_mb": "Largest size of one environment's prediction logs; the oldest segments go first.",
    "traffic_poll_ms": "How often a replica looks for a changed traffic split.",
    "outbox": "Folder for what a script logged until it is sent; empty means .lockgate/outbox, or outside of a project "
    "~/.local/state/lockgate/outbox.",
    "outbox_mb": "How much of what a script logged may wait to be sent; then its log calls wait until there is room.",
    "outbox_wait_s": "How long the end of a script waits until everything that it logged is sent.",
}

# To the last @, for who writes a password with a / or # in it; `env:` and `file:` hold none.
_PASSWORD = re.compile(r"((?:^|//)(?!env:|file:)[^/?#@:]*):(?!//).*@")
_OPTION = re.compile(r"([?&][^=&]*(?:password|secret|token|key)[^=&]*)=[^&]*", re.IGNORECASE)
_TYPES: Mapping[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Settings)}


class Resolved(NamedTuple):
    """One setting with where its value came from, as `lockgate config` shows it."""

    name: str
    value: Any  # of the type that `Settings` declares
    origin: str

    @property
    def shown(self) -> Any:
        """The value without a password in an address, and without a token that should be somewhere else."""
        if self.name == "token" and not _is_reference(self.value):
            return "***"
        return masked(self.value) if isinstance(self.value, str) else self.value


def masked(address: str) -> str:
    """An address as it may be printed.

    >>> masked("postgresql://ann:secret@host/db?sslmode=require&sslpassword=secret")
    'postgresql://ann:***@host/db?sslmode=require&sslpassword=***'
    """
    return _OPTION.sub(r"\1=***", _PASSWORD.sub(r"\1:***@", address))


def resolve(*, flags: Mapping[str, object], environ: Mapping[str, str], files: tuple[Path, ...]) -> list[Resolved]:
    """Each setting from the first place that has it. Raises InvalidInput for unknown names and wrong values."""
    from_files: dict[str, Resolved] = {}
    for path in reversed(files):
        for name, value in _read_toml(path).items():
            _require_known(name, str(path))
            from_files[name] = Resolved(name, value, str(path))
    resolved = []
    for name, type_ in _TYPES.items():
        variable = f"LOCKGATE_{name.upper()}"
        if flags.get(name) is not None:
            found = Resolved(name, flags[name], "flag")
        elif variable in environ:
            found = Resolved(name, environ[variable], variable)
        elif name in from_files:
            found = from_files[name]
        else:
            found = Resolved(name, getattr(Settings(), name), "default")
        resolved.append(found._replace(value=_convert(found, type_)))
    return resolved


def expected(type_: Any) -> str:
    """What a setting of this type may be, in words.

    >>> expected(Port)
    'a whole number from 0 to 65535'
    """
    if get_origin(type_) is Annotated:
        _, limits = get_args(type_)
        return f"a whole number from {limits.ge} to {limits.le}"
    if get_origin(type_) is Literal:
        return " or ".join(get_args(type_))
    return {bool: "true or false", str: "text"}[type_]


def home_folder() -> Path | None:
    """The user's; None where there is none, as for a container's user who is only a number."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def login_name() -> str:
    """The user's, `uid-12345` where that is only a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"uid-{os.getuid()}"


def load_settings(*, environ: Mapping[str, str], home: Path | None, **flags: object) -> Settings:
    """The settings of this process."""
    found = resolve(flags=flags, environ=environ, files=config_files(environ=environ, home=home))
    return Settings(**{item.name: item.value for item in found})


def config_files(*, environ: Mapping[str, str], home: Path | None) -> tuple[Path, ...]:
    """The files that are read, the strongest first."""
    machine = Path("/etc/lockgate.toml")
    user = environ.get("XDG_CONFIG_HOME") or (home and home / ".config")
    return (Path(user) / "lockgate" / "lockgate.toml", machine) if user else (machine,)


def read_secret(reference: str, *, environ: Mapping[str, str]) -> str:
    """The value behind `env:NAME` or `file:PATH`; a plain text is returned as it is."""
    kind, _, rest = reference.partition(":")
    if kind == "env":
        if rest not in environ:
            raise InvalidInput(f"{reference!r} names the environment variable {rest}, which is not set.")
        return environ[rest]
    if kind == "file":
        try:
            return Path(rest).read_text().strip()
        except OSError as error:
            raise InvalidInput(f"{reference!r} cannot be read: {error.strerror}.") from error
    return reference


def read_token(reference: str, *, environ: Mapping[str, str]) -> str:
    """The token that the setting `token` points at; empty where the variable of its default is not set.

    Raises InvalidInput for a setting that is a token itself, because settings are printed, and like `read_secret`.
    """
    if reference == Settings().token and reference.partition(":")[2] not in environ:
        return ""
    require_reference(reference, "the setting token", "token", hint="put it into the variable MLFLOW_TRACKING_TOKEN")
    return read_secret(reference, environ=environ).strip()


def require_reference(reference: str, given: str, what: str, *, hint: str) -> None:
    """Raises InvalidInput, which does not show it, where `given` is the secret itself: lists and shells keep that."""
    if not _is_reference(reference):
        raise InvalidInput(
            f"{given} must say where the {what} is, env:NAME or file:PATH, not the {what} itself.", hint=hint
        )


def _is_reference(text: str) -> bool:
    return not text or text.startswith(("env:", "file:"))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not valid TOML: {error}.") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error


def _require_known(name: str, origin: str) -> None:
    if name not in _TYPES:
        nearest = get_close_matches(name, _TYPES, n=1)
        raise InvalidInput(
            f"{origin}: there is no setting {name!r}.",
            hint=f"did you mean {nearest[0]!r}?" if nearest else "lockgate config lists them all",
        )


def _convert(found: Resolved, type_: Any) -> Any:
    try:
        return msgspec.convert(found.value, type_, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"setting {found.name} from {found.origin}: {found.value!r} is not {expected(type_)}."
        ) from error
