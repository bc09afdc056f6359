"""What one model says of the evaluation rows, and how good that is.

A model whose answers cannot be judged (NaN, too few of them) is no crash: `problem` says what is wrong, and the gates
refuse the candidate with it. A metric that the rows do not define is in `undefined` with the reason.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lockgate.data.profile import PREDICTION
from lockgate.entities import Scalar
from lockgate.errors import InvalidInput, LockgateError
from lockgate.gates.rows import EvaluationRows
from lockgate.models.signature import Columns, Signature, columns_from_frame
from lockgate.project import Evaluate, Task
from lockgate.stats.metrics import BINARY, REGRESSION, Array, compute_metric, default_metrics, find_metric
from lockgate.stats.paired_metric import Answers, Rows

if TYPE_CHECKING:
    import polars as pl


class Answering(Protocol):
    """What a gate needs of a loaded model: models/load.py has it."""

    @property
    def signature(self) -> Signature: ...
    @property
    def classes(self) -> tuple[Scalar, ...] | None: ...
    @property
    def size_bytes(self) -> int: ...
    def predict(self, columns: Columns) -> Array: ...
    def predict_proba(self, columns: Columns) -> Array | None: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model on the evaluation rows. `answers` is None exactly where `problem` says why."""

    rows: Rows
    answers: Answers | None
    problem: str | None
    metrics: Mapping[str, float]
    undefined: Mapping[str, str]
    features: "pl.DataFrame"  # the model's inputs under their names in the signature

    @property
    def profile_frame(self) -> "pl.DataFrame":
        """Features and `prediction`: the score of the positive class, or else the predicted label or number."""
        import polars as pl

        if self.answers is None:
            return self.features
        scores = self.answers.scores
        shown = scores if scores is not None and scores.ndim == 1 else self.answers.predictions
        return self.features.with_columns(pl.Series(PREDICTION, shown))


def metric_names(task: Task, *more: Sequence[str]) -> tuple[str, ...]:
    """The default metrics and those asked for, each once. Raises InvalidInput for an unknown one."""
    names = tuple(dict.fromkeys((*default_metrics(task), *(name for group in more for name in group))))
    for name in names:
        find_metric(name, task)
    return names


def evaluate(
    model: Answering,
    data: EvaluationRows,
    *,
    options: Evaluate,
    task: Task,
    metrics: Sequence[str],
    also_known: Sequence[Scalar] = (),
) -> Evaluation:
    """Ask the model and compute `metrics`. `also_known` are classes of the model that it is compared with.

    Raises InvalidInput where the rows lack features of the model, the labels are not those that it knows, or it fails.
    """
    features = _features(model.signature, data, options)
    if len(data.truth) == 0:
        nothing = Rows(task, data.truth, (), options.positive)
        empty = "there are no rows to evaluate on"
        if data.without_label:
            empty += f": all {data.without_label} lack the label {data.label!r}"
        return Evaluation(nothing, None, empty, {}, dict.fromkeys(metrics, empty + "."), features)
    raw, scores = _ask(model, columns_from_frame(features, model.signature))
    problem = _problem(raw, scores, len(data.truth), task)
    if problem is not None:
        rows = Rows(task, data.truth, (), options.positive)
        return Evaluation(rows, None, problem, {}, dict.fromkeys(metrics, problem + "."), features)
    if task == REGRESSION:
        rows, answers = Rows(task, data.truth), Answers(raw.astype(np.float64).reshape(-1), None)
    else:
        rows, answers = _classified(model.classes, data, raw, scores, options, task, also_known)
    values, undefined = _metrics(metrics, rows, answers)
    return Evaluation(rows, answers, None, values, undefined, features)


def _features(signature: Signature, data: EvaluationRows, options: Evaluate) -> "pl.DataFrame":
    frame = data.frame
    names = signature.names
    if options.features is not None:
        absent = [name for name in options.features if name not in frame.columns]
        if absent:
            raise InvalidInput(f"{options.data} lacks the features {', '.join(absent)} of evaluate.features.")
        frame = frame.select(options.features)
    if signature.is_positional and not set(names) <= set(frame.columns):
        frame = frame.drop(data.label, strict=False)
        if frame.width != len(names):
            raise InvalidInput(
                f"the model takes {len(names)} columns by position, {options.data} has {frame.width} beside the label.",
                hint="name them in evaluate.features",
            )
        return frame.rename(dict(zip(frame.columns, names, strict=True)))
    absent = [spec.name for spec in signature.columns if spec.name not in frame.columns]
    if absent:
        raise InvalidInput(
            f"{options.data} lacks columns that the model's signature asks for: {', '.join(absent)}.",
            hint="evaluate on rows prepared like the training rows",
        )
    return frame.select(names)


def _ask(model: Answering, columns: Columns) -> tuple[Array, Array | None]:
    try:
        scores = model.predict_proba(columns)
        return np.asarray(model.predict(columns)), None if scores is None else np.asarray(scores, dtype=np.float64)
    except LockgateError:
        raise
    # The model is the user's code: whatever it raises means the same, and is said as such.
    except Exception as error:
        raise InvalidInput(f"the model fails on the evaluation rows ({type(error).__name__}: {error}).") from error


def _problem(predictions: Array, scores: Array | None, rows: int, task: Task) -> str | None:
    if len(predictions) != rows:
        return f"the model gave {len(predictions)} predictions for {rows} rows"
    if scores is not None and len(scores) != rows:
        return f"the model gave {len(scores)} rows of probabilities for {rows} rows"
    if task == REGRESSION and predictions.dtype.kind not in "fiub":
        return f"a regression predicts numbers, not {predictions.dtype}"
    for numbers in (scores, predictions if predictions.dtype.kind == "f" else None):
        if numbers is not None:
            broken = ~np.isfinite(numbers.reshape(rows, -1)).all(axis=1)
            if broken.any():
                return f"{int(broken.sum())} of {rows} predictions are not finite, the first in row {broken.argmax()}"
    return None


# -- labels and classes -----------------------------------------------------------------------------------------------


def _classified(
    known: tuple[Scalar, ...] | None,
    data: EvaluationRows,
    raw: Array,
    scores: Array | None,
    options: Evaluate,
    task: Task,
    also_known: Sequence[Scalar],
) -> tuple[Rows, Answers]:
    truth = data.truth
    present: list[Scalar] = np.unique(truth).tolist()
    raw = raw.reshape(len(truth), -1)[:, 0]
    if scores is None and task == BINARY and _are_probabilities(raw, present):
        scores = raw.astype(np.float64)
    given = list(known) if known is not None else ([] if scores is not None else np.unique(raw).tolist())
    if given and not set(present) & set(given):
        raise InvalidInput(
            f"the labels in {data.label!r} are {_some(present)}, the model's classes are {_some(given)}.",
            hint="evaluate on labels coded as in training",
        )
    classes = _union(present, given)
    if task != BINARY and set(also_known) & set(classes):
        classes = _union(classes, also_known)
    positive = _positive_class(classes, options, task)
    rows = Rows(task, truth, tuple(classes), positive)
    if task == BINARY:
        scores = _positive_scores(scores, given, positive)
        if scores is not None and len(classes) == 2:
            negative = next(value for value in classes if value != positive)
            labels = np.where(scores >= options.threshold, np.asarray(positive), np.asarray(negative))
            return rows, Answers(_coded_like(truth, labels), scores)
        return rows, Answers(_coded_like(truth, raw), scores)
    return rows, Answers(_coded_like(truth, raw), _aligned(scores, given, classes))


def _are_probabilities(raw: Array, labels: Sequence[Scalar]) -> bool:
    """A model without `predict_proba` whose predictions are no labels but numbers in [0, 1]: scores."""
    return (
        raw.dtype.kind == "f"
        and not set(np.unique(raw).tolist()) <= set(labels)
        and bool(((raw >= 0) & (raw <= 1)).all())
    )


def _union(present: Sequence[Scalar], given: Sequence[Scalar]) -> list[Scalar]:
    """All classes in ascending order, as the labels write them."""
    together = [*present, *(value for value in given if value not in present)]
    try:
        return sorted(together)  # type: ignore[type-var]  # labels are of one type; TypeError where they are not
    except TypeError as error:
        raise InvalidInput(f"labels of different types cannot be compared: {_some(together)}.") from error


def _positive_class(classes: Sequence[Scalar], options: Evaluate, task: Task) -> Scalar:
    if task != BINARY:
        return None
    if options.positive is None:
        return classes[-1]
    if options.positive not in classes:
        raise InvalidInput(f"evaluate.positive is {options.positive!r}; the classes are {_some(classes)}.")
    return options.positive


def _positive_scores(scores: Array | None, given: Sequence[Scalar], positive: Scalar) -> Array | None:
    if scores is None or scores.ndim == 1:
        return scores
    if scores.shape[1] == 1:
        return scores[:, 0]
    if len(given) == scores.shape[1]:
        return scores[:, list(given).index(positive)] if positive in given else np.zeros(len(scores))
    return scores[:, -1] if scores.shape[1] == 2 else None


def _aligned(scores: Array | None, given: Sequence[Scalar], classes: Sequence[Scalar]) -> Array | None:
    """Probabilities in the order of `classes`; zero for a class that the model never saw."""
    if scores is None or scores.ndim != 2:
        return None
    if len(given) != scores.shape[1]:
        return scores if len(classes) == scores.shape[1] else None
    table = np.zeros((len(scores), len(classes)))
    for k, value in enumerate(given):
        table[:, list(classes).index(value)] = scores[:, k]
    return table


def _coded_like(truth: Array, labels: Array) -> Array:
    """The labels in the type of the truth, so that one library call can compare them."""
    if labels.dtype == truth.dtype or labels.dtype.kind == truth.dtype.kind:
        return labels
    if truth.dtype.kind in "US":
        return labels.astype(np.str_)
    return labels.astype(truth.dtype) if labels.dtype.kind in "biuf" else np.array(labels.tolist())


def _metrics(names: Sequence[str], rows: Rows, answers: Answers) -> tuple[dict[str, float], dict[str, str]]:
    values: dict[str, float] = {}
    undefined: dict[str, str] = {}
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn's word on rows that define nothing; we say it below
                value = compute_metric(
                    name,
                    rows.task,
                    rows.truth,
                    answers.predictions,
                    answers.scores,
                    classes=rows.classes,
                    positive=rows.positive,
                )
        except InvalidInput as error:
            undefined[name] = error.message
            continue
        if np.isfinite(value):
            values[name] = value
        else:
            undefined[name] = f"{name} is not defined on these {len(rows.truth)} rows."
    return values, undefined


def _some(values: Sequence[Scalar]) -> str:
    return ", ".join(repr(value) for value in values[:8]) + (", ..." if len(values) > 8 else "")
