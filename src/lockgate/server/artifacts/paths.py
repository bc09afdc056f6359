"""Paths from outside, refused before they touch a disk or become a key.

A path is a plain relative one: no `..`, no backslash, no control character, nothing absolute, no drive or scheme in
front. `a/./b` and `a//b` are ways to write `a/b`. What was percent-encoded once more than HTTP needs is looked at in
its decoded form as well, because something behind us may decode it again.
"""

import re
from pathlib import PurePosixPath
from urllib.parse import unquote

from lockgate.errors import InvalidInput, NotFound

PARTIAL_FOLDER = ".partial"  # where uploads grow until they are whole; nobody sees it through the API

# The limits of the file systems and of S3, whichever is lower, so that a path works on every store or on none.
_LONGEST_NAME = 255
_LONGEST_PATH = 1024
_SHOWN = 200
_DRIVE = re.compile("[a-z]:|file:", re.IGNORECASE)  # which MLflow refuses below a run as well
_USUAL_NAME = re.compile(r"\w[\w .=+-]{0,99}", re.ASCII)  # which needs no closer look
# The last two are no characters, and XML, in which S3 is told what to delete, cannot name them.
_NEVER_IN_A_NAME = frozenset(chr(code) for code in (*range(32), 127)) | {"\\", "\ufffe", "\uffff"}


def require_safe(path: str, *, is_below: bool = False) -> PurePosixPath:
    """A relative path without tricks, in its one spelling; the root for an empty one. Raises InvalidInput.

    One that `is_below` a folder of ours may begin with what only at the root is a scheme or a folder of our own.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"the path {path[:_SHOWN]!r} cannot be written in UTF-8.") from None
    if len(encoded) > _LONGEST_PATH or any(len(step) > _LONGEST_NAME for step in encoded.split(b"/")):
        raise InvalidInput(
            f"the path {path[:_SHOWN]!r}... is too long: at most {_LONGEST_PATH} bytes, {_LONGEST_NAME} a name."
        )
    safe = PurePosixPath(path)
    if not safe.parts:
        return safe
    decoded = str(safe)
    while True:
        if not _is_plain(decoded, is_below=is_below):
            raise InvalidInput(f"the path {path[:_SHOWN]!r} is not a plain relative path.")
        if (again := unquote(decoded)) == decoded:
            break
        decoded = again
    if safe.parts[0] == PARTIAL_FOLDER and not is_below:
        raise InvalidInput(f"the name {PARTIAL_FOLDER!r} is kept for uploads that are not complete.")
    return safe


def require_name(path: str, *, is_below: bool = False) -> PurePosixPath:
    """The same for what must name something below the root, or below the folder. Raises InvalidInput."""
    safe = require_safe(path, is_below=is_below)
    if not safe.parts:
        raise InvalidInput("an artifact needs a name.")
    return safe


def is_shown(folder: PurePosixPath, name: str) -> bool:
    """Whether anybody can ask for what some tool has put into `folder` under that name."""
    if _USUAL_NAME.fullmatch(name):
        return True
    try:
        require_safe(f"{folder}/{name}")
    except InvalidInput:
        return False
    return True


def require_file(path: str) -> None:
    """Raises NotFound for what can only be a folder, where there is none."""
    if _names_folder(path):
        raise NotFound(f"there is no artifact {path!r}.")


def require_free(path: str, *, is_folder: bool, is_below_file: bool) -> None:
    """Raises InvalidInput where no file can be written, as on a disk."""
    if _names_folder(path):
        raise InvalidInput(
            f"{path!r} names a folder, not a file.",
            hint="MLflow's client cuts a file's name off at # and ?: give the file another name",
        )
    if is_below_file:
        raise InvalidInput(f"{path!r} lies below a file, not a folder.")
    if is_folder:
        raise InvalidInput(f"{path!r} is a folder and cannot be replaced by a file.")


def _names_folder(path: str) -> bool:
    return path.endswith(("/", "/."))


def _is_plain(path: str, *, is_below: bool) -> bool:
    steps = path.rstrip("/").split("/")
    return (
        not any(step in ("", ".", "..") for step in steps)
        and not (_DRIVE.fullmatch(steps[0]) if is_below else ":" in steps[0])
        and _NEVER_IN_A_NAME.isdisjoint(path)
    )
