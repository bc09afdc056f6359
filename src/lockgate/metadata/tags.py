"""What may be a tag of a registered model or of a version: MLflow's own rules, so that tags move in and out."""

import posixpath
import re

from lockgate.errors import InvalidInput

_KEY = re.compile(r"[\w.\- /:]+")
_MAX_KEY = 250
_MAX_VALUE = 100_000


def require_valid_tag(key: str, value: str) -> None:
    """Raises InvalidInput for a key that could not be a file's name, and for what is too long."""
    if not _KEY.fullmatch(key) or posixpath.normpath(key) != key or key.startswith(("/", "..")) or key == ".":
        raise InvalidInput(
            f"{key[:_MAX_KEY]!r} cannot be the key of a tag: letters, digits, spaces and _ - . : /, "
            "and not like a path that leads elsewhere."
        )
    if len(key) > _MAX_KEY:
        raise InvalidInput(f"the key of a tag has at most {_MAX_KEY} characters, not {len(key)}.")
    if len(value) > _MAX_VALUE:
        raise InvalidInput(f"the value of the tag {key!r} has at most {_MAX_VALUE} characters, not {len(value)}.")
