"""The seam between client and server: one call, and files in both directions."""

from pathlib import Path
from typing import Protocol

from lockgate.wire.operation import Operation, Req, Res


class Transport(Protocol):
    """Raises the LockgateError that the handler raised, or Unavailable where the server cannot be reached."""

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        """Perform one operation."""
        ...

    def put_file(self, path: str, local: Path) -> None:
        """Store a local file at `path` below the artifact root."""
        ...

    def get_file(self, path: str, target: Path) -> None:
        """Write the artifact at `path` to `target`, whole or not at all. Raises NotFound."""
        ...

    def let_go(self) -> None:
        """Before a fork: close what a child must not inherit and nobody is using; it is opened again when needed."""
        return

    @property
    def is_let_go(self) -> bool:
        """Whether nothing is open that a child must not inherit."""
        return True

    def end(self) -> None:
        """From any thread: what waits for a distant server breaks off, and calls that begin later raise Unavailable."""
        return

    def close(self) -> None:
        """Release connections; calls after it raise."""
        ...
