"""The connection on which the event loop asks PostgreSQL itself: opened and closed by workers, heard by the loop."""

import asyncio
from typing import TYPE_CHECKING

from lockgate.metadata.database import Database
from lockgate.server.workers import Workers

if TYPE_CHECKING:  # its driver is only there where there is PostgreSQL
    from lockgate.metadata.group_commit import GroupCommit


class LoopGroup:
    """For the loop that is running; opened when it is first wanted, and again when it was lost."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers
        self._opening: asyncio.Future[None] | None = None
        self._opened: GroupCommit | None = None
        self._ready: GroupCommit | None = None

    def find(self) -> "GroupCommit | None":
        """None on SQLite, and until a worker has opened it."""
        if self._ready is None and self._opening is None and not self._database.reads_at_once:
            self._opening = self._workers.call(self._open)
            self._opening.add_done_callback(self._listen)
        return self._ready

    def close(self) -> None:
        """To be called when the loop and the workers have ended."""
        if self._opened is not None:
            self._opened.close()

    def _open(self) -> None:
        self._opened = self._database.open_group()

    def _listen(self, opening: asyncio.Future[None]) -> None:
        self._opening = None
        if opening.exception() is not None:
            return  # whoever asks next is told why by a worker, who opens a connection as well
        loop, group = asyncio.get_running_loop(), self._opened
        assert group is not None
        find_events = getattr(loop, "_get_backend_id", None)
        if find_events is not None:  # of uvloop: where the system tells it of all that comes from outside
            group.stand_still_beside(find_events())

        def lost() -> None:
            loop.remove_reader(group.socket)
            self._opened = self._ready = None
            self._workers.call(group.close)

        group.lost = lost
        loop.add_reader(group.socket, group.hear)
        self._ready = group
