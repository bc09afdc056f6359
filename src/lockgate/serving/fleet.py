"""The versions that a replica has in memory, kept equal to `traffic.json` without a request noticing.

A changed file is loaded in a thread while the old router answers; one assignment switches. The versions of the traffic
before stay in memory, so that a rollback finds them loaded; older ones are dropped, and their memory goes when their
last request is answered. A version that does not load is reported in the observation, the old traffic goes on, and
loading is tried again some seconds later.
"""

import asyncio
import gc
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from lockgate.clock import Clock
from lockgate.entities import Content, Observation, Traffic, TrafficShare, VersionCounters
from lockgate.errors import LockgateError
from lockgate.models.load import load_model
from lockgate.models.threads import one_thread
from lockgate.serving.counters import since
from lockgate.serving.router import Router
from lockgate.serving.traffic import TRAFFIC_FILE, read_traffic, write_observation
from lockgate.serving.version import ServedVersion, Totals
from lockgate.store.checkout import checkout
from lockgate.store.store import Store

_log = logging.getLogger("lockgate.serving")

_RETRY_S = 5.0
_REPORT_CHANGED_S = 0.5  # counts alone; another revision is reported at once
_REPORT_ANYWAY_S = 1.0


class Fleet:
    """Owns the router of one replica and the file that says what it serves."""

    def __init__(
        self, *, state: Path, environment: str, folder: Path, replica: str, poll_s: float, clock: Clock, rng: Random
    ) -> None:
        self._state = state
        self._environment = environment
        self._folder = folder
        self._traffic_file = folder / TRAFFIC_FILE
        self._replica = replica
        self._poll_s = poll_s
        self._clock = clock
        self._rng = rng
        self.router = Router(None, (), rng, is_starting=self._mark() is not None)
        self._before: Sequence[ServedVersion] = ()
        self._error: tuple[int, str] | None = None  # the revision that does not load, and why
        self._seen: tuple[int, int, int] | None = None
        self._baseline: dict[int, VersionCounters] = {}
        self._reported: Observation | None = None
        self._is_stopping = False
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lockgate-load")
        # Of every version that was served, also of those that are gone: a counter of /metrics never goes back.
        self.totals: dict[int, Totals] = {}

    async def follow(self) -> None:
        """Watch the file until `stop`; every problem is reported and none ends the watch."""
        loop = asyncio.get_running_loop()
        last_report = retry_at = 0.0
        while not self._is_stopping:
            now = self._clock.monotonic()
            mark = self._mark()
            if mark != self._seen or (self._error is not None and now >= retry_at):
                self._seen = mark
                if self.router.traffic is None:
                    self.router = Router(None, (), self._rng, is_starting=mark is not None)
                await self._swap(loop)
                retry_at = self._clock.monotonic() + _RETRY_S
            last_report = self._report(now, last_report)
            await asyncio.sleep(self._poll_s)

    def stop(self) -> None:
        """After the last answer: the final counts are published."""
        self._is_stopping = True
        self._loader.shutdown(wait=False, cancel_futures=True)
        self._publish()

    def _mark(self) -> tuple[int, int, int] | None:
        """Changes with every rename onto the file, even within the resolution of its time."""
        try:
            status = self._traffic_file.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    async def _swap(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            traffic = read_traffic(self._folder)
        except (LockgateError, OSError) as error:
            self._fail(self.router.traffic.revision if self.router.traffic else 0, error)
            return
        if traffic is None or traffic == self.router.traffic:
            self._error = None
            return
        present = {(version.version, version.digest): version for version in (*self._before, *self.router.versions)}
        try:
            versions = await loop.run_in_executor(self._loader, self._load_all, traffic, present)
        except (LockgateError, OSError) as error:
            self._fail(traffic.revision, error)
            return
        self._switch(traffic, versions)

    def _load_all(self, traffic: Traffic, present: dict[tuple[int, str], ServedVersion]) -> list[ServedVersion]:
        """In the loader's thread. Raises LockgateError for the first version that does not load."""
        loaded = [present.get((s.version, s.digest)) or self._load(s, traffic.model) for s in traffic.shares]
        one_thread()  # of every numeric library that is loaded by now: requests are the parallelism
        return loaded

    def _load(self, share: TrafficShare, model: str) -> ServedVersion:
        folder = self._state / "models" / share.digest
        if not folder.is_dir():
            content = Content(kind="tree", digest=share.digest, size_bytes=0)
            checkout(Store(self._state / "store"), content, folder)
        loaded = load_model(folder)
        totals = self.totals.setdefault(
            share.version, Totals(share.version, model_name=model, environment=self._environment)
        )
        version = ServedVersion(share, loaded, totals)
        try:
            version.warm_up()
        # A made-up row may be one that the model refuses; real requests will tell.
        except Exception as error:  # noqa: BLE001
            _log.info("version %d was not warmed up: %s", share.version, error)
        return version

    def _switch(self, traffic: Traffic, versions: list[ServedVersion]) -> None:
        self._error = None
        if {version.version for version in versions} != {version.version for version in self.router.versions}:
            # A canary's steps change shares alone; what served before the canary is still what served before.
            self._before = self.router.versions
        self.router = Router(traffic, versions, self._rng)
        self._baseline = {version.version: version.routed.snapshot(version.version) for version in versions}
        self._publish()
        # What was loaded stays: the collector need not look at it again with every generation.
        gc.collect()
        gc.freeze()
        shares = ", ".join(f"version {share.version}: {share.share:.0%}" for share in traffic.shares)
        _log.info("%s serves revision %d of %s (%s)", self._replica, traffic.revision, traffic.model, shares)

    def _fail(self, revision: int, error: Exception) -> None:
        if self._error is None or self._error != (revision, str(error)):
            _log.error("revision %d is not served: %s", revision, error)
        self._error = (revision, str(error))

    # -- what delivery reads ----------------------------------------------------------------------------------------

    def observation(self) -> Observation:
        """What is served now and was counted since it is."""
        traffic = self.router.traffic
        counters = tuple(
            since(version.routed.snapshot(version.version), self._baseline[version.version])
            for version in self.router.versions
        )
        revision, error = self._error or (traffic.revision if traffic else 0, None)
        return Observation(
            replica=self._replica,
            revision=revision,
            observed_at=self._clock.now_ms(),
            ready=traffic is not None and error is None,
            counters=counters,
            error=error,
        )

    def _report(self, now: float, last: float) -> float:
        if now - last < _REPORT_CHANGED_S:
            return last
        if now - last < _REPORT_ANYWAY_S and self._reported is not None:
            seen = self.observation()
            if (seen.revision, seen.ready, seen.counters) == (
                self._reported.revision,
                self._reported.ready,
                self._reported.counters,
            ):
                return last
        self._publish()
        return now

    def _publish(self) -> None:
        self._reported = self.observation()
        try:
            write_observation(self._folder, self._reported)
        except (LockgateError, OSError) as error:
            _log.error("the observation of %s is not written: %s", self._replica, error)


def forget_old_replicas(folder: Path, *, now_ms: int, max_age_ms: int = 86_400_000) -> None:
    """Delete the observations of replicas that have been silent for a day."""
    for path in folder.glob("replica-*.json"):
        try:
            if path.stat().st_mtime_ns // 1_000_000 < now_ms - max_age_ms:
                path.unlink()
        except FileNotFoundError:
            continue
