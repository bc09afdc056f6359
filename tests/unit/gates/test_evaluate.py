import numpy as np
import polars as pl
import pytest

from lockgate.errors import InvalidInput
from lockgate.gates.evaluate import evaluate, metric_names
from lockgate.project import Evaluate

BINARY, MULTI, REGRESSION = "binary_classification", "multiclass_classification", "regression"


def ask(kit, model, frame, tmp_path, *, task=BINARY, options=None, metrics=None, also_known=()):
    options = options or Evaluate(data="t.parquet", label="label")
    data = kit.rows_of(frame, tmp_path, options, task)
    names = metrics or metric_names(task)
    return evaluate(model, data, options=options, task=task, metrics=names, also_known=also_known)


def test_metrics_are_scikit_learns(kit, tmp_path) -> None:
    from sklearn.metrics import accuracy_score, roc_auc_score

    frame = kit.binary_frame()
    found = ask(kit, kit.binary_model(frame, noise=0.5), frame, tmp_path)
    truth = frame["label"].to_numpy()
    assert found.metrics["roc_auc"] == pytest.approx(roc_auc_score(truth, found.answers.scores))
    assert found.metrics["accuracy"] == pytest.approx(accuracy_score(truth, found.answers.predictions))
    assert found.undefined == {} and found.problem is None


@pytest.mark.parametrize("labels", [("no", "yes"), (False, True), (0, 1), (0.0, 1.0), (2, 9)])
def test_any_type_of_label_gives_the_same_metrics(kit, tmp_path, labels) -> None:
    plain = kit.binary_frame()
    frame = kit.binary_frame(labels=labels)
    found = ask(kit, kit.binary_model(frame, noise=0.5, classes=labels), frame, tmp_path)
    assert found.metrics == ask(kit, kit.binary_model(plain, noise=0.5), plain, tmp_path).metrics
    assert found.rows.positive == labels[1]


def test_the_positive_class_can_be_chosen(kit, tmp_path) -> None:
    frame = kit.binary_frame(labels=("bad", "good"))
    options = Evaluate(data="t.parquet", label="label", positive="bad")
    model = kit.binary_model(frame, noise=0.5, classes=("bad", "good"))
    found = ask(kit, model, frame, tmp_path, options=options)
    other = ask(kit, model, frame, tmp_path)
    assert found.metrics["roc_auc"] == pytest.approx(other.metrics["roc_auc"])
    assert found.metrics["recall"] != other.metrics["recall"]


def test_a_positive_class_that_is_none_is_refused(kit, tmp_path) -> None:
    frame = kit.binary_frame()
    options = Evaluate(data="t.parquet", label="label", positive="yes")
    with pytest.raises(InvalidInput, match=r"evaluate.positive is 'yes'; the classes are 0, 1"):
        ask(kit, kit.binary_model(frame), frame, tmp_path, options=options)


def test_the_threshold_moves_the_labels(kit, tmp_path) -> None:
    frame = kit.binary_frame()
    strict = ask(
        kit, kit.binary_model(frame), frame, tmp_path, options=Evaluate(data="t.parquet", label="label", threshold=0.9)
    )
    assert strict.metrics["recall"] < ask(kit, kit.binary_model(frame), frame, tmp_path).metrics["recall"]


def test_missing_features_are_all_named(kit, tmp_path) -> None:
    frame = kit.binary_frame().with_columns(y=pl.lit(1.0), z=pl.lit(1.0))
    model = kit.FunctionModel(lambda c: c["x"], example=frame.select("x", "y", "z"))
    with pytest.raises(InvalidInput, match="asks for: y, z"):
        ask(kit, model, frame.drop("y", "z"), tmp_path)


def test_labels_in_another_code_are_refused(kit, tmp_path) -> None:
    frame = kit.binary_frame(labels=("no", "yes"))
    with pytest.raises(InvalidInput, match=r"labels in 'label' are 'no', 'yes', the model's classes are 0, 1"):
        ask(kit, kit.binary_model(frame), frame, tmp_path)


def test_nan_scores_are_a_problem_and_no_crash(kit, tmp_path) -> None:
    frame = kit.binary_frame(10)
    model = kit.FunctionModel(
        lambda c: np.zeros(10, int),
        proba=lambda c: np.where(np.arange(10)[:, None] == 3, np.nan, 0.5) * np.ones((10, 2)),
        classes=(0, 1),
        example=frame.select("x"),
    )
    found = ask(kit, model, frame, tmp_path)
    assert found.problem == "1 of 10 predictions are not finite, the first in row 3"
    assert found.metrics == {} and "not finite" in found.undefined["roc_auc"]
    assert found.profile_frame.columns == ["x"]


@pytest.mark.parametrize(
    ("predict", "problem"),
    [
        (lambda c: np.full(len(c["x"]), np.inf), "10 of 10 predictions are not finite"),
        (lambda c: c["x"][:-1], "9 predictions for 10 rows"),
        (lambda c: np.array(["a"] * len(c["x"])), "predicts numbers"),
    ],
)
def test_answers_that_are_no_regression_are_a_problem(kit, tmp_path, predict, problem) -> None:
    frame = kit.binary_frame(10)
    model = kit.FunctionModel(predict, example=frame.select("x"))
    assert problem in ask(kit, model, frame, tmp_path, task=REGRESSION).problem


def test_a_model_that_raises_is_named(kit, tmp_path) -> None:
    frame = kit.binary_frame(10)
    model = kit.FunctionModel(lambda c: 1 / 0, example=frame.select("x"))
    with pytest.raises(InvalidInput, match=r"fails on the evaluation rows \(ZeroDivisionError"):
        ask(kit, model, frame, tmp_path)


def test_no_rows_are_a_problem_and_no_crash(kit, tmp_path) -> None:
    frame = kit.binary_frame(10)
    found = ask(kit, kit.binary_model(frame), frame.clear(), tmp_path)
    assert found.problem == "there are no rows to evaluate on"
    assert found.profile_frame.height == 0


def test_one_class_leaves_rankings_undefined_with_the_reason(kit, tmp_path) -> None:
    frame = kit.binary_frame().filter(pl.col("label") == 1)
    found = ask(kit, kit.binary_model(frame), frame, tmp_path)
    assert "one class" in found.undefined["roc_auc"]
    assert found.metrics["accuracy"] > 0


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(InvalidInput) as caught:
        metric_names(BINARY, ["roc_acu"])
    assert "roc_auc" in caught.value.hint


def test_probabilities_without_classes_are_scores(kit, tmp_path) -> None:
    frame = kit.binary_frame()
    model = kit.FunctionModel(lambda c: 1 / (1 + np.exp(-c["x"])), example=frame.select("x"))
    assert ask(kit, model, frame, tmp_path).metrics["roc_auc"] > 0.7


def test_labels_alone_leave_rankings_undefined(kit, tmp_path) -> None:
    frame = kit.binary_frame()
    model = kit.FunctionModel(lambda c: (c["x"] > 0).astype(int), example=frame.select("x"))
    found = ask(kit, model, frame, tmp_path)
    assert "gives none" in found.undefined["roc_auc"] and found.metrics["f1"] > 0.5


def three_classes(kit, known: tuple[str, ...]):
    def proba(columns: dict[str, np.ndarray]) -> np.ndarray:
        p = np.exp(np.outer(columns["x"], np.linspace(-1, 1, len(known))))
        return p / p.sum(axis=1, keepdims=True)

    return kit.FunctionModel(
        lambda c: np.asarray(known)[proba(c).argmax(axis=1)],
        proba=proba,
        classes=known,
        example=pl.DataFrame({"x": [0.5]}),
    )


def test_a_class_that_the_model_never_saw_gets_probability_zero(kit, tmp_path) -> None:
    frame = pl.DataFrame({"x": [-3.0, -2.0, 2.0, 3.0, 0.1], "label": ["a", "a", "c", "c", "b"]})
    found = ask(kit, three_classes(kit, ("a", "c")), frame, tmp_path, task=MULTI)
    assert found.rows.classes == ("a", "b", "c")
    assert found.answers.scores[:, 1].tolist() == [0.0] * 5
    assert found.metrics["accuracy"] == 0.8


def test_two_models_share_the_classes_of_both(kit, tmp_path) -> None:
    frame = pl.DataFrame({"x": [-3.0, 3.0], "label": ["a", "c"]})
    found = ask(kit, three_classes(kit, ("a", "c")), frame, tmp_path, task=MULTI, also_known=("a", "b", "c"))
    assert found.rows.classes == ("a", "b", "c")


def test_columns_by_position_take_the_table_without_its_label(kit, tmp_path) -> None:
    frame = pl.DataFrame({"age": [1.0, -1.0, 2.0], "label": [1, 0, 1]})
    model = kit.FunctionModel(
        lambda c: (next(iter(c.values())).ravel() > 0).astype(int), example=np.array([[1.0], [2.0]])
    )
    assert ask(kit, model, frame, tmp_path).metrics["accuracy"] == 1.0


def test_the_profile_frame_has_features_and_prediction(kit, tmp_path) -> None:
    frame = kit.binary_frame()
    found = ask(kit, kit.binary_model(frame), frame, tmp_path).profile_frame
    assert found.columns == ["x", "prediction"] and found["prediction"].dtype == pl.Float64
