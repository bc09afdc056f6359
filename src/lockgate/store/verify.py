"""Read everything that is stored again, and name what is not what its name says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lockgate.entities import Record
from lockgate.errors import DataDamaged, InvalidInput, NotFound
from lockgate.hashing import digest_file, is_digest
from lockgate.store.store import Store


class Damage(Record, frozen=True, kw_only=True):
    """One object that cannot be trusted. `missing` is a file that a stored tree names and the store does not have."""

    kind: Literal["file", "tree", "missing", "stray"]
    digest: str
    path: str
    problem: str


def verify(store: Store) -> Iterator[Damage]:
    """Damaged objects, in the order they are met. Reads every byte of the store."""
    for path, digest in store.iter_objects("trees"):
        yield from _check_tree(store, path, digest)
    for path, digest in store.iter_objects("files"):
        if not is_digest(digest):
            yield Damage(kind="stray", digest=digest, path=str(path), problem="its name is not a digest")
        elif (found := digest_file(path)) != digest:
            yield Damage(kind="file", digest=digest, path=str(path), problem=f"its bytes have the digest {found}")


def remove_damage(damage: Damage) -> None:
    """Delete a damaged object, so that storing the same content again writes it anew."""
    Path(damage.path).unlink(missing_ok=True)


def _check_tree(store: Store, path: Path, digest: str) -> Iterator[Damage]:
    try:
        entries = store.read_tree(digest)
    except (DataDamaged, InvalidInput) as error:
        yield Damage(kind="tree", digest=digest, path=str(path), problem=error.message)
        return
    except NotFound:
        return  # collected while we looked
    for entry in entries:
        if not store.path_of(entry.digest).is_file():
            problem = f"the file {entry.path} of this tree is missing ({entry.digest})"
            yield Damage(kind="missing", digest=digest, path=str(path), problem=problem)
