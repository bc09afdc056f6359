"""`POST /feedback` and `lockgate feedback`: true labels, checked one by one, into the feedback log."""

from collections.abc import Sequence
from typing import Any

import msgspec

from lockgate.entities import Feedback, Scalar
from lockgate.errors import InvalidInput


class Label(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody sends about one prediction. `at` (ms) is when the truth was known; default: now."""

    prediction_id: str
    label: Scalar
    at: int | None = None


def decode_feedback(body: bytes, now_ms: int) -> list[Feedback]:
    """One object or a list of them. Raises InvalidInput naming the item and the field; then none counts."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}.") from error
    return [
        check_label(item, f"item {i}", now_ms) for i, item in enumerate(value if isinstance(value, list) else [value])
    ]


def check_label(item: Any, where: str, now_ms: int) -> Feedback:  # any JSON value
    """One label. Raises InvalidInput that starts with `where`."""
    try:
        label = msgspec.convert(item, Label)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"{where}: {error}.", hint='a label is {"prediction_id": "...", "label": true value}'
        ) from error
    if not label.prediction_id or label.label is None:
        empty = "label" if label.prediction_id else "prediction_id"
        raise InvalidInput(f"{where}: {empty} is empty.")
    return Feedback(prediction_id=label.prediction_id, label=label.label, at=label.at or now_ms)


def check_labels(items: Sequence[Any], now_ms: int) -> tuple[list[Feedback], list[str]]:
    """Those that can be used, and for each other one what is wrong with its line."""
    good, bad = [], []
    for i, item in enumerate(items, 1):
        try:
            good.append(check_label(item, f"line {i}", now_ms))
        except InvalidInput as error:
            bad.append(error.message)
    return good, bad
