import pytest

from lockgate import errors
from lockgate.errors import LockgateError, from_code


def subclasses(cls: type[LockgateError]) -> list[type[LockgateError]]:
    return [cls, *(inner for sub in cls.__subclasses__() for inner in subclasses(sub))]


def test_message_and_next_step_are_what_a_person_reads() -> None:
    assert str(errors.NotFound("there is no x.", hint="make x")) == "there is no x.\n  next: make x"
    assert str(errors.NotFound("there is no x.")) == "there is no x."


# The table of DESIGN.md, literally: CI systems and MLflow's clients rely on it.
@pytest.mark.parametrize(
    ("name", "code", "status", "exit_code", "retry_helps"),
    [
        ("InvalidInput", "INVALID_PARAMETER_VALUE", 400, 2, False),
        ("Unauthenticated", "UNAUTHENTICATED", 401, 2, False),
        ("PermissionDenied", "PERMISSION_DENIED", 403, 2, False),
        ("NotFound", "RESOURCE_DOES_NOT_EXIST", 404, 2, False),
        ("AlreadyExists", "RESOURCE_ALREADY_EXISTS", 400, 2, False),
        ("Conflict", "RESOURCE_CONFLICT", 409, 2, False),
        ("PayloadTooLarge", "INVALID_PARAMETER_VALUE", 413, 2, False),
        ("TooManyRequests", "REQUEST_LIMIT_EXCEEDED", 429, 5, True),
        ("Unavailable", "TEMPORARILY_UNAVAILABLE", 503, 5, True),
        ("DeadlineExceeded", "DEADLINE_EXCEEDED", 504, 5, True),
        ("StorageFull", "RESOURCE_EXHAUSTED", 507, 5, True),
        ("NotImplementedHere", "NOT_IMPLEMENTED", 501, 2, False),
        ("DataDamaged", "DATA_LOSS", 500, 6, False),
        ("StageFailed", "INTERNAL_ERROR", 500, 1, False),
        ("GateFailed", "INVALID_STATE", 409, 3, False),
        ("RolledBack", "INTERNAL_ERROR", 500, 4, False),
    ],
)
def test_each_error_has_its_codes(name: str, code: str, status: int, exit_code: int, retry_helps: bool) -> None:
    error = getattr(errors, name)
    assert (error.code, error.http_status, error.exit_code, error.retry_helps) == (code, status, exit_code, retry_helps)


def test_the_table_above_is_complete() -> None:
    assert {cls.__name__ for cls in subclasses(LockgateError) if cls.__module__ == errors.__name__} == {
        "LockgateError", "InvalidInput", "Unauthenticated", "PermissionDenied", "NotFound", "AlreadyExists", "Conflict",
        "PayloadTooLarge", "TooManyRequests", "Unavailable", "DeadlineExceeded", "StorageFull",
        "NotImplementedHere", "DataDamaged", "StageFailed", "GateFailed", "RolledBack",
    }  # fmt: skip


@pytest.mark.parametrize(
    "code", ["RESOURCE_CONFLICT", "DATA_LOSS", "TEMPORARILY_UNAVAILABLE", "INVALID_PARAMETER_VALUE"]
)
def test_client_raises_what_the_handler_raised(code: str) -> None:
    error = from_code(code, "no.", hint="try")
    assert (error.code, error.message, error.hint) == (code, "no.", "try")


def test_shared_code_gives_the_general_error() -> None:
    assert type(from_code("INVALID_PARAMETER_VALUE", "no.")) is errors.InvalidInput


def test_unknown_code_is_a_bug_of_the_server() -> None:
    assert type(from_code("WHATEVER", "no.")) is LockgateError
    assert from_code("WHATEVER", "no.").exit_code == 70
    # INTERNAL_ERROR must not come back as one of the verdicts, which have no code of their own
    assert type(from_code("INTERNAL_ERROR", "no.")) is LockgateError
