"""Lockgate: CI/CD for machine learning in one tool.

A training script needs nothing but `import lockgate` and the functions named in `__all__`; they are loaded on first
use, so that the import itself costs nothing.
"""

import atexit
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockgate.training import (
        flush,
        log_artifact,
        log_metric,
        log_metrics,
        log_model,
        log_param,
        log_params,
        set_tag,
        set_tags,
        start_run,
    )

__version__ = "0.1.0"

_has_ended = False  # the script

__all__ = [
    "__version__",
    "flush",
    "log_artifact",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_param",
    "log_params",
    "set_tag",
    "set_tags",
    "start_run",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'lockgate' has no attribute {name!r}")
    from lockgate import training

    if _has_ended:  # when nobody had asked for it yet
        training.end_script()
    value: object = getattr(training, name)
    return value


@atexit.register  # here, because handlers run in reverse: what a script registers after the import may still log
def _end() -> None:
    global _has_ended
    _has_ended = True
    if (training := sys.modules.get("lockgate.training")) is not None:
        training.end_script()
