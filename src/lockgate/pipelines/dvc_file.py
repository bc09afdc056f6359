"""dvc.yaml as it is: its stages are ours. What it can say beyond that (templates) is refused by name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lockgate.documents import Document, read_document
from lockgate.project import Name, Stage

# `\\${NAME}` is how DVC's users write a variable of the shell.
_TEMPLATE = re.compile(r"(?<!\\)\$\{")
_TEMPLATES = ("foreach", "matrix", "do")
# Options of an output that only concern DVC's remotes and its studio.
_IGNORED_OPTIONS = frozenset({"push", "remote", "type", "labels", "meta", "checkpoint"})


class _File(msgspec.Struct, frozen=True):
    """The part of dvc.yaml that is used; its top-level metrics, plots, params and artifacts are for display only."""

    stages: dict[Name, Stage] = {}


def read_dvc_stages(path: Path) -> Mapping[str, Stage]:
    """The stages of a dvc.yaml. Raises InvalidInput naming the line, also for vars, foreach, matrix and `${...}`."""
    document = read_document(path)
    if not isinstance(document.value, dict) or not isinstance(document.value.get("stages", {}), dict):
        raise document.error((), "expected a mapping with the key stages.")
    if "vars" in document.value:
        raise _not_supported(document, ("vars",), "vars")
    stages = document.value.get("stages") or {}
    for name, stage in stages.items():
        _refuse_templates(document, ("stages", name), stage)
    cleaned = {"stages": {name: _without_options(stage) for name, stage in stages.items()}}
    return Document(path, cleaned, document.lines).convert(_File).stages


def _refuse_templates(document: Document, at: tuple[str | int, ...], value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if len(at) == 2 and key in ("vars", *_TEMPLATES):
                raise _not_supported(document, (*at, key), key)
            _refuse_templates(document, (*at, key), inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _refuse_templates(document, (*at, i), inner)
    elif isinstance(value, str) and _TEMPLATE.search(value):
        raise _not_supported(document, at, f"the template {value!r}")


def _not_supported(document: Document, at: tuple[str | int, ...], what: str) -> Exception:
    return document.error(
        at,
        f"{what} is a template of DVC and not supported.",
        hint="write the stages out, here or under `stages:` of lockgate.yaml",
    )


def _without_options(stage: Any) -> Any:
    if not isinstance(stage, dict):
        return stage
    cleaned = dict(stage)
    if isinstance(commands := stage.get("cmd"), str | list):
        many = [commands] if isinstance(commands, str) else commands
        unescaped = [text.replace("\\${", "${") if isinstance(text, str) else text for text in many]
        cleaned["cmd"] = unescaped if isinstance(commands, list) else unescaped[0]
    for group in ("outs", "metrics"):
        if isinstance(stage.get(group), list):
            cleaned[group] = [_clean_output(item) for item in stage[group]]
    return cleaned


def _clean_output(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return {
        path: {key: value for key, value in options.items() if key not in _IGNORED_OPTIONS}
        if isinstance(options, dict)
        else {}
        for path, options in item.items()
    }
