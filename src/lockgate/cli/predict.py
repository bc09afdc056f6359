"""`lockgate predict`: score a whole file."""

from pathlib import Path

import click

from lockgate.cli.app import App


@click.command()
@click.argument("version", metavar="MODEL[@VERSION|@ALIAS]")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--batch-rows", type=click.IntRange(1, 10_000_000), default=32_768, help="Rows scored at a time.")
@click.option("--only-predictions", is_flag=True, help="Leave the input's columns out of the output.")
@click.option("--probabilities", is_flag=True, help="Add a column probability_CLASS for every class.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_obj
def predict(
    app: App,
    version: str,
    source: Path,
    target: Path,
    batch_rows: int,
    only_predictions: bool,
    probabilities: bool,
    as_json: bool,
) -> None:
    """Score a CSV, Parquet or Arrow file, streaming: memory does not grow with the file.

    OUT has the columns of IN and the column `prediction`; its suffix says its format, and it appears when it is whole.
    Columns that the model does not know are kept; one that it needs and that is missing is an error.

    \b
    Example: lockgate predict churn@champion customers.parquet scored.parquet
    """
    from lockgate.cli.output import print_json
    from lockgate.cli.reference import resolve_version
    from lockgate.entities import Content
    from lockgate.models.load import load_model
    from lockgate.serving.score import score_file
    from lockgate.store.checkout import checkout

    model, number = resolve_version(app.folder, app.client, version)
    release = app.client.registry.get_release(model, number)
    folder = app.folder.state / "models" / release.content.digest
    if not folder.is_dir():
        checkout(app.store, Content(kind="tree", digest=release.content.digest, size_bytes=0), folder)
    started = app.clock.monotonic()
    scored = score_file(
        load_model(folder),
        source,
        target,
        batch_rows=batch_rows,
        only_predictions=only_predictions,
        probabilities=probabilities,
    )
    took_s = app.clock.monotonic() - started
    if as_json:
        print_json(
            {"model": model, "version": number, "rows": scored.rows, "output": str(target), "took_s": round(took_s, 3)}
        )
    else:
        click.echo(f"{scored.rows:,} rows scored by version {number} of {model} in {took_s:.1f} s: {target}")
