"""JUnit XML -> counts and the failed cases. The file comes from a command that we do not trust to be well-behaved:
it is read as a stream, up to a size, and one that declares entities (the way to a 'billion laughs') is refused."""

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from lockgate.errors import InvalidInput

_LARGEST_BYTES = 50_000_000
_FIRST_FAILURES = 20
_CHUNK = 1 << 16


@dataclass
class JunitResult:
    """What a report says. `failures` names the first failed cases with the first line of their message."""

    tests: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ran(self) -> int:
        return self.tests - self.skipped


def read_junit(path: Path) -> JunitResult:
    """Raises InvalidInput for a file that is too large, no XML, or declares a document type."""
    if path.stat().st_size > _LARGEST_BYTES:
        raise InvalidInput(f"{path.name} is larger than {_LARGEST_BYTES // 1_000_000} MB.")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise InvalidInput(f"{path.name} is no XML: {error}.") from error
    return reader.result


def _refuse_doctype(*_: object) -> None:
    raise InvalidInput("a JUnit report declares no document type; this one does, and is not read.")


class _Reader:
    """State: the case that is open and what it has said so far."""

    def __init__(self) -> None:
        self.result = JunitResult()
        self._case: str | None = None
        self._outcome: str | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2].rpartition(":")[2]
        if name == "testcase":
            self.result.tests += 1
            self._outcome = None
            self._case = "::".join(filter(None, (attributes.get("classname"), attributes.get("name", "?"))))
        elif name in ("failure", "error", "skipped") and self._case is not None and self._outcome is None:
            self._outcome = name
            if name == "skipped":
                self.result.skipped += 1
                return
            self.result.failed += 1
            if len(self.result.failures) < _FIRST_FAILURES:
                lines = (attributes.get("message") or attributes.get("type") or "").strip().splitlines()
                self.result.failures.append((self._case, lines[0] if lines else ""))

    def end(self, tag: str) -> None:
        if tag.rpartition(":")[2] == "testcase":
            self._case = None
