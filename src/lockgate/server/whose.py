"""Whose a path below the artifact root is.

An experiment keeps its files in the folder of its number, or where somebody chose: anywhere, also inside of another's
folder. The nearest folder above a path decides. Where several experiments keep their files in one folder, and in the
root, a path is that experiment's whose run or logged model it is.
"""

from contextlib import suppress

from sqlalchemy import Connection

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata import subjects
from lockgate.metadata.chosen import Steps, find_chosen
from lockgate.server.numbers import experiment_number

MODELS = "models"  # in the folder of an experiment, those of its logged models


def depth_of_folder(connection: Connection, steps: Steps) -> int | None:
    """How many of the steps are the folder of an experiment; None where they lie in none."""
    depth, _ = find_chosen(connection, steps) or (None, ())
    return depth or (1 if _is_numbered(steps) else depth)


def experiments_at(connection: Connection, steps: Steps) -> tuple[str, ...]:
    """The experiment in whose folder the steps lie; none where it is nobody's, or not one's alone.

    Raises NotFound, or InvalidInput, where the folder is that of a number which no experiment has, or could have.
    """
    depth, names = find_chosen(connection, steps) or (0, ())
    if depth <= 1 and _is_numbered(steps):
        try:
            numbered = subjects.experiments_named(connection, [experiment_number(steps[0])])
        except (InvalidInput, NotFound):
            if not depth:
                raise
        else:  # where somebody chose that folder for another experiment, both keep their files there
            names = tuple({*names, *numbered}) if depth else numbered
            depth = 1
    if depth and len(names) == 1:
        return names
    return tuple(name for name in _experiment_of(connection, steps[depth:]) if name in names)


def _is_numbered(steps: Steps) -> bool:
    return bool(steps) and steps[0].isdigit()


def _experiment_of(connection: Connection, steps: Steps) -> tuple[str, ...]:
    """That of the run or the logged model whose folder the steps begin with."""
    first, second, *_ = *steps, "", ""
    if first != MODELS:
        return subjects.experiments_of_runs(connection, [first])
    with suppress(NotFound):
        return (subjects.experiment_of_logged_model(connection, second),)
    return ()
