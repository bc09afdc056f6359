"""A connection to PostgreSQL that does not wait for ever.

The network notices a server that is gone. It does not notice one whose bytes are taken and never answered, as by a
proxy that hangs or a machine that swaps: each thread that asked it would be lost.
"""

import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any, TypeVar

from psycopg import Connection, Error, OperationalError, capabilities
from psycopg.abc import PQGen

T = TypeVar("T")

# As long as MLflow's client waits for us: after that nobody wants the answer any more.
ANSWER_LIMIT_S = 120.0
_CANCEL_LIMIT_S = 2.0


class LimitedConnection(Connection[Any]):
    """Raises OperationalError, and is closed, where nothing is heard for `answer_limit_s` seconds; None: no limit."""

    answer_limit_s: float | None = ANSWER_LIMIT_S

    def wait(self, gen: PQGen[T], *args: Any, **options: Any) -> T:
        """As psycopg's, by which every statement waits."""
        if self.answer_limit_s is not None:
            gen = self._limited(gen, self.answer_limit_s)
        return super().wait(gen, *args, **options)

    def _limited(self, gen: PQGen[T], limit_s: float) -> Generator[Any, Any, T]:
        """Asked whenever there is something to read or to write, and ten times a second where there is nothing."""
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                heard = yield wanted
                if heard:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > limit_s:
                    self._give_up()
                    raise OperationalError(f"no answer for {limit_s:g} seconds")
                wanted = gen.send(heard)
        except StopIteration as ended:
            value: T = ended.value
            return value

    def _give_up(self) -> None:
        """Tell a server that is merely slow to stop; without its library's newer way that could wait for ever too."""
        if capabilities.has_cancel_safe():
            with suppress(Error):
                self.cancel_safe(timeout=_CANCEL_LIMIT_S)
        self.pgconn.finish()
