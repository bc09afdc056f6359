"""`lockgate check`: data files against their contracts; with `--infer`, the first contract."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App
from lockgate.cli.output import print_json, print_table
from lockgate.errors import AlreadyExists, InvalidInput, NotFound

if TYPE_CHECKING:
    from lockgate.data.check import DataReport


@click.command
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.option("--contract", type=click.Path(path_type=Path), help="Check FILE against this contract.")
@click.option("--infer", is_flag=True, help="Write the contract that FILE keeps.")
@click.option("--output", type=click.Path(path_type=Path), help="Where --infer writes; default: standard output.")
@click.option("--label", help="The column to predict, for --infer: never missing, its classes fixed.")
@click.option("--force", is_flag=True, help="Let --infer replace a contract that is there.")
@click.option("--accept", "accept_", is_flag=True, help="Compare later versions with the files as they are now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(
    app: App,
    names: tuple[str, ...],
    contract: Path | None,
    infer: bool,
    output: Path | None,
    label: str | None,
    force: bool,
    accept_: bool,
    as_json: bool,
) -> None:
    """Check data files against their contracts, or infer a contract.

    NAMEs are those under `data:` in lockgate.yaml; without any, all are checked. A broken contract is exit code 3.

    \b
    Example:
      lockgate check --infer data/customers.parquet --label churned --output contracts/customers.yaml
      lockgate check
    """
    if infer:
        _infer(app, _one_file(app, names), output=output, label=label, force=force)
        return
    for option, given in (("--output", output), ("--label", label), ("--force", force or None)):
        if given is not None:
            raise InvalidInput(f"{option} goes with --infer.")
    if contract and accept_:
        raise InvalidInput("--accept goes with a NAME of lockgate.yaml, not with --contract.")
    from lockgate.data.check import check_file, refusal

    if contract:
        reports = [check_file(_one_file(app, names), app.start / contract)]
    else:
        reports = _check_project(app, names, accept_)
    _print(reports, as_json=as_json, accepted=accept_)
    if not accept_ and (error := refusal(reports)) is not None:
        raise error


def _check_project(app: App, names: tuple[str, ...], accept_: bool) -> "list[DataReport]":
    from lockgate.data.check import accept, check_data

    reports = check_data(app.folder, app.store, names=names or None, clock=app.clock)
    if not accept_:
        return reports
    for report in reports:
        other = [failure for failure in report.failures if failure.expectation != "drift"]
        if other:
            raise InvalidInput(
                f"{report.path} breaks its contract and cannot be accepted: {other[0]}",
                hint=f"mend the data or edit {report.contract}; only drift can be accepted as it is",
            )
        accept(app.folder, report)
    return reports


def _one_file(app: App, names: tuple[str, ...]) -> Path:
    if len(names) != 1:
        raise InvalidInput("name one FILE.", hint="lockgate check FILE --contract CONTRACT")
    path = app.start / names[0]
    if not path.is_file():
        raise NotFound(f"there is no data file {path}.")
    return path


def _infer(app: App, path: Path, *, output: Path | None, label: str | None, force: bool) -> None:
    target = app.start / output if output else None
    if target is not None and target.exists() and not force:
        raise AlreadyExists(f"{target} is there already.", hint="--force replaces it")
    from lockgate.data.contract import contract_text, save_contract
    from lockgate.data.frames import read_frame
    from lockgate.data.infer import infer_contract, notes

    frame = read_frame(path)
    contract = infer_contract(frame, label=label)
    if target is None:
        click.echo(contract_text(contract, source=path.name, notes=notes(frame)), nl=False)
        return
    save_contract(contract, target, source=path.name, notes=notes(frame))
    click.echo(f"wrote {output}: {frame.width} columns from {frame.height} rows of {path.name}.")


def _print(reports: "list[DataReport]", *, as_json: bool, accepted: bool) -> None:
    if as_json:
        print_json([{"passed": report.passed, **_plain(report)} for report in reports])
        return
    rows = [
        {
            "data": report.name,
            "file": report.path,
            "rows": report.rows,
            "expectations": report.expectations,
            "broken": len(report.failures),
            "result": _result(report, accepted=accepted),
        }
        for report in reports
    ]
    print_table(rows, list(rows[0]) if rows else [], empty="lockgate.yaml names no data.")


def _result(report: "DataReport", *, accepted: bool) -> str:
    if report.contract is None:
        return "no contract"
    if accepted:
        return "accepted"
    return "passed" if report.passed else "refused"


def _plain(report: "DataReport") -> dict[str, object]:
    import msgspec

    plain: dict[str, object] = msgspec.to_builtins(report)
    return plain
