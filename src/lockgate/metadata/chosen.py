"""Folders below the artifact root that somebody chose for the files of an experiment, instead of that of its number.

Few do, and every upload asks. A location never changes, and experiments are numbered in the order in which they become
visible, because each is made by a decision. So a connection remembers what it has seen and asks for what is newer.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, String, cast, select

from lockgate.metadata import driver
from lockgate.metadata.subjects import Found
from lockgate.metadata.tables import experiments
from lockgate.wire.mlflow.artifacts import PROXY_SCHEME, proxied_path

Steps = tuple[str, ...]

_SEEN = "lockgate_chosen"  # where a connection remembers: (number of the newest experiment, numbers by folder)


def steps_of(path: str) -> Steps:
    """The names in a path as a location has it, which need not be safe; none for the root."""
    return tuple(step for step in path.split("/") if step not in ("", "."))


def list_chosen(connection: Connection, *, after: int = -1) -> Iterable[tuple[Steps, int]]:
    """(folder, experiment) of experiments with a higher number, deleted ones among them."""
    t = experiments.c
    is_chosen = t.artifact_location != PROXY_SCHEME + cast(t.experiment_id, String)
    query = select(t.artifact_location, t.experiment_id).where(t.experiment_id > after, is_chosen)
    for uri, number in connection.execute(query):
        if (path := proxied_path(uri)) is not None:
            yield steps_of(path), number


def find_chosen(connection: Connection, steps: Steps) -> tuple[int, tuple[str, ...]] | None:
    """The nearest folder at or above these steps: how many of them it is, and the experiments by name.

    Not for a transaction that has made an experiment itself: it would be remembered though it were rolled back.
    """
    folders = _folders(connection)
    for depth in range(len(steps), -1, -1):
        if (numbers := folders.get(steps[:depth])) and (names := _names(connection, numbers)):
            return depth, names
    return None


def chosen_below(connection: Connection, steps: Steps) -> tuple[str, ...]:
    """The experiments by name whose folder somebody chose inside of this one."""
    depth = len(steps)
    inside = [
        number
        for folder, numbers in _folders(connection).items()
        if len(folder) > depth and folder[:depth] == steps
        for number in numbers
    ]
    return _names(connection, inside) if inside else ()


def _folders(connection: Connection) -> Mapping[Steps, tuple[int, ...]]:
    """Experiments by number, those that were deleted for good meanwhile among them."""
    newest, folders = connection.info.get(_SEEN, (-1, {}))
    newer = driver.scalar(connection, "SELECT max(experiment_id) FROM experiments WHERE experiment_id > ?", newest)
    if newer is not None:
        folders = dict(folders)
        for folder, number in list_chosen(connection, after=newest):
            folders[folder] = (*folders.get(folder, ()), number)
        connection.info[_SEEN] = (newer, folders)
    return folders  # type: ignore[no-any-return]  # SQLAlchemy leaves open what is in `info`


def _names(connection: Connection, numbers: Iterable[int]) -> tuple[str, ...]:
    """Of those that are still there."""
    t = experiments.c
    return tuple(map(Found, connection.scalars(select(t.name).where(t.experiment_id.in_(numbers)))))
