"""How good were the answers, now that the truth is known? Labels are joined to predictions by their id."""

from collections.abc import Iterable, Mapping

from lockgate.entities import Prediction, Scalar
from lockgate.errors import InvalidInput
from lockgate.monitoring.answers import Answer, Answers
from lockgate.project import Project


class Labelled:
    """The answers whose truth is known."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.labels: list[Scalar] = []

    def add(self, predictions: Iterable[Prediction], labels: Mapping[str, Scalar]) -> None:
        for item in predictions:
            label = labels.get(item.prediction_id)
            if label is not None and item.status < 400:
                self.answers.append(Answer(item.output, item.scores))
                self.labels.append(label)

    def __len__(self) -> int:
        return len(self.labels)


def measure(labelled: Labelled, project: Project, answers: Answers) -> tuple[dict[str, float], list[str]]:
    """The default metrics of the task and the one that is watched, and why some are not defined."""
    from lockgate.monitoring.scored import score
    from lockgate.stats.metrics import compute_metric, default_metrics

    watched = project.monitor.performance.metric if project.monitor and project.monitor.performance else None
    names = dict.fromkeys([*([watched] if watched else []), *default_metrics(project.task)])
    try:
        found = score(answers, labelled.answers, labelled.labels)
    except (TypeError, ValueError) as error:
        return {}, [f"the labels do not fit the predictions: {error}"]
    values: dict[str, float] = {}
    notes: list[str] = []
    for name in names:
        try:
            value = compute_metric(
                name,
                project.task,
                found.truth,
                found.predicted,
                found.scores,
                classes=found.classes,
                positive=found.positive,
            )
        except (InvalidInput, ValueError) as error:
            if name == watched:
                notes.append(f"{name} cannot be computed: {error}")
            continue
        if value == value:
            values[name] = value
    return values, notes
