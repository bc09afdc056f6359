"""`lockgate trace`: one answer and everything behind it."""

from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.delivery.trace import Trace


@click.command
@click.argument("prediction_id")
@click.option("--json", "as_json", is_flag=True, help="Print the whole chain as JSON.")
@click.pass_obj
def trace(app: App, prediction_id: str, as_json: bool) -> None:
    """Follow a prediction back to its data and commit.

    The id is in the header lockgate-prediction-id of the answer. The rows of a request of several are ID-0, ID-1 and so
    on; for ID itself the first is shown.

    \b
    Example: lockgate trace 0192f3c5a1b2
    """
    from lockgate.cli.output import print_json
    from lockgate.delivery.trace import trace as follow

    found = follow(app.folder, app.client, prediction_id)
    if as_json:
        print_json(found)
        return
    for name, lines in _chain(found):
        for i, line in enumerate(lines):
            click.echo(f"{name if i == 0 else '':<12}{line}")


def _chain(found: "Trace") -> list[tuple[str, list[str]]]:
    from lockgate.cli.output import format_cell, format_time

    prediction, release, rollout = found.prediction, found.release, found.rollout
    inputs = ", ".join(f"{name}={format_cell(value)}" for name, value in list(prediction.inputs.items())[:8])
    more = len(prediction.inputs) - 8
    output = prediction.output if not isinstance(prediction.output, tuple) else list(prediction.output)
    approvals = [f"{a.approver} at {format_time(a.approved_at)} {a.comment}".rstrip() for a in found.approvals]
    chain = [
        (
            "prediction",
            [
                f"{prediction.prediction_id} at {format_time(prediction.at)} in {prediction.environment}, "
                f"status {prediction.status}, {prediction.latency_ms:.2f} ms",
                f"{inputs}{f', and {more} more' if more > 0 else ''} -> {output}",
                *_other_rows(found),
            ],
        ),
        (
            "version",
            [f"{release.model}@{release.version}, {release.flavor}, content {release.content.digest}"],
        ),
        ("rollout", [_rollout_line(found)] if rollout else ["no record of the rollout is left"]),
        (
            "approved by",
            approvals,
        ),
        ("gates", _gate_lines(found)),
        ("run", [f"{release.run_id} {found.run_status or '(its record is gone)'}", *_pairs(found.run_metrics)]),
        ("params", _pairs(release.params)),
        ("commit", [_commit_line(found)]),
        ("data", [f"{name} {content.digest} ({content.size_bytes} bytes)" for name, content in release.data.items()]),
        ("environment", [release.environment or "not recorded"]),
    ]
    return [(name, lines) for name, lines in chain if lines]


def _other_rows(found: "Trace") -> list[str]:
    if found.rows == 1:
        return []
    request = found.prediction.prediction_id.removesuffix("-0")
    return [f"the first of the request's {found.rows} rows, {request}-0 to {request}-{found.rows - 1}"]


def _rollout_line(found: "Trace") -> str:
    from lockgate.cli.output import format_time

    assert found.rollout is not None
    rollout = found.rollout
    override = f", against the gates: {rollout.override_reason}" if rollout.override_reason else ""
    return (
        f"{rollout.rollout_id} {rollout.strategy} by {rollout.created_by} at {format_time(rollout.created_at)}, "
        f"{rollout.state}{override}"
    )


def _gate_lines(found: "Trace") -> list[str]:
    verdict = found.release.verdict
    if verdict is None:
        return ["never judged"]
    against = f" against version {verdict.champion_version}" if verdict.champion_version is not None else ""
    head = f"{'passed' if verdict.passed else 'refused'} on {verdict.rows} rows{against}"
    return [head, *(f"{check.status:<8}{check.gate}: {check.reason}" for check in verdict.checks)]


def _commit_line(found: "Trace") -> str:
    release = found.release
    if release.commit is None:
        return "no git repository"
    return release.commit + (f" with uncommitted changes, stored as {release.dirty_diff}" if release.dirty_diff else "")


def _pairs(values: "dict[str, float] | dict[str, bool | int | float | str | None]") -> list[str]:
    from lockgate.cli.output import format_cell

    return [", ".join(f"{name}={format_cell(value)}" for name, value in values.items())] if values else []
