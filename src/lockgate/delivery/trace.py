"""From one answer in production back to everything that made it."""

from typing import TYPE_CHECKING

from lockgate.entities import Approval, Prediction, Record, Release, Rollout
from lockgate.errors import NotFound
from lockgate.project import Folder

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.wire.mlflow.runs import Run

_LOOK_BACK = 200


class Trace(Record, frozen=True, kw_only=True):
    """The chain behind a prediction. `rollout` is the one that brought its version; None where its record is gone.

    `rows` is how many predictions were asked for: the id of a request stands for all of its rows, which went the same
    way, and `prediction` is the first of them.
    """

    prediction: Prediction
    rows: int
    release: Release
    run_status: str | None
    run_metrics: dict[str, float]
    approvals: tuple[Approval, ...]
    rollout: Rollout | None


def trace(folder: Folder, client: "Client", prediction_id: str) -> Trace:
    """Follow the id of a prediction, or of a request of several rows, through the prediction logs of all environments.

    Raises NotFound.
    """
    prediction, rows = _find(folder, prediction_id)
    release = client.registry.get_release(prediction.model, prediction.version)
    run = _run_of(client, release)
    approvals = client.registry.list_approvals(prediction.model, prediction.version, prediction.environment)
    return Trace(
        prediction=prediction,
        rows=rows,
        release=release,
        run_status=run.info.status if run else None,
        run_metrics={metric.key: float(metric.value) for metric in run.data.metrics} if run else {},
        approvals=tuple(approvals),
        rollout=_rollout_of(client, prediction),
    )


def _run_of(client: "Client", release: Release) -> "Run | None":
    """The run that made a version; None where it was registered without one, or its record is gone."""
    if not release.run_id:
        return None
    try:
        return client.tracking.get_run(release.run_id)
    except NotFound:
        return None


def _find(folder: Folder, prediction_id: str) -> tuple[Prediction, int]:
    from lockgate.data.predictions import count_rows, find_prediction

    serving = folder.state / "serving"
    logs = sorted(serving.glob("*/predictions")) if serving.is_dir() else []
    for log in logs:
        if found := find_prediction(log, prediction_id):
            return found, 1
        if first := find_prediction(log, f"{prediction_id}-0"):
            return first, count_rows(log, prediction_id)
    searched = ", ".join(log.parent.name for log in logs) or "no environment has served yet"
    raise NotFound(
        f"no prediction {prediction_id!r} in the prediction logs ({searched}); old segments are deleted after "
        "`prediction_log_days`.",
        hint="the id is in the answer of the request and in its header",
    )


def _rollout_of(client: "Client", prediction: Prediction) -> Rollout | None:
    """The newest rollout of that version begun before the answer was given."""
    for rollout in client.delivery.list_rollouts(prediction.model, prediction.environment, limit=_LOOK_BACK):
        brought = rollout.version == prediction.version
        kept = rollout.baseline_version == prediction.version and rollout.state == "rolled_back"
        if rollout.created_at <= prediction.at and brought and not kept:
            return rollout
    return None
