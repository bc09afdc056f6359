"""Segments of processes that are gone (killed, or ended before their server came back), sent by whoever comes next.

A run's id is random, so the records that know it are the right ones: a segment goes to the installation that finds it
if that knows the run, and otherwise to the server it was meant for. Where its process began the run by itself, perhaps
nobody knows it yet: then it goes to the installation that it was meant for.
"""

import logging
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from lockgate.client.outbox.delivery import Refusal, deliver
from lockgate.client.outbox.segment import SUFFIX, Header, Segment
from lockgate.client.tracking import Tracking
from lockgate.config import masked
from lockgate.errors import DataDamaged, LockgateError, NotFound, Unauthenticated
from lockgate.store.atomic import orphans

log = logging.getLogger("lockgate.outbox")


class Kept(NamedTuple):
    """A segment that stays where it is, and why."""

    path: Path
    run_id: str
    error: LockgateError


class Leftovers(NamedTuple):
    """What was found: segments that were sent whole and deleted, what is kept, what the server refused of the rest."""

    sent: list[Path]
    kept: list[Kept]
    refused: list[Refusal]


def deliver_leftovers(
    folder: Path,
    tracking: Tracking,
    *,
    home: str | Path = "",
    open_server: Callable[[str], Tracking] | None = None,
    run_id: str | None = None,
    alone: AbstractContextManager[object] | None = None,
) -> Leftovers:
    """Send what lies in an outbox and belongs to no running process; of one run or of all.

    `home` is the address that `tracking` leads to, or the state folder of its project. `open_server` leads to the
    server of an address, without a login: it is a file that names it, and anybody may have written that. Without
    `open_server` only runs that `tracking` knows, or is to know, are sent. Never raises what a server says: that is in
    `kept`. `alone` is held around each question and each batch.
    """
    found = Leftovers([], [], [])
    blocked: set[str] = set()
    for unfinished in orphans(folder, f"*{SUFFIX}"):
        Segment.discard(unfinished)  # its process was killed before it could write anything
    for path in sorted(folder.glob(f"{run_id or '[!.]*'}-*{SUFFIX}")):
        origin = path.name.rpartition("-")[0]
        if origin in blocked:  # the order in which one process set its tags counts
            continue
        try:
            segment = Segment.adopt(path)
        except LockgateError as error:
            found.kept.append(Kept(path, path.name.partition("-")[0], error))
            continue
        if segment is None:
            blocked.add(origin)
            continue
        server = tracking
        try:
            if not _belongs(segment, home):
                with alone or nullcontext():
                    server = _tracking_for(segment.header, tracking, open_server)
            _deliver(segment, server, found, alone)
        except LockgateError as error:
            blocked.add(origin)
            reason = _to_be_named(error, segment.header.uri) if server is not tracking else error
            found.kept.append(Kept(path, segment.header.run_id, reason))
        finally:
            segment.close()
    return found


def _deliver(
    segment: Segment, tracking: Tracking, found: Leftovers, alone: AbstractContextManager[object] | None
) -> None:
    deliver(segment, tracking, refuse=found.refused.append, alone=alone)
    if torn := segment.torn_bytes():
        # A call that was killed half-way never returned, so its caller was promised nothing.
        log.warning("the last %d bytes of %s were not written whole (a kill, or a power cut)", torn, segment.path)
    if damaged := segment.damaged_bytes:
        lost = DataDamaged(f"what they held is lost; the file is kept as {segment.set_aside()}.")
        found.refused.append(Refusal(f"{damaged} damaged bytes in the middle of {segment.path.name}", lost))
    else:
        segment.delete()
    found.sent.append(segment.path)


def _belongs(segment: Segment, home: str | Path) -> bool:
    """Whether its run was begun for `home`, perhaps without anybody knowing it yet."""
    header = segment.header
    if header.begin is None or not home:
        return False
    if header.uri or isinstance(home, str):
        return header.uri.rstrip("/") == str(home).rstrip("/")
    state = home.resolve()
    return Path(header.state) == state if header.state else segment.path.resolve().is_relative_to(state)


def _tracking_for(header: Header, tracking: Tracking, open_server: Callable[[str], Tracking] | None) -> Tracking:
    try:
        tracking.get_run(header.run_id)
    except NotFound as error:
        if not header.uri:
            whose = f"the project whose state is in {header.state}" if header.state else "the project that it lies in"
            raise NotFound(
                f"{error.message} The file belongs to {whose}.", hint="lockgate runs flush there, without LOCKGATE_URI"
            ) from error
        if open_server is None:
            raise
        return open_server(header.uri)
    return tracking


def _to_be_named(error: LockgateError, uri: str) -> LockgateError:
    """A login goes to a server that its user names, and to no other."""
    if not isinstance(error, Unauthenticated):
        return error
    address = masked(uri)
    return Unauthenticated(
        f"the server at {address} wants a login: {error.message}",
        hint=f"with a token for it: LOCKGATE_URI={shlex.quote(address)} lockgate runs flush",
    )
