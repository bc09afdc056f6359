"""One replica process an environment, kept running for as long as `lockgate up` does."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from lockgate.automation.children import child_environment, command
from lockgate.clock import Clock
from lockgate.entities import Observation
from lockgate.project import Folder
from lockgate.serving.traffic import read_observations, read_traffic, write_observation

log = logging.getLogger("lockgate.up")

# What the keeper of a replica says of it goes under this name.
KEEPER = "keeper"

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
_LONG_LIFE_S = 30.0
_STOP_LIMIT_S = 15.0
# A replica that dies before it was ready is given a second try; one that dies while serving is given two.
_DEATHS_BEFORE_READY = 2
_DEATHS_AT_ALL = 3


class Replica:
    """Starts `lockgate serve`, starts it again when it dies, and says so when a version is what kills it."""

    def __init__(self, folder: Folder, environment: str, *, host: str, port: int, clock: Clock) -> None:
        self.environment = environment
        self.host = host
        self.port = port
        self.log = folder.state / "logs" / f"serve-{environment}.log"
        self._folder = folder
        self._serving = folder.state / "serving" / environment
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._deaths: list[tuple[int, bool]] = []  # (traffic revision, was ready) of each death in a row

    async def keep(self, stopping: asyncio.Event) -> None:
        """Run until `stopping`, then stop the replica gracefully."""
        wait_s = _FIRST_WAIT_S
        while not stopping.is_set():
            started = self._clock.monotonic()
            started_at = self._clock.now_ms()
            process = await self._start()
            await _first(process.wait(), stopping.wait())
            if stopping.is_set():
                break
            log.warning("the replica of %s ended with %s; see %s", self.environment, process.returncode, self.log)
            self._record_death(started_at)
            lived_s = self._clock.monotonic() - started
            wait_s = _FIRST_WAIT_S if lived_s > _LONG_LIFE_S else min(wait_s * 2, _LONGEST_WAIT_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), wait_s)
        await self._stop()

    async def _start(self) -> asyncio.subprocess.Process:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        arguments = ("serve", "--env", self.environment, "--host", self.host, "--port", str(self.port))
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command(self._folder.root, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=child_environment(),
            )
        return self._process

    async def _stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_LIMIT_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _record_death(self, started_at: int) -> None:
        """A version that kills its process cannot report itself, so its keeper does: then the rollout goes back."""
        traffic = read_traffic(self._serving)
        if traffic is None:
            return
        was_ready = any(
            seen.revision == traffic.revision and seen.ready and seen.observed_at >= started_at
            for seen in read_observations(self._serving, self._clock.now_ms())
        )
        self._deaths = [death for death in self._deaths if death[0] == traffic.revision]
        self._deaths.append((traffic.revision, was_ready))
        unready = sum(not ready for _, ready in self._deaths)
        if unready >= _DEATHS_BEFORE_READY or len(self._deaths) >= _DEATHS_AT_ALL:
            write_observation(
                self._serving,
                Observation(
                    replica=KEEPER,
                    revision=traffic.revision,
                    observed_at=self._clock.now_ms(),
                    ready=False,
                    counters=(),
                ),
            )


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def plan_ports(folder: Folder, *, first: int) -> dict[str, int]:
    """Each environment's port: its own from lockgate.yaml, otherwise the next one from `first` on."""
    ports: dict[str, int] = {}
    taken = {environment.port for environment in folder.project.environments.values() if environment.port}
    free = (port for port in range(first, 65536) if port not in taken)
    for name, environment in folder.project.environments.items():
        ports[name] = environment.port or next(free)
    return ports
