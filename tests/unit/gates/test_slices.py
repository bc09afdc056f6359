import numpy as np
import polars as pl
import pytest

from lockgate.errors import InvalidInput
from lockgate.gates.slices import check_slices, iter_slices
from lockgate.project import SliceGate

GAP = SliceGate(metric="accuracy", slices=["region"], max_gap=0.05)


def run(gate, measured, frame):
    return check_slices(gate, measured.candidate, measured.champion, frame, seed=0)


def spoiled(frame: pl.DataFrame, share: float) -> pl.DataFrame:
    """Labels of the south are turned at random: the model is worse there."""
    turned = np.random.default_rng(1).random(frame.height) < share
    return frame.with_columns(
        label=pl.when((pl.col("region") == "south") & pl.Series(turned)).then(1 - pl.col("label")).otherwise("label")
    )


def test_equal_slices_pass(measure) -> None:
    measured, frame = measure(0.2, 0.2)
    check, values = run(GAP, measured, frame)
    assert check.status == "passed" and [value.label for value in values] == ["north", "south"]
    assert all(value.champion_value is not None for value in values)


def test_a_gap_beyond_chance_refuses_and_names_the_slices(kit, measure) -> None:
    measured, frame = measure(0.2, frame=spoiled(kit.binary_frame(2000), 0.5))
    check, _ = run(GAP, measured, frame)
    assert check.status == "failed" and "region = south" in check.reason and "Holm" in check.reason
    assert check.details["lowest"] == "region = south"


def test_a_gap_within_chance_passes_and_says_so(kit, measure) -> None:
    measured, frame = measure(0.2, frame=spoiled(kit.binary_frame(120), 0.15))
    check, _ = run(SliceGate(metric="accuracy", slices=["region"], max_gap=0.0), measured, frame)
    assert check.status == "passed" and "within chance" in check.reason


def test_equal_slices_are_rarely_refused(kit, measure) -> None:
    refused = []
    for seed in range(40):
        frame = kit.binary_frame(300, seed=seed).with_columns(shard=pl.Series(np.arange(300) % 6))
        measured, _ = measure(0.2, frame=frame)
        gate = SliceGate(metric="accuracy", slices=["shard"], max_gap=0.0)
        refused.append(run(gate, measured, frame)[0].status == "failed")
    assert np.mean(refused) <= 0.1


def test_a_slice_below_the_least_allowed_refuses(kit, measure) -> None:
    measured, frame = measure(0.2, frame=spoiled(kit.binary_frame(2000), 0.5))
    check, _ = run(SliceGate(metric="accuracy", slices=["region"], min=0.7), measured, frame)
    assert check.status == "failed" and "at least 0.7 is asked for" in check.reason


def test_small_slices_are_left_out_and_counted(kit, measure) -> None:
    frame = kit.binary_frame(400)
    tiny = frame.with_columns(region=pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("tiny")).otherwise("region"))
    measured, _ = measure(0.2, frame=tiny)
    check, values = run(GAP, measured, tiny)
    assert "1 slice left out" in check.reason and check.details["left_out"] == 1
    assert next(value for value in values if value.label == "tiny").value is None


def test_support_of_recall_are_positives(measure) -> None:
    measured, frame = measure(0.2)
    _, values = run(SliceGate(metric="recall", slices=["region"], max_gap=0.5), measured, frame)
    positives = frame.filter((pl.col("region") == "north") & (pl.col("label") == 1)).height
    assert values[0].support == positives


def test_an_all_right_slice_is_no_proof(measure) -> None:
    frame = pl.DataFrame({"x": [5.0, -5.0] * 40, "region": ["a"] * 40 + ["b"] * 40, "label": [1, 0] * 40})
    measured, _ = measure(0.0, frame=frame)
    _, values = run(GAP, measured, frame)
    assert values[0].value == 1.0 and values[0].standard_error == pytest.approx(1 / 40)


def test_no_slice_with_support_fails(kit, measure) -> None:
    measured, frame = measure(0.2, frame=kit.binary_frame(20))
    assert run(GAP, measured, frame)[0].status == "failed"


def test_one_slice_alone_is_skipped(kit, measure) -> None:
    frame = kit.binary_frame(100).with_columns(region=pl.lit("here"))
    measured, _ = measure(0.2, frame=frame)
    check, _ = run(GAP, measured, frame)
    assert check.status == "skipped" and "nothing to compare" in check.reason


def test_a_missing_column_is_named(measure) -> None:
    measured, frame = measure(0.2)
    with pytest.raises(InvalidInput, match="no column 'country' to slice by"):
        run(SliceGate(metric="accuracy", slices=["country"], max_gap=0.1), measured, frame)


def test_many_numbers_are_cut_at_their_quartiles() -> None:
    slices = list(iter_slices(pl.Series("x", [*np.linspace(0, 1, 100).tolist(), None])))
    assert [int(mask.sum()) for _, mask in slices] == [25, 25, 25, 25, 1]
    assert slices[0][0].startswith("<= ") and slices[-1][0] == "(missing)"


def test_few_numbers_are_slices_of_their_own() -> None:
    assert [label for label, _ in iter_slices(pl.Series("n", [1, 2, 2, 3]))] == ["1", "2", "3"]
