from typing import Any

import pytest

from lockgate.data.predictions import PredictionLog
from lockgate.delivery.trace import trace
from lockgate.entities import Prediction
from lockgate.errors import NotFound

Place = Any  # conftest's Workplace: test folders are no packages


def test_a_prediction_leads_to_its_release_commit_and_rollout(place: Place) -> None:
    rollout = place.drive(place.begin(1))
    place.clock.sleep(1.0)
    prediction = Prediction(
        prediction_id="p1",
        at=place.clock.now_ms(),
        model="churn",
        version=1,
        environment="staging",
        inputs={"age": 42},
        output=0.7,
        latency_ms=1.5,
    )
    folder = place.folder.state / "serving" / "staging" / "predictions"
    log = PredictionLog(folder, replica="a", clock=place.clock, keep_days=1, keep_mb=1)
    log.append([prediction])
    log.close()
    found = trace(place.folder, place.client, "p1")
    assert found.prediction == prediction
    assert (found.release.version, found.release.commit) == (1, "c" * 40)
    assert found.rollout is not None and found.rollout.rollout_id == rollout.rollout_id


def test_an_unknown_prediction_says_where_was_looked(place: Place) -> None:
    with pytest.raises(NotFound, match="no environment has served yet"):
        trace(place.folder, place.client, "nobody")
