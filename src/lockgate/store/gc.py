"""Delete stored content that nothing refers to.

Mark: what the caller names, and the files of every tree among it. Sweep: the rest, unless it is younger than the grace
period, because a run that goes on right now stores first and refers later. Storing what is there already makes it
young again (`Store.put`), and the sweep looks at the age once more after it took the name away: between the two no
process can have counted on it without leaving a mark.
"""

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from lockgate.clock import Clock
from lockgate.entities import Record
from lockgate.errors import NotFound
from lockgate.store.store import Store

GRACE_S = 3600.0

_DIGESTS = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class Collected(Record, frozen=True, kw_only=True):
    """What a collection did, or would do: objects and bytes deleted and kept."""

    deleted: tuple[str, ...]
    deleted_bytes: int
    kept: int
    kept_bytes: int


def gc(
    store: Store, keep: Iterable[str], *, clock: Clock, grace_s: float = GRACE_S, dry_run: bool = False
) -> Collected:
    """Delete what is neither named by `keep` (digests of files and trees) nor younger than `grace_s` seconds.

    Raises DataDamaged, before anything is deleted, where a tree that must be kept cannot be read.
    """
    marked = _mark(store, keep)
    youngest_ns = int((clock.now_ms() - grace_s * 1000) * 1_000_000)
    deleted: list[str] = []
    deleted_bytes = kept = kept_bytes = 0
    # A tree goes before its files, so that no list outlives its content.
    for path, digest in chain(store.iter_objects("trees"), store.iter_objects("files")):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if digest in marked or found.st_mtime_ns >= youngest_ns or not (dry_run or _delete(store, path, youngest_ns)):
            kept += 1
            kept_bytes += found.st_size
        else:
            deleted.append(digest)
            deleted_bytes += found.st_size
    if not dry_run:
        _sweep_temporary(store, youngest_ns)
    return Collected(deleted=tuple(deleted), deleted_bytes=deleted_bytes, kept=kept, kept_bytes=kept_bytes)


def digests_in(text: bytes) -> set[str]:
    """Everything in a document that looks like a digest: whoever keeps the document keeps what it names."""
    return {match.decode() for match in _DIGESTS.findall(text)}


def _mark(store: Store, keep: Iterable[str]) -> set[str]:
    marked = set(keep)
    for digest in list(marked):
        try:
            marked.update(entry.digest for entry in store.read_tree(digest))
        except NotFound:
            continue  # a file, or something that is named but not stored here
    return marked


def _delete(store: Store, path: Path, youngest_ns: int) -> bool:
    """Take the name away, then look again: a writer that found the object meanwhile has made it young."""
    aside = store.root / "tmp" / f"gc-{path.parent.name}{path.name}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.replace(aside)
    except FileNotFoundError:
        return False
    if aside.stat().st_mtime_ns >= youngest_ns:
        aside.replace(path)
        return False
    aside.unlink()
    return True


def _sweep_temporary(store: Store, youngest_ns: int) -> None:
    for path in (*(store.root / "tmp").glob("*"), *(store.root / "actions").glob("??/.lockgate-*")):
        if path.is_file() and path.stat().st_mtime_ns < youngest_ns:
            path.unlink(missing_ok=True)
