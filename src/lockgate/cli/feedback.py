"""`lockgate feedback`: the truth about logged predictions, from a file."""

from pathlib import Path
from typing import Any

import click

from lockgate.cli.app import App

_SHOWN = 5


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--env", "environment", help="Where the predictions were made. Default: the last one of lockgate.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.pass_obj
def feedback(app: App, file: Path, environment: str | None, as_json: bool) -> None:
    """Add true labels to logged predictions.

    FILE is CSV, Parquet, Arrow or JSON lines with the columns prediction_id and label, and perhaps at (milliseconds
    since 1970 when the truth was known; default: now). Lines that cannot be used are named; the others are added.
    A label given again replaces the one before. The rows of a request of several have the ids ID-0, ID-1 and so on.
    How many labels are for logged predictions is said; the others count for nothing.

    \b
    Example: lockgate feedback labels.csv --env production
    """
    from lockgate.cli.environment import chosen_environment
    from lockgate.cli.output import print_json
    from lockgate.data.predictions import append_feedback, find_logged
    from lockgate.errors import InvalidInput
    from lockgate.serving.feedback import check_labels

    environment = chosen_environment(app.folder.project, environment)
    good, bad = check_labels(_read(file), app.clock.now_ms())
    served = app.folder.state / "serving" / environment
    append_feedback(served / "feedback", good)
    logged = find_logged(served / "predictions", {label.prediction_id for label in good})
    unknown = [label.prediction_id for label in good if label.prediction_id not in logged]
    matched = len(good) - len(unknown)
    if as_json:
        counts = {"accepted": len(good), "matched": matched, "refused": len(bad)}
        print_json({"environment": environment, **counts, "reasons": bad[:_SHOWN]})
    else:
        click.echo(f"{len(good)} labels added to {environment}, {matched} of them for logged predictions.")
    if unknown:
        names = ", ".join(unknown[:_SHOWN]) + (" ..." if len(unknown) > _SHOWN else "")
        click.echo(
            f"not in the prediction log of {environment}: {names}; rows of a request of several are ID-0, ID-1, ...",
            err=True,
        )
    if bad:
        more = f" And {len(bad) - _SHOWN} more." if len(bad) > _SHOWN else ""
        raise InvalidInput(
            f"{len(bad)} of {len(good) + len(bad)} lines of {file} were not used: {' '.join(bad[:_SHOWN])}{more}",
            hint="correct and send these lines again; the others need not be sent twice",
        )


def _read(file: Path) -> list[Any]:
    """One JSON-like value a line."""
    if file.suffix.lower() in (".jsonl", ".ndjson"):
        return _read_lines(file)
    from lockgate.data.frames import read_frame
    from lockgate.errors import InvalidInput

    frame = read_frame(file)
    for column in ("prediction_id", "label"):
        if column not in frame.columns:
            raise InvalidInput(f"{file} has no column {column!r}; it has: {', '.join(frame.columns)}.")
    kept = [name for name in ("prediction_id", "label", "at") if name in frame.columns]
    rows = frame.select(kept).to_dicts()
    # A column `at` may have gaps.
    return [{name: value for name, value in row.items() if name != "at" or value is not None} for row in rows]


def _read_lines(file: Path) -> list[Any]:
    import msgspec

    from lockgate.errors import InvalidInput, NotFound

    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}.") from None
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}.") from error
    values = []
    for line in lines:
        try:
            values.append(msgspec.json.decode(line))
        except msgspec.DecodeError as error:
            values.append(f"not JSON ({error})")
    return values
