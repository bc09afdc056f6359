"""Runs of a folder of MLflow's one by one, where its own search ends at the first that is damaged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lockgate.client.transport import Transport
from lockgate.errors import InvalidInput
from lockgate.exchange import answers
from lockgate.ids import RUN_ID
from lockgate.wire.mlflow import runs


def read_one_by_one(store: Transport, folder: Path, request: runs.SearchRuns) -> dict[str, Any]:
    """As the search would answer. One that cannot be read is said by its id, and refused when it is asked for."""
    found = [_read(store, experiment_id, run_id) for experiment_id, run_id in _list_ids(folder, request)]
    return {"runs": sorted(found, key=lambda run: run["info"].get("start_time", 0))}


def _list_ids(folder: Path, request: runs.SearchRuns) -> Iterator[tuple[str, str]]:
    for experiment_id in request.experiment_ids:
        for root in (folder / experiment_id, folder / ".trash" / experiment_id):
            for place in sorted(root.glob("*/meta.yaml")):
                if RUN_ID.fullmatch(place.parent.name):
                    yield experiment_id, place.parent.name


def _read(store: Transport, experiment_id: str, run_id: str) -> dict[str, Any]:
    try:
        run = store.call(answers.GET_RUN, runs.OfRun(run_id=run_id)).run
    except InvalidInput:
        info = {"run_id": run_id, "experiment_id": experiment_id, "status": "FINISHED", "lifecycle_stage": "active"}
        return {"info": info}
    plain: dict[str, Any] = msgspec.to_builtins(run)
    return plain
