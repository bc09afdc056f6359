"""The files that delivery and serving share: what must be served, and what was seen while serving it.

    <state>/serving/<environment>/traffic.json           written by delivery, watched by every replica
    <state>/serving/<environment>/replica-<name>.json    written by that replica, read by delivery

Both are replaced whole, so a reader sees one state or the next. Neither is forced to disk: after a power cut delivery
publishes the traffic of its database again, and counters start anew.
"""

from pathlib import Path

import msgspec

from lockgate.entities import Observation, Traffic
from lockgate.errors import DataDamaged
from lockgate.store.atomic import write_atomically

TRAFFIC_FILE = "traffic.json"

_encoder = msgspec.json.Encoder()
_traffic = msgspec.json.Decoder(Traffic)
_observation = msgspec.json.Decoder(Observation)


def write_traffic(folder: Path, traffic: Traffic) -> None:
    """Publish what the environment's replicas must serve. Raises StorageFull."""
    write_atomically(folder / TRAFFIC_FILE, _encoder.encode(traffic), durable=False)


def read_traffic(folder: Path) -> Traffic | None:
    """What is published; None where nothing was yet. Raises DataDamaged."""
    path = folder / TRAFFIC_FILE
    try:
        return _traffic.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise DataDamaged(
            f"{path} is no traffic split: {error}.", hint="lockgate deploy or lockgate rollback writes it anew"
        ) from error


def write_observation(folder: Path, observation: Observation) -> None:
    """Publish what one replica saw. Raises StorageFull."""
    write_atomically(folder / f"replica-{observation.replica}.json", _encoder.encode(observation), durable=False)


def read_observations(folder: Path, max_age_ms: int, *, now_ms: int | None = None) -> list[Observation]:
    """The last word of every replica that spoke in the last `max_age_ms`, by the file's time against `now_ms`.

    Without `now_ms` the newest observation's own time is "now". A file that cannot be read is skipped: the replica
    writes a whole one in a moment.
    """
    found = []
    for path in sorted(folder.glob("replica-*.json")):
        try:
            found.append(_observation.decode(path.read_bytes()))
        except (FileNotFoundError, msgspec.MsgspecError):
            continue
    if not found:
        return []
    newest = max(item.observed_at for item in found) if now_ms is None else now_ms
    return [item for item in found if item.observed_at >= newest - max_age_ms]
