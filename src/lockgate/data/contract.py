"""The data contract: what every version of a table must look like, in a YAML file that a person reads and edits.

rows: {min: 1000}
columns:
  customer: {type: integer, nullable: false, unique: true}
  age: {type: integer, min: 0, max: 120}
  plan: {type: string, nullable: false, categories: [basic, plus]}
  income: {type: number, max_missing: 0.05}
extra_columns: refuse
drift: {false_alarm_rate: 0.01, min_effect: 0.25}
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from msgspec import Meta

from lockgate.documents import read_document
from lockgate.project import Probability, Section, Share
from lockgate.store.atomic import write_atomically

_NOTES_AT = 80  # notes start here at the latest, even where a line is longer

ColumnType = Literal["integer", "number", "string", "boolean", "datetime", "any"]
Category = bool | int | float | str


class Column(Section, frozen=True, kw_only=True):
    """What one column must hold. A missing value breaks nothing but `nullable` and `max_missing`."""

    type: ColumnType = "any"
    nullable: bool = True
    max_missing: Share | None = None
    min: float | None = None
    max: float | None = None
    categories: list[Category] | None = None
    pattern: str | None = None  # a regular expression that is found somewhere in the text
    unique: bool = False
    required: bool = True


class Rows(Section, frozen=True, kw_only=True):
    """How many rows there must be."""

    min: Annotated[int, Meta(ge=0)] = 1
    max: Annotated[int, Meta(ge=0)] | None = None


class Drift(Section, frozen=True, kw_only=True):
    """No column may differ from the last accepted version significantly and by `min_effect` (PSI) or more."""

    false_alarm_rate: Probability = 0.01
    min_effect: Annotated[float, Meta(ge=0.0)] = 0.25
    columns: list[str] | None = None


class Contract(Section, frozen=True, kw_only=True):
    """The whole file. `unique` lists combinations of columns that occur once."""

    columns: dict[str, Column]
    rows: Rows = Rows()
    unique: tuple[tuple[str, ...], ...] = ()
    extra_columns: Literal["allow", "refuse"] = "refuse"
    drift: Drift | None = None
    desc: str | None = None


def load_contract(path: Path) -> Contract:
    """Read a contract. Raises NotFound, or InvalidInput naming the line and, for a wrong key, the nearest one."""
    document = read_document(path)
    if not isinstance(document.value, dict) or "columns" not in document.value:
        raise document.error((), "a contract is a mapping with at least the key columns.")
    contract = document.convert(Contract)
    for at, message in _problems(contract):
        raise document.error(at, message)
    return contract


def save_contract(
    contract: Contract, path: Path, *, source: str = "this file", notes: Mapping[str, str] | None = None
) -> None:
    """Write the contract for a person: one line a column, with a note beside it. Raises StorageFull."""
    write_atomically(path, contract_text(contract, source=source, notes=notes or {}).encode())


def contract_text(contract: Contract, *, source: str, notes: Mapping[str, str]) -> str:
    """What `save_contract` writes; `load_contract` reads back the same contract."""
    lines = [
        f"# What every version of {source} must look like. Inferred by `lockgate check --infer`; edit it freely.",
        "# lockgate check stops the pipeline where a file breaks it, and names the rows.",
        f"rows: {_flow({'min': contract.rows.min, 'max': contract.rows.max})}",
        "columns:",
    ]
    entries = [f"  {_flow(name)}: {_flow(_fields(column))}" for name, column in contract.columns.items()]
    width = min(_NOTES_AT, max((len(entry) for entry in entries), default=0))
    for entry, name in zip(entries, contract.columns, strict=True):
        lines.append(f"{entry:<{width}}  # {notes[name]}" if notes.get(name) else entry)
    if contract.unique:
        lines.append(f"unique: {_flow([list(names) for names in contract.unique])}")
    lines.append(f"extra_columns: {contract.extra_columns}  # refuse or allow columns that are not above")
    if contract.drift is not None:
        drift = {"false_alarm_rate": contract.drift.false_alarm_rate, "min_effect": contract.drift.min_effect}
        lines += [
            "# No column may differ from the last accepted version by more than chance and by min_effect (PSI).",
            f"drift: {_flow(drift | {'columns': contract.drift.columns})}",
        ]
    if contract.desc is not None:
        lines.append(f"desc: {_flow(contract.desc)}")
    return "\n".join(lines) + "\n"


def _problems(contract: Contract) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for name, column in contract.columns.items():
        for key, message in _column_problems(column):
            yield ("columns", name, key), message
    if contract.rows.max is not None and contract.rows.max < contract.rows.min:
        yield ("rows", "max"), f"max ({contract.rows.max}) is below min ({contract.rows.min})."
    for i, names in enumerate(contract.unique):
        for name in names:
            if name not in contract.columns:
                yield ("unique", i), f"unique names {name!r}, which is not under columns."
    for name in (contract.drift and contract.drift.columns) or []:
        if name not in contract.columns:
            yield ("drift", "columns"), f"drift names {name!r}, which is not under columns."


def _column_problems(column: Column) -> Iterator[tuple[str, str]]:
    numeric = column.type in ("integer", "number", "any")
    for key, bound in (("min", column.min), ("max", column.max)):
        if bound is not None and not numeric:
            yield key, f"a column of type {column.type} has no {key}."
        if bound is not None and not math.isfinite(bound):
            yield key, f"{key} is a finite number; leave it out where there is no limit."
    if column.min is not None and column.max is not None and column.max < column.min:
        yield "max", f"max ({column.max:g}) is below min ({column.min:g})."
    if not column.nullable and column.max_missing:
        yield "max_missing", "nullable: false allows no missing value, so max_missing says nothing."
    if column.pattern is not None:
        if column.type not in ("string", "any"):
            yield "pattern", f"a column of type {column.type} has no pattern."
        try:
            re.compile(column.pattern)
        except re.error as error:
            yield "pattern", f"{column.pattern!r} is not a regular expression: {error}."
    if column.type == "string" and column.categories is not None:
        for category in column.categories:
            if not isinstance(category, str):
                yield "categories", f"{category!r} is not text; put it in quotes (YAML reads yes, no and 1 as values)."


def _fields(column: Column) -> dict[str, object]:
    """What differs from the defaults, in the order that reads best."""
    fields: dict[str, object] = {"type": column.type}
    if not column.nullable:
        fields["nullable"] = False
    for key in ("max_missing", "min", "max"):
        value = getattr(column, key)
        if value is not None:
            fields[key] = int(value) if float(value).is_integer() and abs(value) < 2**53 else value
    if column.categories is not None:
        fields["categories"] = column.categories
    if column.pattern is not None:
        fields["pattern"] = column.pattern
    if column.unique:
        fields["unique"] = True
    if not column.required:
        fields["required"] = False
    return fields


def _flow(value: object) -> str:
    """YAML on one line, quoted where YAML would read another value: yes, no, 1, null."""
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if item is not None}
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
