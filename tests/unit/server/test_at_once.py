"""Small measurements are answered by the event loop itself, and no differently from everything else."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import uvloop
from sqlalchemy import text

from lockgate.errors import InvalidInput, NotFound, PermissionDenied
from lockgate.metadata.audit import list_audit
from lockgate.metadata.database import Database
from lockgate.server.answer import Answer
from lockgate.server.app import Api, make_app
from lockgate.server.context import Context
from lockgate.server.login import FRESH_S
from lockgate.server.run import serve_in_thread

RUNS = "/api/2.0/mlflow/runs"
LOG_METRIC = f"{RUNS}/log-metric"
HOST = (b"host", b"127.0.0.1")
CLIENT = ("127.0.0.1", 1)
ROLES = (("carl", "contributor"), ("bo", "viewer"))


@pytest.fixture
def api(context: Context) -> Iterator[Api]:
    app = make_app(context)
    yield app
    app.close()


@pytest.fixture
def run_id(asked) -> str:
    return new_run(asked)


def new_run(asked) -> str:
    body = json.dumps({"experiment_id": "0", "start_time": 1}).encode()
    return asked.ask("POST", f"{RUNS}/create", body)[1]["run"]["info"]["run_id"]


def metric(run_id: str, step: int, **more: object) -> bytes:
    return json.dumps({"run_id": run_id, "key": "loss", "value": 0.5, "timestamp": 1, "step": step, **more}).encode()


def send(
    api: Api, body: bytes, *headers: tuple[bytes, bytes], path: str = LOG_METRIC
) -> Answer | asyncio.Future | None:
    """What the event loop has at once."""
    return api.beforehand[b"POST", path.encode()]([HOST, *headers], CLIENT)(body)


async def settle(api: Api, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    """Its answer, at once or later."""
    found = send(api, body, *headers)
    assert found is not None
    return await found if isinstance(found, asyncio.Future) else found


def in_a_loop(asking: Callable[[], object]) -> object:
    return uvloop.run(asking())  # type: ignore[arg-type]  # a coroutine function


def ask_on(connection: socket.socket, token: str, body: bytes) -> int:
    """The status of what is answered to one more metric."""
    head = f"POST {LOG_METRIC} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def steps_of(asked, run_id: str) -> list[int]:
    _, found, _ = asked.ask("GET", f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=loss")
    return sorted(int(point["step"]) for point in found.get("metrics", ()))


def test_metrics_are_answered_at_once_and_all_are_kept(api: Api, asked, run_id: str) -> None:
    async def main() -> int:
        at_once = 0
        for step in range(100):
            found = send(api, metric(run_id, step))
            at_once += isinstance(found, Answer)
            if isinstance(found, asyncio.Future):
                await found
        return at_once

    assert in_a_loop(main) > 0  # nearly all, where the machine is not busy with other things
    assert steps_of(asked, run_id) == list(range(100))


ON_POSTGRES = pytest.mark.parametrize("database_setting", ["postgres"], indirect=True)


def transactions_of(context: Context, run_id: str) -> int:
    statement = (
        "SELECT count(DISTINCT metrics.xmin::text) FROM metrics JOIN latest_metrics USING (series) WHERE run_id = :run"
    )
    with context.read() as connection:
        return connection.scalar(text(statement), {"run": run_id}) or 0


@ON_POSTGRES
def test_what_comes_together_is_committed_together(api: Api, context: Context, asked, run_id: str) -> None:
    async def main() -> int:
        for sent in range(0, 1000, 20):
            together = [send(api, metric(run_id, step)) for step in range(sent, sent + 20)]
            answers = [await found if isinstance(found, asyncio.Future) else found for found in together]
            assert [answer.status for answer in answers] == [200] * 20
            if transactions_of(context, run_id) < sent:  # not before a worker has opened the loop's connection
                break
        return sent + 20

    sent = asyncio.run(main())  # which never stands still for an answer
    assert steps_of(asked, run_id) == list(range(sent))
    assert transactions_of(context, run_id) < sent / 2


@ON_POSTGRES
def test_point_that_is_there_already_changes_nothing_for_those_it_comes_with(api: Api, asked, run_id: str) -> None:
    async def main() -> None:
        for step in range(3):
            await settle(api, metric(run_id, step))
        together = [send(api, metric(run_id, step)) for step in (3, 4, 1, 5, 1, 6)]
        for found in together:
            assert (await found if isinstance(found, asyncio.Future) else found).status == 200

    in_a_loop(main)
    assert steps_of(asked, run_id) == list(range(7))


@ON_POSTGRES
def test_nobody_waits_for_a_run_that_somebody_else_holds(api: Api, context: Context, asked, run_id: str) -> None:
    free = new_run(asked)

    async def main() -> None:
        for known in (run_id, free) * 3:
            await settle(api, metric(known, 0))
        with context.database.write(at=1, by="b") as tx:
            tx.connection.execute(text("SELECT * FROM runs WHERE run_id = :run FOR UPDATE"), {"run": run_id})
            held = send(api, metric(run_id, 1))
            assert isinstance(held, asyncio.Future)
            for step in range(1, 5):
                assert (await settle(api, metric(free, step))).status == 200
            assert not held.done()
        assert (await held).status == 200

    in_a_loop(main)
    assert steps_of(asked, run_id) == [0, 1]
    assert steps_of(asked, free) == list(range(5))


@ON_POSTGRES
@pytest.mark.parametrize("run_loop", [uvloop.run, asyncio.run])
def test_postgresql_that_closes_its_connections_is_no_clients_trouble(
    api: Api,
    context: Context,
    lose_connections: Callable[[Database], None],
    asked,
    run_id: str,
    run_loop: Callable[..., object],
) -> None:
    async def main() -> None:
        step = 0
        for pause_s in (0.0, 0.05) * 3:
            for _ in range(3):
                assert (await settle(api, metric(run_id, step))).status == 200
                step += 1
            lose_connections(context.database)
            await asyncio.sleep(pause_s)  # the loop notices it, or finds out when it asks
        assert step == 18

    run_loop(main())
    assert steps_of(asked, run_id) == list(range(18))


@ON_POSTGRES
def test_postgresql_is_not_asked_by_the_loop_for_what_may_take_long(api: Api, run_id: str) -> None:
    empty = json.dumps({"run_id": run_id}).encode()
    param = json.dumps({"run_id": run_id, "key": "a", "value": "b"}).encode()

    async def main() -> None:
        await settle(api, metric(run_id, 0))
        for path, body in ((f"{RUNS}/log-batch", empty), (f"{RUNS}/log-parameter", param)):
            for _ in range(3):
                found = send(api, body, path=path)
                assert isinstance(found, asyncio.Future)
                assert (await found).status == 200

    in_a_loop(main)


def test_a_login_is_asked_for_and_rights_count(team, context: Context) -> None:
    ada, bo = ((b"authorization", f"Bearer {team.add(name, role)}".encode()) for name, role in ROLES)
    body = b'{"experiment_id": "0"}'
    run_id = team.ask(ada[1].decode().split()[1], "POST", f"{RUNS}/create", body)[1]["run"]["info"]["run_id"]
    app = make_app(context)

    async def main() -> None:
        answers = []
        for step in range(50):
            answers.append(send(app, metric(run_id, step), ada))
            if isinstance(answers[-1], asyncio.Future):
                await answers[-1]
                await asyncio.sleep(0.01)
        assert any(isinstance(answer, Answer) for answer in answers)
        for stranger in (b"Bearer lg_nobody", b"Basic YTpi", b"Digest x"):
            assert send(app, metric(run_id, 50), (b"authorization", stranger)) is None  # it has to be found out
        assert send(app, metric(run_id, 50)) is None
        refused = await settle(app, metric(run_id, 50), bo)
        assert refused.status == PermissionDenied.http_status
        assert b"'bo' needs the role contributor" in refused.body

    in_a_loop(main)
    app.close()
    with context.read() as connection:
        outcomes = [line.outcome for line in list_audit(connection, by="bo", limit=9)]
    assert outcomes == ["PERMISSION_DENIED"]


def test_token_that_was_revoked_and_user_who_was_removed_log_nothing_after_a_second(team) -> None:
    tokens = [team.add(name, "contributor") for name in ("carl", "cleo")]
    run_id = team.ask(tokens[0], "POST", f"{RUNS}/create", b'{"experiment_id": "0"}')[1]["run"]["info"]["run_id"]
    with ExitStack() as kept:
        connections = [
            kept.enter_context(socket.create_connection(("127.0.0.1", team.asked.port), timeout=20)) for _ in tokens
        ]

        def answers_to(step: int) -> list[int]:
            """Each on a connection of its own, whose requests all have the same head."""
            return [
                ask_on(connection, token, metric(run_id, step))
                for connection, token in zip(connections, tokens, strict=True)
            ]

        assert [answers_to(step) for step in range(3)] == [[200, 200]] * 3
        team.client.access.remove_user("carl")
        team.client.access.revoke_token(team.client.access.list_tokens(user="cleo")[0].token_id)
        team.pass_time(FRESH_S)
        assert answers_to(9) == [401, 401]
        assert answers_to(9) == [401, 401]


def test_foreign_page_with_broken_credentials_is_refused_as_a_foreign_page(team) -> None:
    headers = {"Origin": "http://evil.example", "Authorization": "Basic !!!"}
    for more in ({}, {"Connection": "close"}):
        assert team.asked.ask("POST", LOG_METRIC, b"{}", headers | more)[0] == 403


def test_page_of_another_site_and_another_name_of_this_machine_are_refused(api: Api, run_id: str) -> None:
    async def main() -> None:
        for headers in (((b"origin", b"http://evil.example"),), ((b"host", b"evil.example"),)):
            found = api.beforehand[b"POST", LOG_METRIC.encode()]([*headers, HOST], CLIENT)(metric(run_id, 1))
            assert isinstance(found, Answer)
            assert found.status == 403

    in_a_loop(main)


def test_deleted_and_missing_runs_are_refused(api: Api, asked, run_id: str) -> None:
    async def main() -> None:
        for step in range(3):
            await settle(api, metric(run_id, step))
        asked.ask("POST", f"{RUNS}/delete", json.dumps({"run_id": run_id}).encode())
        for known, error in ((run_id, InvalidInput), ("f" * 32, NotFound)):
            assert (await settle(api, metric(known, 4))).status == error.http_status

    in_a_loop(main)


@pytest.mark.parametrize(
    "change",
    [
        b"{",
        b"[]",
        b"",
        b"{}",
        b'{"value": "x"}',
        b'{"key": "a\\u0000b"}',
        b'{"key": "a//b"}',
        b'{"timestamp": -1}',
        b'{"value": null}',
        b'{"step": 1e400}',
        b'{"run_id": "ffffffffffffffffffffffffffffffff"}',
        b'{"step": 9223372036854775808}',
        b'{"value": NaN}',
    ],
)
def test_answer_is_the_same_however_it_came_about(asked, run_id: str, change: bytes) -> None:
    valid = json.loads(metric(run_id, 1))
    body = json.dumps({**valid, **json.loads(change)}).encode() if len(change) > 2 else change
    for step in range(3):
        assert asked.ask("POST", LOG_METRIC, metric(run_id, step))[0] == 200
    answers = [asked.ask("POST", LOG_METRIC, body, headers) for headers in ({}, {"Connection": "close"})]
    (status, said, headers), (status_of_call, said_of_call, headers_of_call) = answers
    assert (status, said) == (status_of_call, said_of_call)
    for changing in ("date", "connection"):
        headers.pop(changing, None)
        headers_of_call.pop(changing, None)
    assert headers == headers_of_call
    counted = asked.ask("GET", "/metrics")[1].decode()
    assert f'operation="mlflow:POST:runs/log-metric",status="{status}"}} ' in counted


def test_each_answer_is_counted_once(asked, run_id: str) -> None:
    for step in range(50):
        asked.ask("POST", LOG_METRIC, metric(run_id, step))
    assert 'operation="mlflow:POST:runs/log-metric",status="200"} 50.0' in asked.ask("GET", "/metrics")[1].decode()


def test_clients_that_come_together_lose_nothing(context: Context, asked) -> None:
    app = make_app(context)
    runs = [new_run(asked) for _ in range(8)]
    refused: list[bytes] = []

    def log(port: int, run_id: str) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, connection.makefile("rb") as read:
            for step in range(100):
                body = metric(run_id, step)
                head = f"POST {LOG_METRIC} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)
                status = read.readline()
                if b" 200 " not in status:
                    refused.append(status)
                while read.readline() != b"\r\n":
                    pass
                read.read(2)

    with serve_in_thread(app) as server:
        threads = [threading.Thread(target=log, args=(server.port, run_id)) for run_id in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    app.close()
    assert refused == []
    assert [steps_of(asked, run_id) for run_id in runs] == [list(range(100))] * 8
