"""The file of an SQLite database, which somebody may delete or replace while it is open.

A connection that has it open goes on with what no path leads to any more, and all that it writes is lost. So every
transaction asks before it commits whether the file is still in its place; one that logs a metric believes an answer
for a hundredth of a second, for it would take a tenth longer.
"""

import os
import time
from pathlib import Path
from urllib.parse import quote

from lockgate.errors import Unavailable

BELIEVED_S = 0.01


class SqliteFile:
    """The one at `path` that is opened first; it is made then where there is none, and never again."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100  # as SQLAlchemy has it, wherever this process goes
        self._opened: os.stat_result | None = None
        self._asked_at = -BELIEVED_S

    def uri(self) -> str:
        """For SQLite to open it. Raises Unavailable where it is gone: an empty file would pass for a new database."""
        if self._opened is not None:
            self.require_in_place()
        mode = "rwc" if self._opened is None else "rw"
        return f"file://{quote(os.fsencode(self.path))}?mode={mode}"

    def require_in_place(self) -> None:
        """Raises Unavailable where another file is in its place, or none, or nothing is left in it."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise self._changed(f"cannot be found: {error.strerror}") from error
        opened = self._opened
        if opened is None or not opened.st_size:  # it is being made
            self._opened = found
        elif found.st_ino != opened.st_ino or found.st_dev != opened.st_dev:
            raise self._changed("was replaced by another file")
        elif not found.st_size:
            raise self._changed("was emptied")

    def require_lately_in_place(self) -> None:
        """The same, where it was not asked for a moment."""
        now = time.monotonic()
        if now - self._asked_at >= BELIEVED_S:
            self.require_in_place()
            self._asked_at = now

    def _changed(self, what: str) -> Unavailable:
        hint = "put back the one that was there, or restart this server"
        return Unavailable(f"{self.path.name} {what}.", hint=hint)
