"""The durable part of `lockgate up`: rollouts, looks of the monitor, pipeline runs, and the schedule.

    watch (every quarter second)
      lockgate.yaml saved      -> in force from this look on (project_file.py)
      unfinished rollout       -> workflow rollout:   move, move, ... until it is finished
      challenger, not deployed -> workflow promotion: each automatic environment in turn
      window complete          -> workflow look:      `lockgate monitor` as a child process
      data, contract or alert  -> workflow pipeline:  `lockgate run` as a child process
    cron                       -> workflow pipeline

A workflow has a name for its occasion, so one occasion starts one workflow, and DBOS starts it again after a crash at
the first step that was not finished. Each step may be repeated: a move of a rollout is a transaction that only one
driver wins, a run finds finished stages in the cache, a look records its window once.
"""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from lockgate.automation.project_file import ProjectFile
from lockgate.automation.promotion import automatic_environments
from lockgate.automation.steps import Steps
from lockgate.automation.triggers import Seen, find_cause, first_sight, next_window, started
from lockgate.automation.watched import watched_data
from lockgate.client.client import Client
from lockgate.clock import Clock
from lockgate.delivery.targets.local import LocalTarget
from lockgate.errors import InvalidInput
from lockgate.project import Folder, Project, duration_s
from lockgate.store.atomic import write_atomically

# DBOS recovers the workflows of this executor and version: fixed, so that a restart finds what was left.
EXECUTOR = "local"
VERSION = "1"

_TRIGGERS_EVERY_S = 2.0


class Automation:
    """The workflows of one project in this process. `start` once, then `watch` again and again, `stop` at the end."""

    def __init__(self, folder: Folder, client: Client, *, clock: Clock, user: str) -> None:
        self._folder = folder
        self._client = client
        self._clock = clock
        self._steps = Steps(folder, client, clock=clock, user=user)
        self._file = ProjectFile(folder.root)
        self._driven: set[str] = set()
        self._begun: set[str] = set()
        self._triggers_due = 0.0
        self._look: Any = None  # DBOS's handle of the newest look
        self._looked_until: int | None = None
        self._begin: Callable[..., Any] = _not_started
        self._keep_schedule: Callable[[Project], None] = _not_started

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Import DBOS, register the workflows, and go on with what a crash left. Takes about two seconds of CPU.

        Raises InvalidInput for a schedule that is none.
        """
        from dbos import DBOS, SetWorkflowID

        path = self._folder.state / "automation.db"
        prepare_database(path)
        workflows = self._workflows(DBOS)
        DBOS(
            config={
                "name": "lockgate",
                "system_database_url": f"sqlite:///{path}",
                "sys_db_pool_size": 4,
                "executor_id": EXECUTOR,
                "application_version": VERSION,
                "log_level": "ERROR",
                "enable_otlp": False,
                "max_executor_threads": 16,
                "scheduler_polling_interval_sec": 5.0,  # how soon a schedule that was changed counts
            }
        )
        self._publish_traffic()
        DBOS.launch()
        # What a crash left goes on by itself; a second driver would do no harm, and tell everything twice.
        left = DBOS.list_workflows(name="rollout", status=["PENDING", "ENQUEUED"])
        self._driven = {workflow.input["args"][0] for workflow in left if workflow.input}
        self._keep_schedule = partial(_keep_schedule, DBOS, workflows["scheduled"])
        self._keep_schedule(self._folder.project)

        def begin(name: str, occasion: str, *arguments: object) -> Any:
            with SetWorkflowID(f"{name}-{self._folder.project.model}-{occasion}"):
                return DBOS.start_workflow(workflows[name], *arguments)

        self._begin = begin

    def stop(self) -> None:
        """Take no more steps and stop the children; the process must then end with `os._exit` (see `Steps.stop`)."""
        self._steps.stop()

    def _publish_traffic(self) -> None:
        """What was decided last, once more: whoever decided it may have died before replicas could read it."""
        for environment in self._folder.project.environments:
            traffic = self._client.delivery.get_traffic(self._folder.project.model, environment)
            if traffic is not None:
                LocalTarget(self._folder.state, environment).apply(traffic)

    # -- what happens ------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """One look at the project: begin a workflow for everything that calls for one."""
        self._watch_file()
        model = self._folder.project.model
        for environment in self._folder.project.environments:
            rollout = self._client.delivery.current_rollout(model, environment)
            if rollout is not None and rollout.rollout_id not in self._driven:
                # Each start of this process may drive it anew: a workflow that ended in an error is not started again.
                self._begin(
                    "rollout", f"{rollout.rollout_id}-{rollout.revision}-{self._clock.now_ms()}", rollout.rollout_id
                )
                self._driven.add(rollout.rollout_id)
        self._watch_challenger(model)
        self._watch_windows()
        if self._clock.monotonic() >= self._triggers_due:
            self._triggers_due = self._clock.monotonic() + _TRIGGERS_EVERY_S
            self._watch_triggers(model)

    def _watch_file(self) -> None:
        before = self._folder.project
        project = self._file.look(before, self._keep_schedule)
        if project is None:
            return
        self._folder = Folder(self._folder.root, project)
        self._steps.adopt(self._folder)
        if project.monitor != before.monitor:
            # Windows of another length do not follow those of the old one.
            self._looked_until = None

    def _watch_challenger(self, model: str) -> None:
        if not automatic_environments(self._folder):
            return
        challenger = self._client.registry.list_aliases(model).get("challenger")
        if challenger is not None:
            self._begin_once("promotion", str(challenger), challenger)

    def _watch_windows(self) -> None:
        """The next window, when the look at the one before is over: looks never pile up, however slow they are."""
        monitor = self._folder.project.monitor
        environment = (monitor.environment if monitor else None) or self._folder.project.production
        if monitor is None or environment is None:
            return
        if self._look is not None and self._look.get_status().status in ("PENDING", "ENQUEUED"):
            return
        start, end = next_window(self._clock.now_ms(), duration_s(monitor.window), after=self._looked_until)
        if end != self._looked_until:
            self._look = self._begin("look", f"{environment}-{end}", environment, start, end)
            self._looked_until = end

    def _watch_triggers(self, model: str) -> None:
        retrain = self._folder.project.retrain
        if not retrain.on:
            return
        seen = self._seen()
        data = watched_data(self._folder, self._clock)
        seen_now = first_sight(seen, data)
        alerts = self._client.monitoring.list_alerts(model=model, open_only=True)
        now = self._clock.now_ms()
        cause = find_cause(retrain, seen=seen_now, data=data, alerts=alerts, now=now)
        if cause is not None:
            # The same data may come back later, so the last start is a part of the occasion. Begun before it is
            # remembered: in between lies a crash that finds the same occasion again, and DBOS starts it once.
            self._begin("pipeline", f"{cause.key}-{seen_now.started_at or 0}", cause.reason)
            seen_now = started(seen_now, data=data, alerts=alerts, now=now)
        if seen_now != seen:
            write_atomically(self._seen_path, msgspec.json.encode(seen_now))

    def _begin_once(self, name: str, occasion: str, *arguments: object) -> None:
        """DBOS knows what was begun; asking it every quarter second is not needed."""
        if f"{name}-{occasion}" not in self._begun:
            self._begin(name, occasion, *arguments)
            self._begun.add(f"{name}-{occasion}")

    # -- the workflows ----------------------------------------------------------------------------------------------

    def _workflows(self, dbos: Any) -> dict[str, Callable[..., Any]]:  # DBOS gives what it decorates no useful type
        steps = self._steps

        def rollout(rollout_id: str) -> str:
            while True:
                state: str = dbos.run_step({"name": "until_moved"}, steps.until_moved, rollout_id)
                if state in ("succeeded", "superseded"):
                    return state
                if state == "rolled_back":
                    environment = self._client.delivery.get_rollout(rollout_id).environment
                    dbos.run_step({"name": "send_alerts"}, steps.send_alerts, environment)
                    return state

        def promotion(version: int) -> str:
            for environment in automatic_environments(self._folder):
                state = dbos.run_step({"name": "promote"}, steps.promote, environment, version)
                if state != "succeeded":
                    # What did not stay in one environment has no business in the next.
                    return f"{state} in {environment}"
            return "succeeded"

        def look(environment: str, start_at: int, end_at: int) -> int:
            code: int = dbos.run_step({"name": "look"}, steps.look, environment, start_at, end_at)
            return code

        def pipeline(reason: str) -> int:
            code: int = dbos.run_step({"name": "run_pipeline"}, steps.run_pipeline, reason)
            return code

        def scheduled(at: datetime, cron: str) -> int:
            return pipeline(f"schedule {cron} at {at.isoformat()}")

        return {
            function.__name__: dbos.workflow(name=function.__name__)(function)
            for function in (rollout, promotion, look, pipeline, scheduled)
        }

    # -- what is remembered -----------------------------------------------------------------------------------------

    @property
    def _seen_path(self) -> Path:
        return self._folder.state / "triggers.json"

    def _seen(self) -> Seen:
        try:
            return msgspec.json.decode(self._seen_path.read_bytes(), type=Seen)
        except FileNotFoundError:
            return Seen()


def _keep_schedule(dbos: Any, scheduled: Callable[..., Any], project: Project) -> None:
    """Raises InvalidInput for what is no schedule; then the one before stays."""
    from dbos import error as dbos_error

    cron = project.retrain.schedule
    known = dbos.get_schedule("retrain")
    if cron == (known["schedule"] if known else None):
        return  # written anew, it would begin anew, and miss what is due at this moment
    if cron is None:
        dbos.delete_schedule("retrain")
        return
    schedule = {"schedule_name": "retrain", "workflow_fn": scheduled, "schedule": cron, "context": cron}
    try:
        dbos.apply_schedules([schedule])
    except dbos_error.DBOSException as error:
        raise InvalidInput(f"retrain.schedule: {cron!r} is no schedule: {error}") from error


def prepare_database(path: Path) -> None:
    """SQLite keeps the journal mode in the file, so DBOS gets the write-ahead log without asking for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _not_started(*_: object) -> None:
    raise AssertionError("Automation.start has not been called")
