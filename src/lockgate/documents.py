"""A YAML file that a person wrote -> a typed struct, with errors that name the file, the line and the nearest key."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
import yaml

from lockgate.errors import InvalidInput, NotFound

T = TypeVar("T")

MAX_VALUES = 200_000

_Path = tuple[str | int, ...]
# CPython's C loader is several times faster; a build of PyYAML without libyaml has only the other one.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # one of two classes, chosen at import

_FIELD_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_ENUM_VALUE = re.compile(r"[Ii]nvalid enum value '(?P<value>[^']*)'")
_AT = re.compile(r" - at (?P<key>`key` in )?`(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Document:
    """Plain values with the line that each came from. `lines[()]` is the first line of the whole."""

    def __init__(self, path: Path, value: Any, lines: Mapping[_Path, int]) -> None:
        self.path = path
        self.value = value
        self.lines = lines

    def error(self, at: _Path, message: str, *, hint: str | None = None) -> InvalidInput:
        """An InvalidInput that points at the deepest line known on the way to `at`."""
        while at and at not in self.lines:
            at = at[:-1]
        return InvalidInput(f"{self.path}:{self.lines.get(at, 1)}: {message}", hint=hint)

    def convert(self, type_: type[T]) -> T:
        """The typed struct. Raises InvalidInput naming the line of the first thing that does not fit."""
        try:
            return msgspec.convert(self.value, type_)
        except msgspec.ValidationError as error:
            raise self._explain(*_locate(self.value, type_, str(error)), type_) from error

    def _explain(self, at: _Path, message: str, type_: Any) -> InvalidInput:
        unknown = _FIELD_UNKNOWN.search(message)
        if unknown:
            name = unknown["name"]
            known = sorted(_field_names(type_, at))
            return self.error((*at, name), f"unknown key {name!r}.", hint=_nearest(name, known, "the keys here are"))
        where = f" at {'.'.join(map(str, at))}" if at else ""
        choices = [str(choice) for t in _types_at(type_, at) for choice in _choices(t)]
        wrong = _ENUM_VALUE.search(message)
        hint = _nearest(wrong["value"], choices, "one of") if wrong and choices else None
        return self.error(at, f"{message[0].lower()}{message[1:]}{where}.", hint=hint)


def read_document(path: Path) -> Document:
    """Read a YAML file. Raises NotFound, or InvalidInput with the line where it stops being YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text: byte {error.start}.") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    return parse_document(path, text)


def parse_document(path: Path, text: str) -> Document:
    """The same from a text that is already here; `path` is for messages."""
    try:
        construct = _Construct(path)
        value = construct.build(yaml.compose(text, Loader=_Loader), ())
    except yaml.MarkedYAMLError as error:
        # the mark of a text that ends too early lies behind its last line
        line = min(error.problem_mark.line + 1, len(text.splitlines())) if error.problem_mark else 1
        raise InvalidInput(f"{path}:{line}: not valid YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path}: not valid YAML: {error}.") from error
    return Document(path, {} if value is None else value, construct.lines)


class _Construct:
    """Nodes of one YAML text -> plain values, noting the line of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[_Path, int] = {(): 1}
        self._open: set[int] = set()  # ids of the nodes around the present one, to see an alias of itself

    def build(self, node: yaml.Node | None, at: _Path) -> Any:
        if node is None:
            return None
        self.lines.setdefault(at, _line(node))
        if isinstance(node, yaml.ScalarNode):
            # by YAML's own rules, and by the safe constructor alone
            return yaml.constructor.SafeConstructor().construct_object(node)
        # an alias is copied where it stands, so a small text could otherwise grow without end
        if len(self.lines) > MAX_VALUES:
            raise self._error(node, f"more than {MAX_VALUES:,} values.")
        if id(node) in self._open:
            raise self._error(node, "this alias contains itself.")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*at, i)) for i, item in enumerate(node.value)]
            return self._mapping(node, at)
        finally:
            self._open.remove(id(node))

    def _mapping(self, node: yaml.Node, at: _Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key is plain text.")
            key = str(key_node.value)
            if key_node.tag == "tag:yaml.org,2002:merge":
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    inner = self.build(source, at)
                    if not isinstance(inner, dict):
                        raise self._error(source, "`<<` merges mappings only.")
                    merged = inner | merged
                continue
            if key in mapping:
                raise self._error(key_node, f"the key {key!r} is given twice.")
            self.lines[(*at, key)] = _line(key_node)
            mapping[key] = self.build(value_node, (*at, key))
        return {**merged, **mapping}

    def _error(self, node: yaml.Node, message: str) -> InvalidInput:
        return InvalidInput(f"{self.path}:{_line(node)}: {message}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _locate(value: Any, type_: Any, text: str) -> tuple[_Path, str]:
    """Where a ValidationError's text points, and the text without that.

    msgspec writes `[...]` for any key of a mapping, so each entry is tried alone to find the one that is meant.
    """
    at = _AT.search(text)
    if not at:
        return (), text
    message = text[: at.start()]
    path = _parse_path(at["path"])
    if "..." not in path and not at["key"]:
        return path, message
    head = path if at["key"] else path[: path.index("...")]
    for step in head:
        value = value[step]
    if not isinstance(value, dict):
        return head, message
    for key, inner in value.items():
        for mapping in _types_at(type_, head):
            if get_origin(mapping) not in (dict, Mapping):
                continue
            key_type, value_type = get_args(mapping)
            if at["key"]:
                if _problem(key, key_type):
                    return (*head, key), message
            elif problem := _problem(inner, value_type):
                rest, inner_message = _locate(inner, value_type, problem)
                return (*head, key, *rest), inner_message
    return head, message


def _problem(value: Any, type_: Any) -> str | None:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _nearest(name: str, known: list[str], all_of_them: str) -> str:
    nearest = get_close_matches(name, known, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else f"{all_of_them}: {', '.join(known)}"


def _parse_path(text: str) -> _Path:
    steps: list[str | int] = []
    for name, index in _STEP.findall(text.removeprefix("$")):
        steps.append(name or (index if index == "..." else int(index)))
    return tuple(steps)


def _types_at(type_: Any, path: _Path) -> list[Any]:
    """The types that may stand at `path` below `type_`, unions taken apart."""
    types = [type_]
    for step in path:
        types = [inner for t in types for inner in _step(t, step)]
    return [member for t in types for member in _members(t)]


def _choices(type_: Any) -> tuple[Any, ...]:
    return get_args(type_) if get_origin(type_) is Literal else ()


def _field_names(type_: Any, path: _Path) -> set[str]:
    """The keys that the struct at `path` below `type_` accepts; unions give the keys of all their structs."""
    return {name for t in _types_at(type_, path) for s in _structs(t) for name in s.__struct_encode_fields__}


def _step(type_: Any, step: str | int) -> list[Any]:
    found: list[Any] = []
    for struct in _structs(type_):
        found += [f.type for f in msgspec.structs.fields(struct) if f.encode_name == step]
    for t in _members(type_):
        origin, args = get_origin(t), get_args(t)
        if origin in (dict, Mapping) and args:
            found.append(args[1])
        elif origin in (list, tuple) and args:
            found.append(args[0])
    return found


def _members(type_: Any) -> list[Any]:
    """The types of a union, without the wrapping of Annotated."""
    origin, args = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return _members(args[0])
    if origin in (Union, UnionType):
        return [inner for arg in args for inner in _members(arg)]
    return [type_]


def _structs(type_: Any) -> list[Any]:
    return [t for t in _members(type_) if isinstance(t, type) and issubclass(t, msgspec.Struct)]
