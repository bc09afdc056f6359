"""How searching and writing runs grows with the number of runs, on SQLite and on PostgreSQL, in one table.

    .venv/bin/python benchmarks/search.py [--runs 10000,100000,1000000] [--postgres postgresql://...]

Runs have 20 metrics, 20 params and 2 tags; they are loaded in bulk, past the server. Each figure is the least time by
the wall clock for one request, from the handler to the bytes of its answer. The bar is 40 ms for `filter and order` at
10,000 runs.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, make_url

from lockgate.clock import SystemClock
from lockgate.metadata.tables import latest_metrics, params, run_tags, runs
from lockgate.server.answer import answer_struct
from lockgate.server.context import Context, open_context
from lockgate.server.table import BY_NAME
from lockgate.wire.mlflow import runs as wire
from lockgate.wire.mlflow.experiments import Tag

KEYS = 20
CALLS_A_TURN = 3
START = 1_700_000_000_000
SEARCHES: dict[str, tuple[str, tuple[str, ...]]] = {
    "newest": ("", ()),
    "filter and order": ("metrics.m1 > 0.5 AND params.p1 = 'v3'", ("metrics.m2 DESC",)),
    "one metric": ("metrics.m1 > 0.5", ()),
    "one param": ("params.p1 = 'v3'", ()),
    "order by a metric": ("", ("metrics.m2 DESC",)),
    "ten of all": ("metrics.m1 > {of_ten}", ("metrics.m2 DESC",)),
    "by name": ("run_name = 'run-77'", ()),
    "nothing found": ("params.p1 = 'none'", ()),
    "or": ("metrics.m1 > 0.9 OR tags.team = 't1'", ("metrics.m2 DESC",)),
    "three of ten percent": ("metrics.m1 > 0.9 AND metrics.m2 > 0.9 AND metrics.m3 > 0.9", ()),
    "six conditions": (
        "metrics.m0 > 0.2 AND metrics.m1 > 0.2 AND metrics.m2 < 0.9 AND params.p0 != 'v3' AND params.p1 != 'v4' "
        "AND tags.team = 't1'",
        ("metrics.m5", "params.p2 DESC"),
    ),
    "order by a param": ("", ("params.p3 DESC",)),
    "order by name": ("", ("run_name",)),
}


def load(connection: Connection, count: int) -> None:
    """In the order of the keys and without indexes, which are made at the end."""
    indexes = [index for table in (runs, latest_metrics, params, run_tags) for index in table.indexes]
    for index in indexes:
        index.drop(connection)
    rng = random.Random(0)
    ids = sorted(f"{rng.getrandbits(128):032x}" for _ in range(count))
    order = list(range(count))
    rng.shuffle(order)
    numbers = iter(range(1, 1 + count * KEYS))
    for table, rows in (
        (runs, (run_row(run_id, number) for run_id, number in zip(ids, order, strict=True))),
        (
            latest_metrics,
            ((i, f"m{k}", rng.random(), False, START, 0, next(numbers)) for i in ids for k in sorted_keys()),
        ),
        (params, ((i, f"p{k}", f"v{rng.randrange(10)}") for i in ids for k in sorted_keys())),
        (run_tags, (tag for i, n in zip(ids, order, strict=True) for tag in tags_of(i, n))),
    ):
        fill(connection, table, rows)
    if connection.dialect.name == "postgresql":  # which counted none of these
        connection.exec_driver_sql(f"ALTER TABLE latest_metrics ALTER series RESTART {1 + count * KEYS}")
    for index in indexes:
        index.create(connection)


def run_row(run_id: str, number: int) -> tuple[Any, ...]:
    uri = f"mlflow-artifacts:/0/{run_id}/artifacts"
    return run_id, 0, f"run-{number}", "ann", "FINISHED", START + number, START + number + 5, "active", uri


def sorted_keys() -> list[str]:
    return sorted(map(str, range(KEYS)))


def tags_of(run_id: str, number: int) -> Iterator[tuple[str, str, str]]:
    yield run_id, "mlflow.runName", f"run-{number}"
    yield run_id, "team", f"t{number % 7}"


def fill(connection: Connection, table: Table, rows: Iterator[tuple[Any, ...]]) -> None:
    columns = {
        runs: "run_id experiment_id run_name user_id status start_time end_time lifecycle_stage artifact_uri",
        latest_metrics: "run_id key value is_nan timestamp step series",
    }.get(table, "run_id key value").split()
    driver: Any = connection.connection.driver_connection  # of sqlite3 or of psycopg
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        driver.executemany(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", rows)
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def search(context: Context, filter_: str, order: tuple[str, ...], token: str = "") -> tuple[bytes, str]:
    request = wire.SearchRuns(experiment_ids=("0",), filter=filter_, order_by=order, max_results=100, page_token=token)
    page = BY_NAME[wire.SEARCH_RUNS.name].handler(context, request)
    return answer_struct(page), page.next_page_token


def write(context: Context) -> None:
    """A run with all it logs: two requests."""
    created = BY_NAME[wire.CREATE_RUN.name].handler(context, wire.CreateRun(experiment_id="0", start_time=START))
    batch = wire.LogBatch(
        run_id=created.run.info.run_id,
        metrics=tuple(wire.Metric(key=f"m{k}", value=k / 7, timestamp=START, step=0) for k in range(KEYS)),
        params=tuple(Tag(key=f"p{k}", value=f"v{k % 10}") for k in range(KEYS)),
    )
    BY_NAME[wire.LOG_BATCH.name].handler(context, batch)


def measure(contexts: dict[int, Context], repeat: int) -> dict[str, list[float]]:
    """Of each piece of work the least time in ms, for each of the databases.

    `contexts` has them by how many runs they hold. They take turns: a machine that is slow for a while is slow for all.
    A turn is several calls, because a server has one database, and the processor's caches are not full of another.
    """
    works: dict[str, list[Callable[[], object]]] = {
        name: [partial(search, c, filter_.format(of_ten=1 - 10 / count), order) for count, c in contexts.items()]
        for name, (filter_, order) in SEARCHES.items()
    }
    filter_, order = SEARCHES["filter and order"]
    works["its later page"] = [
        partial(search, c, filter_, order, later_page(c, filter_, order)) for c in contexts.values()
    ]
    works["write a run"] = [partial(write, context) for context in contexts.values()]
    return {name: least_ms(several, repeat * 5 if name == "write a run" else repeat) for name, several in works.items()}


def later_page(context: Context, filter_: str, order: tuple[str, ...]) -> str:
    token = ""
    for _ in range(3):
        _, token = search(context, filter_, order, token)
    return token


def least_ms(works: list[Callable[[], object]], repeat: int) -> list[float]:
    found: list[list[float]] = [[] for _ in works]
    for _ in range(repeat):
        for work, taken in zip(works, found, strict=True):
            for _ in range(CALLS_A_TURN):
                start = time.perf_counter()
                work()
                taken.append(time.perf_counter() - start)
    return [min(taken) * 1000 for taken in found]


def table(columns: list[str], rows: dict[str, list[float]]) -> str:
    lines = ["| ms | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, figures in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="10000,100000")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--postgres", default="", help="where databases may be made; they are dropped again")
    parser.add_argument("--folder", type=Path, help="where the SQLite files go (5 GB for a million runs)")
    options = parser.parse_args()
    counts = [int(text) for text in options.runs.split(",")]
    columns, rows = [], dict[str, list[float]]()
    for database in ("SQLite", "PostgreSQL") if options.postgres else ("SQLite",):
        with ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
            contexts = {}
            for count in counts:
                address = opened.enter_context(made(options.postgres, count)) if database == "PostgreSQL" else ""
                contexts[count] = opened.enter_context(loaded(folder / str(count), count, address))
            for name, figures in measure(contexts, options.repeat).items():
                rows.setdefault(name, []).extend(figures)
        columns += [f"{database}, {count:,} runs" for count in counts]
    print(table(columns, rows))


@contextmanager
def loaded(folder: Path, count: int, address: str = "") -> Iterator[Context]:
    context = open_context(folder, user="bench", clock=SystemClock(), database=address)
    try:
        with context.write(decision=False) as tx:
            load(tx.connection, count)
        with context.database.engine.connect().execution_options(lockgate_mode=None) as connection:
            # What a database does by itself after some time; PostgreSQL does both, outside of any transaction.
            connection.exec_driver_sql("ANALYZE" if connection.dialect.name == "sqlite" else "VACUUM (ANALYZE)")
        yield context
    finally:
        context.close()


@contextmanager
def made(address: str, count: int) -> Iterator[str]:
    url = make_url(address).set(drivername="postgresql+psycopg")
    name = f"lockgate_bench_{count}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        try:
            yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name}")
    engine.dispose()


if __name__ == "__main__":
    main()
