"""The connection on which the event loop asks PostgreSQL itself: opened and closed by workers, heard by the loop."""

import asyncio
import logging
from typing import TYPE_CHECKING

from lockgate.metadata.database import Database
from lockgate.server.workers import Workers

if TYPE_CHECKING:  # its driver is only there where there is PostgreSQL
    from lockgate.metadata.group_commit import GroupCommit

log = logging.getLogger("lockgate.server")

_RETRY_S = 1.0
# As long as a disk takes that is very busy. Workers then ask on connections of their own.
_PATIENCE_S = 2.0


class LoopGroup:
    """For the loop that is running; opened when it is first wanted, and again when it was lost."""

    def __init__(
        self, database: Database, workers: Workers, *, retry_s: float = _RETRY_S, patience_s: float = _PATIENCE_S
    ) -> None:
        self._database = database
        self._workers = workers
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._is_watched = False
        self._is_opening = False
        self._ready: GroupCommit | None = None

    def find(self) -> "GroupCommit | None":
        """None on SQLite, and until a worker has opened it."""
        if self._ready is None and not self._is_opening and not self._database.reads_at_once:
            self._is_opening = True
            self._workers.call(self._database.open_group).add_done_callback(self._listen)
        return self._ready

    def watch(self) -> None:
        """Give the connection up where what is being asked is not answered for long: all others wait behind it."""
        if self._is_watched or self._ready is None:
            return
        self._is_watched = True
        asyncio.get_running_loop().call_later(self._patience_s, self._look, self._ready, self._ready.answers)

    def _look(self, group: "GroupCommit", answers: int) -> None:
        self._is_watched = False
        if group is not self._ready or not group.is_awaited:
            return
        if group.answers == answers:
            log.warning("PostgreSQL has not answered for %g s: its connection is given up", self._patience_s)
            group.give_up()
        else:
            self.watch()

    def _may_open(self) -> None:
        self._is_opening = False

    def _listen(self, opening: "asyncio.Future[GroupCommit]") -> None:
        loop = asyncio.get_running_loop()
        error = opening.exception()
        if error is not None:
            log.warning("small measurements are left to threads: %s", error)
            loop.call_later(self._retry_s, self._may_open)
            return
        self._may_open()
        group = opening.result()
        find_events = getattr(loop, "_get_backend_id", None)
        if find_events is not None:  # of uvloop: where the system tells it of all that comes from outside
            group.stand_still_beside(find_events())

        def lost() -> None:
            loop.remove_reader(group.socket)
            self._ready = None
            self._workers.call(self._database.close_group, group)

        group.lost = lost
        loop.add_reader(group.socket, group.hear)
        self._ready = group
