"""What is checked in the call that logs, so that the error points at the user's line; the server checks the rest."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from operator import index
from typing import Any, TypeVar

from lockgate.client.outbox.batch import ITEMS_A_RECORD
from lockgate.entities import Scalar
from lockgate.errors import InvalidInput
from lockgate.wire.operation import KEY_LENGTH

log = logging.getLogger("lockgate.outbox")

_LONGEST_SHOWN = 300
_LONGEST_WAIT_S = 1e9
_NAMES_REMEMBERED = 10_000
_FLOATS, _TEXTS = frozenset({float}), frozenset({str})
_known_names: set[str] = set()
_told_of_cut: set[tuple[str, str]] = set()

T = TypeVar("T")


def numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    """With floats of Python's own: loops log those of numpy and torch as well."""
    if not _are_known(metrics):
        _require_names(metrics)
    if (
        type(metrics) is dict
        and _FLOATS.issuperset(map(type, metrics.values()))
        and _TEXTS.issuperset(map(type, metrics))
    ):
        return metrics
    return {str(name): _number(name, value) for name, value in metrics.items()}


def _number(name: str, value: Any) -> float:  # anything with __float__
    if not isinstance(value, str | bytes):
        with contextlib.suppress(Exception):  # a class of the user's fails in its own way
            return float(value)
    raise InvalidInput(f"the value of metric {name!r} is not a number: {_shown(value)}.")


def texts(values: Mapping[str, Scalar]) -> dict[str, str]:
    """What is no text as `str` has it."""
    if not _are_known(values):
        _require_names(values)
    return {str(name): text_of(f"the value of {name!r}", value) for name, value in values.items()}


def warn_of_cut(kind: str, values: Mapping[str, str], limit: int) -> None:
    """Say, once for each name, what the server will cut."""
    for name, value in values.items():
        if len(value) > limit and (kind, name) not in _told_of_cut:
            if len(_told_of_cut) > _NAMES_REMEMBERED:
                _told_of_cut.clear()
            _told_of_cut.add((kind, name))
            log.warning(
                "the %s %r has %s characters, of which the first %s are kept; log_artifact keeps long texts whole.",
                *(kind, name, f"{len(value):,}", f"{limit:,}"),
            )


def text_of(what: str, value: Scalar) -> str:
    """Raises InvalidInput where no server could keep it."""
    try:
        text = str(value)
    except Exception as error:  # a class of the user's fails in its own way, and int with more than 4300 digits
        raise InvalidInput(f"{what} cannot be written as text: {_shown(value)}.") from error
    if not _can_be_written(text):
        raise InvalidInput(f"{what} is no valid text: {text[:300]!r}.")
    return text


def _can_be_written(text: str) -> bool:
    """Whether it has no lone surrogates, as the names of badly encoded files do, and no NUL."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_known(named: Mapping[str, object]) -> bool:
    try:
        return named.keys() <= _known_names
    except Exception as error:  # a class of the user's fails in its own way
        raise InvalidInput(
            f"names with their values were expected, as in {{'depth': 3}}, not {_shown(named)}."
        ) from error


def _require_names(named: Mapping[str, object]) -> None:
    for name in named:
        if not isinstance(name, str) or not 1 <= len(name) <= KEY_LENGTH or not _can_be_written(name):
            raise InvalidInput(f"a name is a text of 1 to {KEY_LENGTH} characters, not {_shown(name)}.")
    if len(_known_names) > _NAMES_REMEMBERED:
        _known_names.clear()
    _known_names.update(named)


def whole(step: Any) -> int:  # anything with __index__
    """A step as an int of Python's own."""
    try:
        number = index(step)
    except Exception as error:  # a class of the user's fails in its own way
        raise InvalidInput(f"a step is a whole number, not {_shown(step)}.") from error
    if not -(2**63) <= number < 2**63:
        raise InvalidInput(f"the step {_shown(number)} does not fit 64 bits.")
    return number


def seconds(timeout: Any) -> float:  # anything with __float__
    """For how long to wait."""
    with contextlib.suppress(Exception):  # as above
        if not isinstance(timeout, str | bytes) and (number := float(timeout)) <= _LONGEST_WAIT_S:
            return number
    raise InvalidInput(f"a timeout is a number of seconds, at most {_LONGEST_WAIT_S:,.0f}, not {_shown(timeout)}.")


def _shown(value: object) -> str:
    """Short, for a message, whatever it is."""
    shown = f"<{type(value).__name__}>"
    with contextlib.suppress(Exception):  # as of `str` above
        shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def parts(values: dict[str, T]) -> Iterator[dict[str, T]]:
    """In pieces that fit a record."""
    if len(values) <= ITEMS_A_RECORD:
        yield values
        return
    items = iter(values.items())
    while part := dict(islice(items, ITEMS_A_RECORD)):
        yield part
