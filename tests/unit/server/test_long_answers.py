"""Answers with very many items: as they would be in one piece, in a fraction of the memory."""

import tracemalloc
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from lockgate.client.client import Client
from lockgate.client.http import HttpTransport
from lockgate.server.answer import answer_struct, pack
from lockgate.server.context import Context
from lockgate.server.local import LocalTransport
from lockgate.server.perform import perform
from lockgate.server.table import BY_NAME
from lockgate.wire.mlflow.runs import SEARCH_RUNS, Metric, RunPage, SearchRuns

MANY = 250  # more than two parts


@pytest.fixture
def local(context: Context) -> Client:
    return Client(LocalTransport(context), context.clock)


@pytest.fixture
def remote(asked) -> Iterator[Client]:
    transport = HttpTransport(asked.url, user="ann")
    yield Client(transport, asked.context.clock)
    transport.close()


def add_runs(client: Client, count: int, *, values: int) -> None:
    for number in range(count):
        run_id = client.tracking.create_run("0")
        measured = [Metric(key=f"metric {i}", value=i / 7, timestamp=number, step=i) for i in range(values)]
        client.tracking.log_batch(run_id, metrics=measured, params={f"param {i}": str(i) for i in range(values)})


@pytest.mark.parametrize(
    "parts", [[], [()], [(1,)], [(1, 2), (3,)], [(), (1,), (), (2, 3), ()], [("]",), ('"],[',)], [([],), ([1], [])]]
)
def test_parts_are_encoded_as_one(parts: list[tuple[object, ...]]) -> None:
    whole = tuple(item for part in parts for item in part)
    assert answer_struct({"found": pack(parts)}) == answer_struct({"found": whole})


def test_a_page_of_many_runs_is_the_same_over_http_and_in_this_process(local: Client, remote: Client) -> None:
    assert remote.tracking.search_runs(["0"]) == local.tracking.search_runs(["0"]) == RunPage()
    add_runs(local, MANY, values=2)
    page = local.tracking.search_runs(["0"], max_results=MANY)
    assert {len(run.data.metrics) for run in page.runs} == {2}
    assert len(page.runs) == MANY
    assert remote.tracking.search_runs(["0"], max_results=MANY) == page


def test_a_long_history_is_the_same_over_http_and_in_this_process(local: Client, remote: Client) -> None:
    count = 20_001
    run_id = local.tracking.create_run("0")
    for start in range(0, count, 1000):
        steps = range(start, min(start + 1000, count))
        local.tracking.log_batch(run_id, metrics=[Metric(key="loss", value=s / 3, timestamp=s, step=s) for s in steps])
    found = remote.tracking.metric_history(run_id, "loss")
    assert found == local.tracking.metric_history(run_id, "loss")
    assert [point.step for point in found] == list(range(count))


def test_a_page_of_many_runs_takes_little_more_memory_than_its_json(context: Context, local: Client) -> None:
    add_runs(local, MANY, values=40)
    request = SearchRuns(experiment_ids=("0",), max_results=MANY)

    def peak(ctx: Context) -> tuple[int, int]:
        """Bytes of the answer, and how many were in use at once."""
        tracemalloc.start()
        try:
            size = len(answer_struct(perform(BY_NAME[SEARCH_RUNS.name], ctx, request)))
            return size, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(context)  # what is kept from the first time on
    size, in_structs = peak(context)
    same, in_parts = peak(replace(context, answers_in_json=True))
    assert same == size
    assert in_parts < 0.75 * in_structs
