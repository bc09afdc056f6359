"""Records as they lie in a segment, and the batches that they are sent in."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec

from lockgate.client.outbox.segment import Item
from lockgate.errors import DataDamaged
from lockgate.wire.series import VALUES_A_REQUEST

# One call of the training code is cut into records of at most so many items, so that batches come out near their size.
ITEMS_A_RECORD = 1000


class Metrics(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """Values at one step."""

    at: int
    step: int
    values: dict[str, float]


class Params(msgspec.Struct, frozen=True, array_like=True, tag=1):
    values: dict[str, str]


class Tags(msgspec.Struct, frozen=True, array_like=True, tag=2):
    values: dict[str, str]


class End(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The run ended then."""

    at: int
    status: Literal["FINISHED", "FAILED"]


Record = Metrics | Params | Tags | End

encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


class Columns(NamedTuple):
    """Values of one metric."""

    values: list[float]
    timestamps: list[int]
    steps: list[int]


@dataclass
class Batch:
    """What is sent together. `end` is where in the segment the next batch starts."""

    end: int
    metrics: dict[str, Columns] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    ended: End | None = None
    values: int = 0


def gather(items: list[Item], start: int) -> Batch:
    """The next batch of a segment from `start` on; one that ends where it starts is empty. Raises DataDamaged.

    A record that cannot be read keeps back none that is before it.
    """
    batch = Batch(end=start)
    for payload, end in items:
        try:
            record = _decoded(payload)
        except DataDamaged:
            if batch.end > start:
                break
            raise
        if type(record) is Metrics:
            _add(batch, record)
        elif type(record) is Params:
            if any(batch.params.get(key, value) != value for key, value in record.values.items()):
                break  # the server shall see both, and refuse the second
            batch.params.update(record.values)
        elif type(record) is Tags:
            batch.tags.update(record.values)
        elif type(record) is End:
            batch.ended = record
        batch.end = end
        pairs = len(batch.params) + len(batch.tags)
        if batch.values > VALUES_A_REQUEST - ITEMS_A_RECORD or pairs >= ITEMS_A_RECORD or batch.ended is not None:
            break
    return batch


def _decoded(payload: bytes) -> Record:
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise DataDamaged(
            f"a record of the outbox cannot be read: {error}.", hint="was it written by a newer lockgate?"
        ) from error


def _add(batch: Batch, record: Metrics) -> None:
    at, step, metrics = record.at, record.step, batch.metrics
    for name, value in record.values.items():
        columns = metrics.get(name)
        if columns is None:
            columns = metrics[name] = Columns([], [], [])
        columns.values.append(value)
        columns.timestamps.append(at)
        columns.steps.append(step)
    batch.values += len(record.values)
