"""The steps of the durable workflows. Each may be cut short anywhere and repeated: what it did is recorded elsewhere.

Numerical libraries are never imported here: pipelines and looks of the monitor are child processes that end.
"""

import logging
import subprocess
import threading
from pathlib import Path

from lockgate.automation.children import run_child
from lockgate.automation.promotion import promote
from lockgate.client.client import Client
from lockgate.clock import Clock
from lockgate.delivery.advance import advance
from lockgate.delivery.rollout import is_finished
from lockgate.delivery.targets.local import LocalTarget
from lockgate.entities import Rollout
from lockgate.errors import LockgateError
from lockgate.project import Folder

log = logging.getLogger("lockgate.automation")

_POLL_S = 0.1
_RETRY_S = 1.0
_CHILD_END_LIMIT_S = 10.0


class Steps:
    """What workflows do in one project, from their threads. After `stop` no step returns any more."""

    def __init__(self, folder: Folder, client: Client, *, clock: Clock, user: str) -> None:
        self._folder = folder
        self._client = client
        self._clock = clock
        self._user = user
        self._stopping = threading.Event()
        self._one_run = threading.Lock()
        self._one_monitor = threading.Lock()
        self._children: set[subprocess.Popen[bytes]] = set()

    def adopt(self, folder: Folder) -> None:
        """Work by this project from the next step on."""
        self._folder = folder

    def stop(self) -> None:
        """Stop the children. Threads in the middle of a step wait for the end of the process, so that the step is
        recorded neither as done nor as failed, and is repeated at the next start."""
        self._stopping.set()
        for child in list(self._children):
            child.terminate()
        for child in list(self._children):
            try:
                child.wait(_CHILD_END_LIMIT_S)
            except subprocess.TimeoutExpired:
                child.kill()

    def until_moved(self, rollout_id: str) -> str:
        """Look at a rollout until it moves; its new state."""
        rollout = self._client.delivery.get_rollout(rollout_id)
        if is_finished(rollout):
            return rollout.state
        target = LocalTarget(self._folder.state, rollout.environment)
        while True:
            moved = self._advance(target, rollout)
            if moved.revision != rollout.revision:
                log.info("%s: %s: %s", moved.environment, moved.state, moved.reason)
                return moved.state
            self._pause(_POLL_S)

    def promote(self, environment: str, version: int) -> str:
        """Begin the rollout when the environment is free, and wait for its end; its last state."""
        folder, client, clock = self._folder, self._client, self._clock
        while True:
            found = promote(folder, client, version=version, environment=environment, by=self._user, clock=clock)
            if isinstance(found, Rollout):
                break
            if found != "busy":
                return found
            self._pause(_RETRY_S)
        while not is_finished(found):
            self._pause(_RETRY_S / 4)
            found = client.delivery.get_rollout(found.rollout_id)
        return found.state

    def look(self, environment: str, start_at: int, end_at: int) -> int:
        """One window of the monitor; its exit code. Sends the alerts that are open, too."""
        window = ("--start", str(start_at), "--end", str(end_at))
        with self._one_monitor:
            return self._run("monitor", "monitor", "--env", environment, "--json", *window)[0]

    def send_alerts(self, environment: str) -> int:
        """Tell people of alerts that were opened outside of the monitor; nothing where nobody is to be told."""
        if not self._folder.project.alerts:
            return 0
        with self._one_monitor:
            return self._run("monitor", "monitor", "--env", environment, "--notify-only")[0]

    def run_pipeline(self, reason: str) -> int:
        """`lockgate run`; its exit code. What passes is the new challenger."""
        log.info("a pipeline run starts: %s", reason)
        with self._one_run:
            code, error = self._run("pipeline", "run")
        why = f"{': ' * bool(error)}{error} (see {self._log('pipeline')})" if code else ""
        log.info("the pipeline run ended with exit code %s%s", code, why)
        return code

    def _advance(self, target: LocalTarget, rollout: Rollout) -> Rollout:
        production = self._folder.project.production
        try:
            return advance(self._client, target, rollout, self._clock.now_ms(), self._user, production=production)
        except LockgateError as error:
            if not error.retry_helps:
                raise
            log.warning("rollout %s waits: %s", rollout.rollout_id, error.message)
            self._pause(_RETRY_S)
            return rollout

    def _run(self, log_name: str, *arguments: str) -> tuple[int, str]:
        ended = run_child(self._folder.root, arguments, log=self._log(log_name), running=self._children)
        self._pause(0.0)
        return ended

    def _log(self, name: str) -> Path:
        return self._folder.state / "logs" / f"{name}.log"

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            threading.Event().wait()
