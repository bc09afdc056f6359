"""What S3 says, as errors a client or an operator can act on; s3fs has made Python's own errors of S3's codes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lockgate.errors import InvalidInput, LockgateError, NotFound, NotImplementedHere, StorageFull, Unavailable
from lockgate.server.artifacts.store import Replaced

Answer = Mapping[str, Any]  # what S3 answers, as botocore decodes it

# What S3 calls a request that was wrong in itself; every other refusal is the operator's to look into.
_CLIENTS_FAULT = frozenset(
    {"EntityTooLarge", "EntityTooSmall", "InvalidArgument", "InvalidPart", "InvalidPartOrder", "KeyTooLongError"}
    | {"MalformedXML"}
)
# Of keys that are wrong or have ended. The numbers are what a HEAD is refused with, whose answer has no body.
_KEYS_FAULT = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
    | {"400", "403"}
)


class KeysRefused(Unavailable):
    """Other keys may be let in."""


@contextmanager
def naming_s3_errors(path: str, bucket: str) -> Iterator[None]:
    """Raises the LockgateError for what S3 says in the block about `path`."""
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except LockgateError:
        raise
    except FileNotFoundError as error:
        if _code(error) == "NoSuchBucket":
            # Not Unavailable, which clients repeat: it stays away until somebody makes it.
            raise NotImplementedHere(
                f"the bucket {bucket!r} for artifacts does not exist.",
                hint="make the bucket, or correct the setting artifacts",
            ) from error
        raise NotFound(f"there is no artifact {path!r}.") from error
    except TimeoutError as error:
        raise Unavailable(f"S3 took too long for {path!r} in the bucket {bucket!r}.") from error
    except OSError as error:
        if isinstance(error, PermissionError) or _code(error) in _KEYS_FAULT:
            refused = KeysRefused if _code(error) in _KEYS_FAULT else Unavailable
            raise refused(
                f"S3 refuses access to {path!r} in the bucket {bucket!r}: {error}.",
                hint="look at the server's AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy",
            ) from error
        if _status(error) == 507:  # not of Amazon's, but of stores with disks
            raise StorageFull(f"the store for artifacts is full: {path!r} was not stored.") from error
        if _code(error) == "PreconditionFailed":
            raise Replaced(path) from error
        if _code(error) in _CLIENTS_FAULT:
            raise InvalidInput(f"S3 does not accept the request for {path!r}: {error}.") from error
        raise Unavailable(f"S3 failed at {path!r} in the bucket {bucket!r}: {error}.") from error
    except (BotoCoreError, ClientError) as error:  # the latter where a body ends early
        raise Unavailable(f"S3 cannot be reached for {path!r} in the bucket {bucket!r}: {error}.") from error


def _response(error: BaseException) -> Answer:
    found: Answer = getattr(error.__cause__, "response", None) or {}
    return found


def _code(error: BaseException) -> str:
    return str(_response(error).get("Error", {}).get("Code", ""))


def _status(error: BaseException) -> int:
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
