"""`lockgate.lock`: what every stage read and wrote the last time. A person can read it, git can merge it.

It is committed, so a commit pins its data. One fact a line and everything sorted: two branches that change two stages
merge without a conflict. It is replaced whole after each stage, so a killed run loses at most the stage that ran.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from lockgate.documents import read_document
from lockgate.entities import Content
from lockgate.errors import InvalidInput, NotFound
from lockgate.pipelines.definition import LOCK_FILE
from lockgate.pipelines.record import Inputs, StageRecord
from lockgate.store.atomic import write_atomically

FORMAT = 1
_HEAD = "# Written by `lockgate run`; commit it. It pins what every stage read and wrote.\n"


class Lock(msgspec.Struct, frozen=True):
    """The whole file: stages by name, and the content of the project's data files by their name."""

    stages: dict[str, StageRecord]
    data: dict[str, Content]


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One path: `file` or `tree` is the digest."""

    size: int
    file: str | None = None
    tree: str | None = None
    files: int = 1
    executable: bool = False


class _Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cmd: str | list[str]
    wdir: str = "."
    env: dict[str, str] = {}
    params: dict[str, Any] = {}  # values of YAML
    deps: dict[str, _Content] = {}
    outs: dict[str, _Content] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lockgate: int = FORMAT
    data: dict[str, _Content] = {}
    stages: dict[str, _Stage] = {}


def read_lock(root: Path) -> Lock:
    """The lock of a project; empty where there is none. Raises InvalidInput with the line, after a bad merge say."""
    try:
        document = read_document(root / LOCK_FILE)
        file = document.convert(_File)
    except NotFound:
        return Lock({}, {})
    except InvalidInput as error:
        hint = f"keep either side of a merge conflict, or delete {LOCK_FILE}; lockgate run then writes it anew"
        raise InvalidInput(error.message, hint=hint) from error
    if file.lockgate != FORMAT:
        raise InvalidInput(
            f"{root / LOCK_FILE} has format {file.lockgate}, this version of lockgate reads {FORMAT}.",
            hint="upgrade lockgate",
        )
    return Lock(
        {name: _decode_stage(stage) for name, stage in file.stages.items()},
        {name: _decode_content(content) for name, content in file.data.items()},
    )


def write_lock(root: Path, lock: Lock) -> None:
    """Replace the lock file, unless it says the same already. Raises StorageFull."""
    data = format_lock(lock).encode()
    path = root / LOCK_FILE
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)


def format_lock(lock: Lock) -> str:
    """The file's text."""
    lines = [f"lockgate: {FORMAT}\n"]
    if lock.data:
        lines.append("data:\n")
        lines.extend(_contents(lock.data, indent="  "))
    if lock.stages:
        lines.append("stages:\n")
    for name, record in sorted(lock.stages.items()):
        lines.append(f"  {_text(name)}:\n")
        lines.extend(f"    {line}" for line in _stage_lines(record))
    return _HEAD + "".join(lines)


def _stage_lines(record: StageRecord) -> Iterator[str]:
    inputs = record.inputs
    yield f"cmd: {_value(list(inputs.commands) if len(inputs.commands) != 1 else inputs.commands[0])}\n"
    if inputs.wdir != ".":
        yield f"wdir: {_text(inputs.wdir)}\n"
    mappings: tuple[tuple[str, Mapping[str, Any]], ...] = (("env", inputs.env), ("params", inputs.params))
    for title, values in mappings:
        if values:
            yield f"{title}:\n"
            yield from (f"  {_text(name)}: {_value(value)}\n" for name, value in sorted(values.items()))
    if inputs.deps:
        yield "deps:\n"
        yield from _contents(inputs.deps, indent="  ")
    if record.outs:
        yield "outs:\n"
        yield from _contents(record.outs, indent="  ", executable=record.executable)


def _contents(contents: Mapping[str, Content], *, indent: str, executable: Iterable[str] = ()) -> Iterator[str]:
    for path, content in sorted(contents.items()):
        more = f", files: {content.files}" if content.kind == "tree" else ""
        more += ", executable: true" if path in executable else ""
        yield f"{indent}{_text(path)}: {{{content.kind}: {content.digest}, size: {content.size_bytes}{more}}}\n"


# -- YAML that reads back as the very same values ---------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+=-]*( [A-Za-z0-9_./@+=-]+)*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
# What YAML wants escaped and JSON does not.
_SPECIAL = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return _SPECIAL.sub(lambda found: f"\\u{ord(found[0]):04x}", msgspec.json.encode(text).decode())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(str(key))}: {_value(inner)}' for key, inner in sorted(value.items()))}}}"
    return msgspec.json.encode(value).decode()


def _float(value: float) -> str:
    """YAML 1.1 reads 1e-05 as a text: a float needs its point, and infinity its dot."""
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return text.replace("inf", ".inf").replace("nan", ".nan")
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"


def _decode_stage(stage: _Stage) -> StageRecord:
    return StageRecord(
        inputs=Inputs(
            commands=(stage.cmd,) if isinstance(stage.cmd, str) else tuple(stage.cmd),
            wdir=stage.wdir,
            deps={path: _decode_content(content) for path, content in stage.deps.items()},
            params=stage.params,
            env=stage.env,
            outs=tuple(sorted(stage.outs)),
        ),
        outs={path: _decode_content(content) for path, content in stage.outs.items()},
        executable=tuple(path for path, content in stage.outs.items() if content.executable),
    )


def _decode_content(content: _Content) -> Content:
    if content.tree is not None:
        return Content(kind="tree", digest=content.tree, size_bytes=content.size, files=content.files)
    return Content(kind="file", digest=content.file or "", size_bytes=content.size)
