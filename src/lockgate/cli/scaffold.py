"""What `lockgate init` writes: looks at a table once, then fills the templates that lie in templates/.

The generated files belong to the user: plain scripts without a framework in them, so that they can be changed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lockgate.entities import Scalar
from lockgate.errors import InvalidInput
from lockgate.project import Task

if TYPE_CHECKING:
    import polars as pl

MAX_CLASSES = 50
MAX_CATEGORIES = 100
Logger = Literal["lockgate", "mlflow"]


class Table(NamedTuple):
    """What the templates need to know of a data file."""

    path: str  # relative to the project, posix
    rows: int
    label: str
    task: Task
    classes: tuple[Scalar, ...]  # of the label, sorted; empty for a regression
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...]  # column, why it is no feature

    @property
    def positive(self) -> Scalar:
        return self.classes[-1] if self.task == "binary_classification" else None

    @property
    def reader(self) -> str:
        """The function of Polars that reads the file."""
        if ".csv" in Path(self.path).suffixes:
            return "pl.read_csv"
        return "pl.read_parquet" if self.path.endswith(".parquet") else "pl.read_ipc"


class Names(NamedTuple):
    """The names that the project goes by."""

    model: str
    data: str  # the key under `data:`


def describe(frame: "pl.DataFrame", *, path: str, label: str, task: Task | None) -> Table:
    """Sort the columns into label, numbers, categories and the rest. Raises InvalidInput where there is no label."""
    if label not in frame.columns:
        raise InvalidInput(f"{path} has no column {label!r}; it has: {', '.join(frame.columns)}.")
    known = frame[label].drop_nulls()
    if known.is_empty():
        raise InvalidInput(f"the label {label!r} of {path} has no value in any row.")
    task = task or infer_task(known)
    classes: tuple[Scalar, ...] = ()
    if task != "regression":
        classes = tuple(known.unique().sort().to_list())
        _require_classes(label, task, classes)
    elif not known.dtype.is_numeric():
        raise InvalidInput(f"a regression needs numbers as label; {label!r} is of type {known.dtype}.")
    numbers, categories, dropped = [], [], []
    for name in frame.columns:
        if name == label:
            continue
        kind, why = _role(frame[name])
        if kind == "number":
            numbers.append(name)
        elif kind == "category":
            categories.append(name)
        else:
            dropped.append((name, why))
    if not numbers and not categories:
        raise InvalidInput(f"{path} has no column that a model could learn {label!r} from.")
    return Table(
        path=path,
        rows=frame.height,
        label=label,
        task=task,
        classes=classes,
        numbers=tuple(numbers),
        categories=tuple(categories),
        dropped=tuple(dropped),
    )


def infer_task(label: "pl.Series") -> Task:
    """Two values: binary. Text, or a few whole numbers: multiclass. Anything else: a regression."""
    distinct = label.n_unique()
    if distinct == 2 or label.dtype.is_(type_of("Boolean")):
        return "binary_classification"
    if not label.dtype.is_numeric():
        return "multiclass_classification"
    is_whole = label.dtype.is_integer() or bool((label == label.round()).all())
    if is_whole and distinct <= 20 and distinct <= len(label) // 10:
        return "multiclass_classification"
    return "regression"


def type_of(name: str) -> Any:  # a polars type, so that polars is loaded on use
    """The polars type of that name."""
    import polars as pl

    return getattr(pl, name)


def _require_classes(label: str, task: Task, classes: tuple[Scalar, ...]) -> None:
    if task == "binary_classification" and len(classes) != 2:
        raise InvalidInput(
            f"a binary classification needs two values of {label!r}; it has {len(classes)}.",
            hint="lockgate init --task multiclass_classification" if len(classes) > 2 else "check the label's column",
        )
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise InvalidInput(
            f"{label!r} has {len(classes)} different values; a classification has 2 to {MAX_CLASSES}.",
            hint="lockgate init --task regression" if len(classes) > MAX_CLASSES else "check the label's column",
        )


def _role(column: "pl.Series") -> tuple[Literal["number", "category", "none"], str]:
    """What a feature is good for by its values alone. An identifier would be learned by heart, so it stays out."""
    values = column.drop_nulls()
    distinct = values.n_unique()
    if distinct < 2:
        return "none", "has one value only"
    if column.dtype.is_temporal():
        return "none", "is a date or time; derive features from it in src/prepare.py"
    if column.dtype.is_(type_of("Boolean")):
        return "number", ""
    if column.dtype.is_numeric():
        looks_like_id = column.name.lower() in ("id", "index") or column.name.lower().endswith("_id")
        if column.dtype.is_integer() and looks_like_id and distinct == len(values):
            return "none", "is an identifier"
        return "number", ""
    if column.dtype.is_nested():
        return "none", f"is of type {column.dtype}"
    if distinct > MAX_CATEGORIES:
        return "none", f"is text with {distinct} different values"
    return "category", ""


def project_files(table: Table | None, names: Names, *, logger: Logger = "lockgate") -> Mapping[str, str]:
    """Every file but the data contract, by its path in the project."""
    if table is None:
        return {"lockgate.yaml": _render("bare.yaml.jinja", names=names)}
    facts = {"table": table, "names": names, "logger": logger}
    return {
        "lockgate.yaml": _render("lockgate.yaml.jinja", **facts),
        "params.yaml": _render("params.yaml.jinja", **facts),
        "src/prepare.py": _render("prepare.py.jinja", **facts),
        "src/train.py": _render("train.py.jinja", **facts),
    }


def example_data_script() -> str:
    """A script that writes scikit-learn's breast cancer data to data/tumours.csv."""
    return _render("make_data.py.jinja")


def _render(template: str, **facts: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # the result is YAML and Python; values go through the two filters below
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["python"] = _python
    environment.filters["yaml"] = _yaml
    return environment.get_template(template).render(**facts)


def _python(value: Any) -> str:  # text, a number, or a tuple of text
    """A Python literal in the style of ruff: double quotes, one line where it fits."""
    if isinstance(value, tuple):
        items = [_python(item) for item in value]
        line = f"[{', '.join(items)}]"
        return line if len(line) <= 100 else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    if isinstance(value, str) and '"' not in value:
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _yaml(value: object) -> str:
    """A YAML scalar, quoted where it has to be."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
