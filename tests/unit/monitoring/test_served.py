"""What was served in a window, counted."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from lockgate.data.profile import PREDICTION, profile_frame
from lockgate.entities import Prediction
from lockgate.monitoring.answers import Answers
from lockgate.monitoring.served import Served, batches
from lockgate.project import Project

ANSWERS = Answers(Project(model="m", task="binary_classification"), (0, 1))

# A window without labels, then one with them; after each, the libraries that are loaded.
LOOK = """
import json, sys
from lockgate.data.drift import compare
from lockgate.data.profile import decode_profile
from lockgate.entities import Prediction
from lockgate.monitoring.answers import Answers
from lockgate.monitoring.performance import Labelled, measure
from lockgate.monitoring.quality import broken_expectations
from lockgate.monitoring.served import Served
from lockgate.project import Project
import lockgate.monitoring.alerts, lockgate.monitoring.window

def loaded():
    return sorted({"numpy", "polars", "scipy", "pandas", "sklearn"} & set(sys.modules))

project = Project(model="m", task="binary_classification")
answers, reference = Answers(project, (0, 1)), decode_profile(sys.stdin.buffer.read())
rows = [
    Prediction(prediction_id=str(i), at=i, model="m", version=1, environment="e", inputs={"x": i / 7, "k": "ab"[i % 2]},
               output=i % 2, scores=(0.5 - i / 1000, 0.5 + i / 1000), latency_ms=i / 10)
    for i in range(300)
]
served = Served()
served.add(rows, reference, answers)
found = compare(reference, served.profile, alpha=0.01, min_effect=0.1)
broken = broken_expectations(reference, served.profile, alpha=0.01)
p99, without_labels = served.latency_ms(0.99), loaded()
labelled = Labelled()
labelled.add(rows, {str(i): i % 3 % 2 for i in range(300)})
values, notes = measure(labelled, project, answers)
print(json.dumps([len(found), len(broken), len(values), without_labels, loaded()]))
"""


def prediction(i: int, latency_ms: float, **fields: object) -> Prediction:
    common: dict[str, object] = {"model": "m", "version": 1, "environment": "e", "inputs": {}, "output": 1}
    return Prediction(prediction_id=str(i), at=i, latency_ms=latency_ms, **{**common, **fields})  # type: ignore[arg-type]


def test_a_look_loads_no_numerical_library_and_with_labels_numpy_alone() -> None:
    from lockgate.data.profile import encode_profile

    rng = np.random.default_rng(0)
    training = pl.DataFrame({"x": rng.normal(size=500), "k": rng.choice(["a", "c"], 500), PREDICTION: rng.random(500)})

    done = subprocess.run(
        [sys.executable, "-c", LOOK], input=encode_profile(profile_frame(training)), capture_output=True, check=True
    )

    tested, broken, metrics, without_labels, with_labels = json.loads(done.stdout)
    assert (tested, metrics) == (3, 8)
    assert broken > 0
    assert (without_labels, with_labels) == ([], ["numpy"])


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 999])
@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.99, 1.0])
def test_quantiles_of_latencies_are_those_of_the_sorted_rows(rows: int, quantile: float) -> None:
    latencies = np.random.default_rng(rows).gamma(2.0, 1.0, rows).round(2)
    served = Served()

    served.add([prediction(i, value) for i, value in enumerate(latencies.tolist())], None, ANSWERS)

    assert served.latency_ms(quantile) == pytest.approx(float(np.quantile(latencies, quantile)), rel=1e-12)


def test_nothing_served_has_no_latency_and_no_error() -> None:
    served = Served()
    served.add([], None, ANSWERS)

    assert (served.rows, served.latency_ms(0.5), served.error_rate, served.profile) == (0, None, 0.0, None)


def test_failed_requests_count_as_errors_and_refused_ones_not_at_all() -> None:
    served = Served()
    served.add([prediction(0, 1.0), prediction(1, 90.0, status=500), prediction(2, 50.0, status=400)], None, ANSWERS)

    assert (served.rows, served.errors, served.error_rate, served.latency_ms(1.0)) == (1, 1, 0.5, 1.0)


def test_rows_counted_in_many_batches_are_counted_like_one_table() -> None:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"x": rng.normal(size=2500), "k": rng.choice(["a", "b", None], 2500)})
    reference = profile_frame(frame.head(500))
    stream = [prediction(i, 1.0, inputs=row) for i, row in enumerate(frame.iter_rows(named=True))]
    served = Served()

    sizes = []
    for batch in batches(stream):
        sizes.append(len(batch))
        served.add(batch, reference, ANSWERS)

    assert max(sizes) < 2500
    assert served.profile == profile_frame(frame, reference=reference)
