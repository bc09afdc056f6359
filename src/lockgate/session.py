"""The run that a training script logs to: found or begun on first use, ended with the script."""

import logging
import os
import random
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from lockgate.client.awaited import Awaited
from lockgate.client.client import Client
from lockgate.client.outbox.batch import End, Tags
from lockgate.client.outbox.delivery import RunClosed, begin_run
from lockgate.client.outbox.outbox import Outbox, outbox_folder
from lockgate.client.outbox.segment import Begin, Header
from lockgate.client.outbox.values import text_of
from lockgate.client.transport import Transport
from lockgate.clock import SystemClock
from lockgate.config import Settings, home_folder, load_settings, login_name
from lockgate.connect import connect, split_uri
from lockgate.errors import InvalidInput, LockgateError, NotFound, Unavailable
from lockgate.ids import RUN_ID, RUN_ID_LENGTH, new_run_id
from lockgate.project import STATE_FOLDER, find_project, load_project
from lockgate.store.atomic import naming_full_disk
from lockgate.wire.operation import Operation, Req, Res

log = logging.getLogger("lockgate.session")

_FORK_WAIT_S = 1.0
_OTHER_OUTBOX = "LOCKGATE_OUTBOX names another folder, on a local disk"


class Place(NamedTuple):
    """Where this process logs to. `state` is None outside of a project."""

    settings: Settings
    state: Path | None
    user: str
    run_id: str
    outbox: Path
    begin: Begin | None = None  # of a run that nobody gave us
    is_ours: bool = False  # we began the run, so we end it

    @property
    def home(self) -> str | Path:
        """The address of a server, or the state folder of this project."""
        return self.uri or self.state or ""

    @property
    def uri(self) -> str:
        """The address of the server without the password that may be in it, as it is written into files."""
        return split_uri(self.settings.uri)[0]

    def header(self) -> Header:
        """What the files in the outbox begin with; in the state folder they move with the project."""
        state = "" if self.state is None else str(self.state.resolve())
        if state and self.outbox.resolve().is_relative_to(state):
            state = ""
        return Header(self.run_id, self.uri, text_of("the path of the project", state), self.begin)

    def connect(self) -> Client:
        """A new client; of a PostgreSQL that is away now, one that opens it when it is back."""

        def new_client() -> Client:
            return connect(self.settings, state=self.state or Path(), user=self.user, clock=SystemClock())

        try:
            return new_client()
        except Unavailable:
            if not self.settings.database:  # a file does not come back by itself
                raise
            return Client(Awaited(lambda: new_client().transport), SystemClock())


class CutOff(Transport):
    """Of a child that must not open its parent's database: nothing is sent."""

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        raise self._error

    def put_file(self, path: str, local: Path) -> None:
        raise self._error

    def get_file(self, path: str, target: Path) -> None:
        raise self._error

    @property
    def _error(self) -> RunClosed:
        return RunClosed(
            "this process was forked while another thread was using the project's records, so it cannot open them.",
            hint="what it logs is kept, and sent at the end of the run or by lockgate runs flush",
        )

    def close(self) -> None:
        pass


class Opened(NamedTuple):
    """A run that is being logged to. `params` are those that this process logged."""

    place: Place
    client: Client
    outbox: Outbox
    params: dict[str, str]

    def make_run(self) -> None:
        """For what needs the run at once. Raises RunClosed where it cannot begin, Unavailable where nobody answers."""
        begin_run(self.place.header(), self.client.tracking)


class Session:
    """The run that this process logs to, one at a time.

    `inherited` is that of the process we were forked from. One that `is_cut_off` was forked in a moment in which the
    database could not be let go.
    """

    def __init__(self, environ: Mapping[str, str], inherited: Place | None = None, *, is_cut_off: bool = False) -> None:
        self._environ = environ
        self._inherited = inherited
        self._is_cut_off = is_cut_off
        self._lock = threading.RLock()
        self._phase: Literal["closed", "opening", "open", "ending"] = "closed"
        self._has_ended = False  # the script
        self._run: Opened | None = None  # the last one that was opened, whose client outlives its end perhaps
        self._held: dict[int, Outbox] = {}  # by the thread that forks

    def open(self, name: str = "") -> Opened:
        """The run, its client and its outbox; begun by the first call, which does not wait for the server."""
        if self._phase == "open" and (run := self._run) is not None:
            return run
        with self._lock:
            if self._phase == "opening":
                raise Unavailable("a signal handler cannot log while the first log call is under way.")
            if (run := self._current) is None:  # a signal handler may come here while one is ending
                if self._has_ended:
                    raise RunClosed("the script has ended and had logged nothing, so there is no run to log to.")
                self._phase = "opening"
                try:
                    run = self._run = self._open(name)
                    self._phase = "open"
                finally:
                    if self._phase == "opening":
                        self._phase = "closed"
        return run

    def flush(self, timeout_s: float) -> None:
        """See `Outbox.flush`; nothing where nothing was logged."""
        if (run := self._current) is not None:
            run.outbox.flush(0 if self._phase == "closed" else timeout_s)  # nobody sends any more

    def finish(self, status: Literal["FINISHED", "FAILED"]) -> InvalidInput | None:
        """Send what is left and close a run that this process made; the pipeline closes its own.

        The value says what the server refused. Other threads that log meanwhile wait, and then begin the next run.
        """
        with self._lock:
            if (run := self._run) is None or self._phase != "open":
                return None
            self._phase = "ending"
            try:
                return _finish(run, status)
            finally:
                self._phase = "closed"

    def end(self, status: Literal["FINISHED", "FAILED"]) -> InvalidInput | None:
        """`finish` with the script. What is logged later is kept for this run: nobody would end a next one."""
        with self._lock:
            self._has_ended = True
            return self.finish(status)

    def hold_still(self) -> None:
        """Before a fork: a child must inherit no open database, so the sending thread is kept from using it."""
        if self._phase == "opening" and self._lock.acquire(timeout=_FORK_WAIT_S):  # another thread opens the database
            self._lock.release()
        run = self._run
        if run is None or run.place.settings.uri:
            return
        if run.outbox.hold_still(_FORK_WAIT_S):
            self._held[threading.get_ident()] = run.outbox
        run.client.transport.let_go()

    def go_on(self) -> None:
        """After a fork, in the parent."""
        if (outbox := self._held.pop(threading.get_ident(), None)) is not None:
            outbox.go_on()

    def forked(self) -> "Session":
        """The session of a forked child: the same run, with a client and an outbox of its own on first use."""
        is_let_go = self._phase != "opening" and (self._run is None or self._run.client.transport.is_let_go)
        is_cut_off = self._is_cut_off or not is_let_go
        if (run := self._current) is None:
            return Session(self._environ, self._inherited, is_cut_off=is_cut_off)
        place, outbox = run.place, run.outbox
        outbox.let_go()
        begin = None if outbox.has_sent else place.begin  # once is enough, and a run that was purged stays so
        return Session(self._environ, place._replace(is_ours=False, begin=begin), is_cut_off=is_cut_off)

    @property
    def _current(self) -> Opened | None:
        return self._run if self._has_ended or self._phase in ("open", "ending") else None

    def _open(self, name: str) -> Opened:
        place = self._inherited or self._enter(name)
        header = place.header()
        _make_folder(place.outbox)
        client = Client(CutOff(), SystemClock()) if self._is_cut_off else place.connect()
        outbox = Outbox(
            place.outbox,
            header,
            client.tracking,
            home=place.home,
            limit_bytes=place.settings.outbox_mb << 20,
            clock=SystemClock(),
            rng=random.Random(),
        )
        if place.is_ours:  # the first record, so that the run is begun soon, whatever the script does next
            script = Path(sys.argv[0]).name.encode(errors="replace").decode() or "python"
            tags = {"mlflow.user": place.user, "mlflow.source.type": "LOCAL", "mlflow.source.name": script}
            try:
                outbox.append(Tags(tags))
            except BaseException:
                outbox.close(0)
                client.close()
                raise
        return Opened(place, client, outbox, {})

    def _enter(self, name: str) -> Place:
        settings = load_settings(environ=self._environ, home=home_folder())
        user = settings.user or login_name()
        given = self._environ.get("LOCKGATE_RUN_ID")
        if given and not RUN_ID.fullmatch(given):  # it becomes the name of a file
            raise InvalidInput(
                f"LOCKGATE_RUN_ID is {given[:300]!r}, and the id of a run is {RUN_ID_LENGTH} digits of 0-9a-f.",
                hint="lockgate run sets it for its stages; without it a script begins a run of its own",
            )
        if given and not settings.uri:
            raise InvalidInput("LOCKGATE_RUN_ID is set, and LOCKGATE_URI, which must name its server, is not.")
        try:
            root = find_project(Path.cwd())
        except NotFound:
            if not settings.uri:
                raise
            root = None
        state = None if root is None else root / STATE_FOLDER
        outbox = outbox_folder(settings, state, environ=self._environ, home=home_folder())
        if outbox is None:
            raise InvalidInput(
                "this user has no home folder, where logged values would wait to be sent.", hint=_OTHER_OUTBOX
            )
        if given:
            return Place(settings, state, user, given, outbox)
        experiment = "Default" if root is None else load_project(root).project.model
        begin = Begin(experiment, text_of("the name of the run", name), SystemClock().now_ms())
        return Place(settings, state, user, new_run_id(), outbox, begin, is_ours=True)


def _make_folder(outbox: Path) -> None:
    try:
        with naming_full_disk(outbox):
            outbox.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidInput(f"the outbox {outbox} cannot be made: {error.strerror}.", hint=_OTHER_OUTBOX) from error
    if not os.access(outbox, os.W_OK | os.X_OK):
        raise InvalidInput(f"the outbox {outbox} cannot be written.", hint=_OTHER_OUTBOX)


def _finish(opened: Opened, status: Literal["FINISHED", "FAILED"]) -> InvalidInput | None:
    place, client, outbox, _ = opened
    if place.is_ours:
        try:
            outbox.append(End(SystemClock().now_ms(), status), may_wait=False)
        except LockgateError as error:
            log.warning("the end of run %s was not recorded: %s", place.run_id, error)
    remains = outbox.close(place.settings.outbox_wait_s)
    if remains is not None:
        log.warning("%s", remains)
    if not outbox.is_sending:  # or closing would wait for the answer that does not come
        client.close()
    return outbox.take_refusals()
