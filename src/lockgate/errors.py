"""Every failure that a user can meet, with what each edge needs to report it.

    LockgateError
      InvalidInput      Unauthenticated   PermissionDenied   NotFound
      AlreadyExists     Conflict          TooManyRequests    Unavailable
      DeadlineExceeded  DataDamaged       PayloadTooLarge    StorageFull
      NotImplementedHere
      StageFailed       GateFailed        RolledBack

Each class carries the error code of MLflow's REST protocol, the HTTP status, the exit code of the command line and
whether the same call may succeed when it is repeated, which whoever raises it may know better. Anything that is not a
`LockgateError` is a bug: status 500 and exit code 70, with its traceback in the log and never in an answer.
"""

from typing import ClassVar

EXIT_BUG = 70


class LockgateError(Exception):
    """An operating error: `message` says what happened and what was expected, `hint` what to do next."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = EXIT_BUG
    retry_helps: bool = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  next: {self.hint}"


class InvalidInput(LockgateError):
    """A bad argument, schema or configuration."""

    code, http_status, exit_code = "INVALID_PARAMETER_VALUE", 400, 2


class Unauthenticated(LockgateError):
    code, http_status, exit_code = "UNAUTHENTICATED", 401, 2


class PermissionDenied(LockgateError):
    code, http_status, exit_code = "PERMISSION_DENIED", 403, 2


class NotFound(LockgateError):
    code, http_status, exit_code = "RESOURCE_DOES_NOT_EXIST", 404, 2


class AlreadyExists(LockgateError):
    """Status 400 and not 409 is MLflow's own mapping; its clients test for it."""

    code, http_status, exit_code = "RESOURCE_ALREADY_EXISTS", 400, 2


class Conflict(LockgateError):
    """A lost update or an illegal transition."""

    code, http_status, exit_code = "RESOURCE_CONFLICT", 409, 2


class PayloadTooLarge(LockgateError):
    code, http_status, exit_code = "INVALID_PARAMETER_VALUE", 413, 2


class TooManyRequests(LockgateError):
    """`retry_after_s` is how long to wait."""

    code, http_status, exit_code, retry_helps = "REQUEST_LIMIT_EXCEEDED", 429, 5, True

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class Unavailable(LockgateError):
    code, http_status, exit_code, retry_helps = "TEMPORARILY_UNAVAILABLE", 503, 5, True


class DeadlineExceeded(LockgateError):
    code, http_status, exit_code, retry_helps = "DEADLINE_EXCEEDED", 504, 5, True


class StorageFull(LockgateError):
    """No space left where a write was due; nothing half-written is visible."""

    code, http_status, exit_code, retry_helps = "RESOURCE_EXHAUSTED", 507, 5, True


class NotImplementedHere(LockgateError):
    """Asked for rightly, by a client of MLflow, and not offered by this server or by how it is set up."""

    code, http_status, exit_code = "NOT_IMPLEMENTED", 501, 2


class DataDamaged(LockgateError):
    """Stored bytes do not have the digest they are named by, or a manifest cannot be read."""

    code, http_status, exit_code = "DATA_LOSS", 500, 6


class StageFailed(LockgateError):
    """A stage of the user's pipeline failed; recorded on the run."""

    exit_code = 1


class GateFailed(LockgateError):
    """A verdict, not a crash: lets CI tell a worse model from a broken pipeline."""

    code, http_status, exit_code = "INVALID_STATE", 409, 3


class RolledBack(LockgateError):
    """A rollout was rolled back; recorded on the rollout."""

    exit_code = 4


def _tree(cls: type[LockgateError]) -> dict[str, type[LockgateError]]:
    found = {cls.code: cls}
    for sub in cls.__subclasses__():
        for code, owner in _tree(sub).items():
            found.setdefault(code, owner)
    return found


def from_code(code: str, message: str, *, hint: str | None = None) -> LockgateError:
    """The error that a server's answer names by `code`, so that a client raises what the handler raised."""
    return _tree(LockgateError).get(code, LockgateError)(message, hint=hint)
