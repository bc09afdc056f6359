"""Batches of one segment to the server, each at least once.

Repeating a batch is harmless: a value of a metric that is there already changes nothing, nor does a param with the
value it has, and a tag is set to what it was set to.

What the server will never accept must not keep back the rest: a refused batch is sent again name by name, and only
the names that are refused themselves are given up and reported; of a metric that is too large for whatever stands
before the server, only a value that is too large alone. A run that takes nothing at all (it is not there, or deleted)
is no matter of names: its segment stays where it is.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

from lockgate.client.outbox.batch import Batch, Columns, gather
from lockgate.client.outbox.segment import Header, Segment
from lockgate.client.tracking import Tracking
from lockgate.errors import InvalidInput, LockgateError, NotFound, PayloadTooLarge, PermissionDenied
from lockgate.wire.mlflow.runs import Number, number_out
from lockgate.wire.series import Series

# Errors of what was sent, as the server says them; of what stands before it they help to repeat. Everything else is
# trouble that may pass: the network, a full disk, a token that expired.
_FINAL = (InvalidInput, NotFound, PayloadTooLarge)


class Refusal(NamedTuple):
    """Something that was logged and that the server will never accept."""

    what: str
    error: LockgateError

    def __str__(self) -> str:
        return f"{self.what}: {self.error.message}"


class RunClosed(InvalidInput):
    """The run takes nothing from us: it is unknown or deleted, cannot begin, or is not ours to write to."""


class NoRole(RunClosed):
    """The run has begun and is not ours to write to now: a role that was taken may be given back."""


def deliver(
    segment: Segment,
    tracking: Tracking,
    *,
    refuse: Callable[[Refusal], None],
    acknowledged: Callable[[int], None] = lambda size: None,
    alone: AbstractContextManager[object] | None = None,
) -> None:
    """Send every whole record that is in the segment now; what is appended meanwhile waits for the next call.

    `acknowledged` is told the bytes of each batch, `alone` is held around each.

    Raises RunClosed; whatever else the server or the way to it raises, with `segment.sent` at the last batch that
    went through; and DataDamaged for a record that cannot be read.
    """
    alone = alone or nullcontext()
    until = segment.size
    while segment.sent < until and (batch := gather(segment.read(), segment.sent)).end > segment.sent:
        with alone:
            if segment.is_untouched:
                begin_run(segment.header, tracking)
            _send(batch, segment.header.run_id, tracking, refuse)
            size = batch.end - segment.sent
            segment.mark_sent(batch.end)
        acknowledged(size)


def begin_run(header: Header, tracking: Tracking) -> None:
    """Make the run where its process began it by itself; repeating it is harmless. Raises RunClosed."""
    begin = header.begin
    if begin is None:
        return
    try:
        tracking.begin_run(header.run_id, experiment=begin.experiment, run_name=begin.run_name, at=begin.at)
    except (*_FINAL, PermissionDenied) as error:
        if error.retry_helps:
            raise
        raise RunClosed(f"the run {header.run_id} cannot begin: {error.message}", hint=error.hint) from error


def _send(batch: Batch, run_id: str, tracking: Tracking, refuse: Callable[[Refusal], None]) -> None:
    try:
        if batch.metrics:
            tracking.log_series(run_id, [_series(*item) for item in batch.metrics.items()])
        if batch.params or batch.tags:
            tracking.log_batch(run_id, params=batch.params, tags=batch.tags)
        if batch.ended is not None:
            tracking.finish_run(run_id, batch.ended.status, at=batch.ended.at)
    except PermissionDenied as error:
        raise NoRole(f"nothing can be logged to the run {run_id}: {error.message}", hint=error.hint) from error
    except _FINAL as error:
        if error.retry_helps:
            raise
        _require_open(run_id, tracking)
        for what, send in _one_by_one(batch, run_id, tracking):
            try:
                send()
            except _FINAL as error:
                if error.retry_helps:
                    raise
                refuse(Refusal(what, error))


def _one_by_one(batch: Batch, run_id: str, tracking: Tracking) -> Iterator[tuple[str, Callable[[], None]]]:
    for key, columns in batch.metrics.items():
        yield f"metric {key!r}", partial(_send_in_pieces, key, columns, run_id, tracking)
    for key, value in batch.params.items():
        yield f"param {key!r}", partial(tracking.log_batch, run_id, params={key: value})
    for key, value in batch.tags.items():
        yield f"tag {key!r}", partial(tracking.log_batch, run_id, tags={key: value})
    if batch.ended is not None:
        yield "the end of the run", partial(tracking.finish_run, run_id, batch.ended.status, at=batch.ended.at)


def _send_in_pieces(key: str, columns: Columns, run_id: str, tracking: Tracking) -> None:
    """In halves of halves where it is too large. Raises when all that could be sent was."""
    try:
        tracking.log_series(run_id, [_series(key, columns)])
    except PayloadTooLarge:
        count = len(columns.values)
        if count == 1:
            raise
        too_large = None
        for part in (slice(0, count // 2), slice(count // 2, count)):
            try:
                piece = Columns(columns.values[part], columns.timestamps[part], columns.steps[part])
                _send_in_pieces(key, piece, run_id, tracking)
            except PayloadTooLarge as error:
                too_large = error
        if too_large is not None:
            raise too_large from None


def _require_open(run_id: str, tracking: Tracking) -> None:
    try:
        stage = tracking.get_run(run_id).info.lifecycle_stage
    except NotFound as error:
        raise RunClosed(f"the run {run_id} is not known there, so nothing can be logged to it.") from error
    if stage != "active":
        raise RunClosed(f"the run {run_id} is {stage}, so nothing can be logged to it.", hint="restore it")


def _series(key: str, columns: Columns) -> Series:
    values: tuple[Number, ...] = tuple(columns.values)
    if not math.isfinite(sum(columns.values)):  # one question of all; JSON has no NaN and no infinity
        values = tuple(number_out(value) for value in columns.values)
    return Series(key=key, values=values, timestamps=tuple(columns.timestamps), steps=tuple(columns.steps))
