"""Records that were away when they were to be opened."""

import threading
from collections.abc import Callable
from pathlib import Path

from lockgate.client.transport import Transport
from lockgate.wire.operation import Operation, Req, Res


class Awaited(Transport):
    """Opened by the first call that finds them there; until then calls raise what opening them raises."""

    def __init__(self, open_records: Callable[[], Transport]) -> None:
        self._open_records = open_records
        self._opening = threading.Lock()
        self._records: Transport | None = None

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        return self._opened().call(operation, request)

    def put_file(self, path: str, local: Path) -> None:
        self._opened().put_file(path, local)

    def get_file(self, path: str, target: Path) -> None:
        self._opened().get_file(path, target)

    def let_go(self) -> None:
        if self._records is not None:
            self._records.let_go()

    @property
    def is_let_go(self) -> bool:
        return not self._opening.locked() and (self._records is None or self._records.is_let_go)

    def close(self) -> None:
        if self._records is not None:
            self._records.close()

    def _opened(self) -> Transport:
        with self._opening:
            if self._records is None:
                self._records = self._open_records()
            return self._records
