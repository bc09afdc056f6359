"""`lockgate init`: the files a project starts with."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from lockgate.errors import AlreadyExists, InvalidInput
from lockgate.project import FILE_NAME, Task

if TYPE_CHECKING:
    from lockgate.cli.app import App
    from lockgate.cli.scaffold import Table

_IGNORED = (".lockgate/", "build/")
_EXAMPLE_DATA, _EXAMPLE_LABEL = "data/tumours.csv", "malignant"


@click.command
@click.option("--data", type=click.Path(path_type=Path), help="A CSV, Parquet or Arrow file inside the project.")
@click.option("--label", help="The column of --data that the model shall predict.")
@click.option("--task", type=click.Choice(get_args(Task)), help="Default: told from the label's values.")
@click.option("--model", "model", metavar="NAME", help="Name of the registered model. Default: the folder's name.")
@click.option("--example", is_flag=True, help="Write a whole example project, with its data.")
@click.option("--mlflow", "with_mlflow", is_flag=True, help="The training script logs with mlflow.")
@click.option("--force", is_flag=True, help="Overwrite files that are already there.")
@click.pass_obj
def init(
    app: "App",
    data: Path | None,
    label: str | None,
    task: Task | None,
    model: str | None,
    example: bool,
    with_mlflow: bool,
    force: bool,
) -> None:
    """Start a project in this folder.

    Writes lockgate.yaml and .gitignore lines. With a data file also a data contract and scripts that split the data and
    train a model: they are yours, change them. Nothing is overwritten without --force.

    \b
    Example: lockgate init --data data/customers.csv --label churned
             lockgate -C example init --example
    """
    if example and (data or label):
        raise InvalidInput("--example brings its own data: leave --data and --label out.")
    if (data is None) != (label is None):
        raise InvalidInput("--data and --label belong together.", hint="lockgate init --data FILE --label COLUMN")
    app.start.mkdir(parents=True, exist_ok=True)
    root = app.start
    if example:
        data, label = Path(_EXAMPLE_DATA), _EXAMPLE_LABEL
    name = model or ("tumours" if example else _model_name(root))

    # Refused before anything is written or, for the example, computed.
    _require_free(root, _targets(example=example, data=data), force=force)
    wrote: list[str] = []
    if example:
        wrote += _write_example_data(root)
    if data is None or label is None:
        wrote += _write(root, _files(None, name, data, with_mlflow=with_mlflow))
    else:
        table = _describe(root, data, label, task)
        wrote += _write(root, _files(table, name, data, with_mlflow=with_mlflow))
        wrote.append(_write_contract(root, data, label))
        click.echo(f"{table.path}: {table.rows:,} rows; {label} makes it a {table.task.replace('_', ' ')}.")
        for column, why in table.dropped:
            click.echo(f"  {column} is left out of the features: it {why}.")
    wrote += _ignore(root)
    for path in wrote:
        click.echo(f"wrote {path}")
    _say_next(root, has_stages=data is not None)


def _targets(*, example: bool, data: Path | None) -> list[str]:
    """Every file that will be written; .gitignore is only ever added to."""
    targets = [FILE_NAME]
    if data is not None:
        targets += ["params.yaml", "src/prepare.py", "src/train.py", f"contracts/{_data_name(data)}.yaml"]
    if example:
        targets += ["src/make_data.py", _EXAMPLE_DATA]
    return targets


def _require_free(root: Path, targets: list[str], *, force: bool) -> None:
    taken = [target for target in targets if (root / target).exists()]
    if taken and not force:
        raise AlreadyExists(
            f"{', '.join(taken)} {'is' if len(taken) == 1 else 'are'} already in {root}.",
            hint="lockgate init --force overwrites; to look at what is there: lockgate status",
        )


def _describe(root: Path, data: Path, label: str, task: Task | None) -> "Table":
    from lockgate.cli.scaffold import describe
    from lockgate.data.frames import read_frame

    path = (root / data).resolve()
    if not path.is_relative_to(root):
        raise InvalidInput(
            f"{path} lies outside the project {root}, where no commit can pin it.",
            hint=f"mkdir -p {root / 'data'} && cp {path} {root / 'data'}/",
        )
    return describe(read_frame(path), path=path.relative_to(root).as_posix(), label=label, task=task)


def _files(table: "Table | None", name: str, data: Path | None, *, with_mlflow: bool) -> Mapping[str, str]:
    from lockgate.cli.scaffold import Names, project_files

    names = Names(model=name, data=_data_name(data) if data else "")
    return project_files(table, names, logger="mlflow" if with_mlflow else "lockgate")


def _write(root: Path, files: Mapping[str, str]) -> list[str]:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return list(files)


def _write_contract(root: Path, data: Path, label: str) -> str:
    from lockgate.data.contract import save_contract
    from lockgate.data.frames import read_frame
    from lockgate.data.infer import infer_contract, notes

    path, frame = f"contracts/{_data_name(data)}.yaml", read_frame(root / data)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    save_contract(infer_contract(frame, label=label), root / path, source=data.name, notes=notes(frame))
    return path


def _write_example_data(root: Path) -> list[str]:
    from lockgate.cli.scaffold import example_data_script

    wrote = _write(root, {"src/make_data.py": example_data_script()})
    subprocess.run([sys.executable, "src/make_data.py"], cwd=root, check=True, capture_output=True)
    return [*wrote, _EXAMPLE_DATA]


def _ignore(root: Path) -> list[str]:
    """Add what must not be committed to .gitignore, once."""
    path = root / ".gitignore"
    before = path.read_text() if path.is_file() else ""
    missing = [line for line in _IGNORED if line not in before.splitlines()]
    if not missing:
        return []
    joint = "" if not before or before.endswith("\n") else "\n"
    path.write_text(before + joint + "".join(f"{line}\n" for line in missing))
    return [".gitignore"]


def _say_next(root: Path, *, has_stages: bool) -> None:
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        click.echo("there is no git repository here: versions will have no commit to go back to (git init).")
    where = "" if root == Path.cwd() else f"-C {root} "
    click.echo(f"next: lockgate {where}run" if has_stages else f"next: fill in {FILE_NAME}, then: lockgate {where}run")


def _model_name(root: Path) -> str:
    """The folder's name with what a model's name cannot have replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", root.name).strip("-._")[:100] or "model"


def _data_name(data: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", data.name.split(".")[0]).strip("-_")[:100] or "data"
