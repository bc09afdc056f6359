"""One operation as the audit sees it: written with the decision that it makes, or with the reason that it made none."""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection

from lockgate.entities import Scalar
from lockgate.errors import LockgateError
from lockgate.hashing import is_digest
from lockgate.server.bearer import without_secrets
from lockgate.server.needs import Need, subject_of
from lockgate.wire.mlflow.runs import OfRun

# Fields that say on what something was done. A list of what is written, so that no secret ever is.
_TELLING = frozenset(
    {"model", "name", "new_name", "version", "alias", "environment", "stage", "key", "reason", "comment"}
    | {"run_id", "experiment", "experiment_id", "model_id", "rollout_id", "to_state", "alert_id", "window_id"}
    | {"user", "username", "role", "pattern", "is_admin", "token_id", "note", "webhook_id"}
    | {"artifact_path", "override_reason"}
)
_MAX_TEXT = 256


class Act:
    """`is_decision` becomes true with the first transaction that is one, so that its failure is told as well.

    `found` is for what a handler has to tell beside what was asked of it.
    """

    __slots__ = ("found", "is_decision", "need", "operation", "request")

    def __init__(self, operation: str, need: Need, request: Any) -> None:  # the request of any operation
        self.operation = operation
        self.need = need
        self.request = request
        self.is_decision = False
        self.found: dict[str, Scalar] = {}

    def subject(self, connection: Connection) -> str:
        """The model or experiment; empty for the installation, and for what is not there."""
        with contextlib.suppress(LockgateError):
            return subject_of(self.need, connection, self.request)
        return ""

    def details(self) -> dict[str, Scalar]:
        return {**dict(_telling(self.request)), **self.found}

    def measured(self) -> tuple[str, str]:
        """What a measurement is of, a run or a logged model. Raises InvalidInput where the request names none."""
        if isinstance(self.request, OfRun):
            return "run_id", self.request.id
        return "model_id", self.request.model_id


def tell_also(act: Act | None, **found: Scalar) -> None:
    """Have the audit tell what was not asked for but found or made; None is no operation, and has no line."""
    if act is not None:
        act.found.update(found)


def _telling(record: msgspec.Struct) -> Iterator[tuple[str, Scalar]]:
    """What a request and the record in it say of themselves; a release yet to be numbered has version 0."""
    for field in record.__struct_fields__:
        value = getattr(record, field)
        if isinstance(value, msgspec.Struct):
            yield from _telling(value)
        elif isinstance(value, str) and field in _TELLING and value and not is_digest(value):
            yield field, without_secrets(value)[:_MAX_TEXT]
        elif isinstance(value, int) and field in _TELLING and (value or isinstance(value, bool)):
            yield field, value
