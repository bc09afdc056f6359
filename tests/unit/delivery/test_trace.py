from typing import Any

import pytest

from lockgate.data.predictions import PredictionLog
from lockgate.delivery.trace import trace
from lockgate.entities import Prediction
from lockgate.errors import NotFound

Place = Any  # conftest's Workplace: test folders are no packages


def answered(place: Place, *ids: str) -> list[Prediction]:
    """Rows that version 1 has answered in staging, in the prediction log."""
    rows = [
        Prediction(
            prediction_id=id_,
            at=place.clock.now_ms(),
            model="churn",
            version=1,
            environment="staging",
            inputs={"age": 42},
            output=0.7,
            latency_ms=1.5,
        )
        for id_ in ids
    ]
    folder = place.folder.state / "serving" / "staging" / "predictions"
    log = PredictionLog(folder, replica="a", clock=place.clock, keep_days=1, keep_mb=1)
    log.append(rows)
    log.close()
    return rows


def test_a_prediction_leads_to_its_release_commit_and_rollout(place: Place) -> None:
    rollout = place.drive(place.begin(1))
    place.clock.sleep(1.0)
    (prediction,) = answered(place, "p1")
    found = trace(place.folder, place.client, "p1")
    assert (found.prediction, found.rows) == (prediction, 1)
    assert (found.release.version, found.release.commit) == (1, "c" * 40)
    assert found.rollout is not None and found.rollout.rollout_id == rollout.rollout_id


def test_the_id_of_a_request_leads_to_all_of_its_rows(place: Place) -> None:
    first, second, _, _ = answered(place, "r-0", "r-1", "r-2", "s-0")
    found = trace(place.folder, place.client, "r")
    assert (found.prediction, found.rows) == (first, 3)
    one = trace(place.folder, place.client, "r-1")
    assert (one.prediction, one.rows) == (second, 1)


def test_an_unknown_prediction_says_where_was_looked(place: Place) -> None:
    with pytest.raises(NotFound, match="no environment has served yet"):
        trace(place.folder, place.client, "nobody")
