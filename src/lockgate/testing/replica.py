"""A real replica in a process of its own, on a free port, for tests that talk HTTP to it.

`python -m lockgate.testing.replica STATE ENVIRONMENT SEED MAX_BODY_MB` is that process.
"""

import subprocess
import sys
from pathlib import Path
from types import TracebackType

_STARTED = "ready at "
_STOP_S = 15.0


class RunningReplica:
    """`url` answers from the start; whether it has a version to answer with, its readiness says."""

    def __init__(self, state: Path, environment: str, *, seed: int = 0, max_body_mb: int = 64) -> None:
        self._log = (state / "replica.log").open("ab")
        arguments = [str(state), environment, str(seed), str(max_body_mb)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lockgate.testing.replica", *arguments], stdout=subprocess.PIPE, stderr=self._log
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.decode().startswith(_STARTED):
                self.url = line.decode().removeprefix(_STARTED).strip()
                return
        self.stop()
        raise AssertionError(f"the replica did not start; see {state / 'replica.log'}")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(_STOP_S)
        finally:
            self._close()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(_STOP_S)
        self._close()

    def _close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(_STOP_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    def __enter__(self) -> "RunningReplica":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        else:
            self._close()


def main(state: str, environment: str, seed: str, max_body_mb: str) -> None:
    """Serve until stopped; the address goes to standard output."""
    from lockgate.clock import SystemClock
    from lockgate.config import Settings
    from lockgate.serving.replica import run_replica
    from lockgate.telemetry import configure_logging

    configure_logging()
    run_replica(
        state=Path(state),
        environment=environment,
        host="127.0.0.1",
        port=0,
        settings=Settings(max_body_mb=int(max_body_mb), traffic_poll_ms=10),
        clock=SystemClock(),
        seed=int(seed),
        announce=lambda address: print(f"{_STARTED}{address}", flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
