"""Results by the identity of the question: what a stage wrote for these inputs, what the gates said of this candidate.

A key is a digest (hashing.digest_canonical), a value a small document. The same question has one answer, so a second
`put` of a key replaces the first with an equal or better one.
"""

from pathlib import Path

from lockgate.errors import InvalidInput
from lockgate.hashing import is_digest
from lockgate.store.atomic import write_atomically


class Actions:
    """Answers in a folder, which is made on the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> bytes | None:
        """The answer to `key`, or None."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Keep an answer. Raises StorageFull."""
        write_atomically(self._path(key), data)

    def newest_first(self) -> list[tuple[str, int]]:
        """Every key with the time (nanoseconds) that its answer was written at."""
        paths = [path for path in self.root.glob("??/*") if is_digest(path.parent.name + path.name)]
        found = [(path.parent.name + path.name, path.stat().st_mtime_ns) for path in paths]
        return sorted(found, key=lambda item: -item[1])

    def remove(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if not is_digest(key):
            raise InvalidInput(f"{key!r} is not the key of a result: 64 hexadecimal digits are.")
        return self.root / key[:2] / key[2:]
