"""Who gets in, over real HTTP; time moves only when a test moves it."""

import asyncio
import base64
import contextlib
import dataclasses
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from lockgate.client.http import HttpTransport
from lockgate.clock import FakeClock, SystemClock
from lockgate.entities import Grant
from lockgate.errors import InvalidInput, LockgateError, NotFound, TooManyRequests, Unauthenticated, Unavailable
from lockgate.metadata import users
from lockgate.metadata.database import Database
from lockgate.metadata.schema import HEAD, VERSION
from lockgate.server.app import make_app
from lockgate.server.files import open_file, store_file
from lockgate.server.login import FAILURES_PER_ADDRESS, FRESH_S, REMEMBERED_S, Login
from lockgate.server.origin import read_sender
from lockgate.server.passwords import Cost, hash_password
from lockgate.server.run import reserve_port, serve_in_thread
from lockgate.server.throttle import FAILURES_PER_USER

WHO = "/api/lockgate/1/access/who-am-i"
PASSWORD = "correct horse battery"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/releases/churn/1"),
        ("GET", "/no/such/path"),
        ("GET", "/api/3.0/mlflow/server-info"),
        ("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0"),
        ("POST", "/ajax-api/2.0/mlflow/runs/create"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/0/file"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/file"),
    ],
)
def test_everything_asks_for_a_login_once_there_is_a_user(team, method: str, path: str) -> None:
    status, answer, headers = team.asked.ask(method, path, b"{}")
    assert (status, answer["error_code"]) == (401, "UNAUTHENTICATED")
    assert headers["www-authenticate"] == 'Basic realm="lockgate", charset="UTF-8"'


def test_health_and_version_need_no_login(team) -> None:
    assert team.asked.ask("GET", WHO)[0] == 401
    assert team.asked.ask("GET", "/health")[:2] == (200, b"OK")
    assert team.asked.ask("GET", "/version")[0] == 200
    assert team.asked.ask("GET", "/health", headers={"Host": "lockgate.example"})[0] == 200


def test_a_server_without_users_asks_nobody_and_ignores_what_it_is_sent(asked) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic !"}):
        status, answer, _ = asked.ask("GET", WHO, headers={**headers, "X-Lockgate-User": "ann"})
        assert (status, answer) == (200, {"name": "ann"})


def test_the_name_is_the_tokens_whatever_the_client_says(team) -> None:
    token = team.add("bob", "viewer")
    status, answer = team.ask(token, "GET", WHO, headers={"X-Lockgate-User": "ada"})
    assert (status, answer["name"], answer["user"]["name"]) == (200, "bob", "bob")


def test_password_lets_in_and_a_wrong_one_and_an_unknown_user_look_the_same(team) -> None:
    team.add("jürgen", "viewer", password="schönes Paßwort")
    assert team.log_in("jürgen", "schönes Paßwort")[1]["name"] == "jürgen"
    wrong = team.log_in("jürgen", "schönes Passwort")
    unknown = team.log_in("nobody", "schönes Passwort")
    assert (wrong[0], unknown[0]) == (401, 401)
    assert wrong[1] == unknown[1]


def test_user_without_a_password_cannot_log_in_by_one(team) -> None:
    team.add("ci", "contributor")
    for password in ("", "x" * 20):
        assert team.log_in("ci", password)[0] == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic", "Basic !!!", "Basic \xe9", "Basic YWRh", "Digest x", "Bearer \xff", "Basic /w=="]
)
def test_malformed_credentials_are_no_login_and_no_bug(team, header: str) -> None:
    status, answer, _ = team.asked.ask("GET", WHO, headers={"Authorization": header})
    assert (status, answer["error_code"]) == (401, "UNAUTHENTICATED")


def test_token_ends_with_its_time(team) -> None:
    made = team.client.access.create_token("ada", expires_at=team.clock.now_ms() + 60_000)
    team.pass_time(FRESH_S)
    assert team.ask(made.text, "GET", WHO)[0] == 200
    team.pass_time(60)
    status, answer = team.ask(made.text, "GET", WHO)
    assert (status, answer["message"]) == (401, "this token has expired.")


def test_revoked_token_and_removed_user_are_out_within_a_second(team) -> None:
    first, second = team.add("bob", "viewer"), team.client.access.create_token("bob")
    team.pass_time(FRESH_S)
    team.client.access.revoke_token(second.token.token_id)
    team.pass_time(FRESH_S)
    assert team.ask(second.text, "GET", WHO)[0] == 401
    assert team.ask(first, "GET", WHO)[0] == 200
    team.client.access.remove_user("bob")
    team.pass_time(FRESH_S)
    assert team.ask(first, "GET", WHO)[0] == 401


def test_what_was_just_made_lets_in_at_once(team) -> None:
    made = team.client.access.create_token("ada")
    assert team.ask(made.text, "GET", WHO)[0] == 200
    team.client.access.add_user("bob", password=PASSWORD, role="viewer")
    assert team.log_in("bob", PASSWORD)[0] == 200


def test_token_with_the_id_of_one_and_the_secret_of_another_is_refused(team) -> None:
    bob, eve = team.add("bob", "admin"), team.add("eve", "viewer")
    forged = "_".join([*bob.split("_")[:2], eve.split("_")[2]])
    assert team.ask(forged, "GET", WHO)[0] == 401


def test_changed_password_counts_at_once_though_the_old_one_was_remembered(team) -> None:
    team.add("bob", "viewer", password=PASSWORD)
    assert team.log_in("bob", PASSWORD)[0] == 200
    team.client.access.set_password("bob", "another long password")
    team.pass_time(FRESH_S)
    assert team.log_in("bob", PASSWORD)[0] == 401
    assert team.log_in("bob", "another long password")[0] == 200


def test_guesses_at_a_password_are_slowed_down_by_user(team) -> None:
    team.add("bob", "viewer", password=PASSWORD)
    team.add("eve", "viewer", password=PASSWORD)
    assert team.log_in("eve", PASSWORD)[0] == 200
    for guess in range(FAILURES_PER_USER):
        assert team.log_in("bob", f"guess number {guess}")[0] == 401
    status, answer, headers = team.log_in("bob", PASSWORD)
    assert (status, answer["error_code"], headers["retry-after"]) == (429, "REQUEST_LIMIT_EXCEEDED", "6")
    assert team.log_in("eve", PASSWORD)[0] == 200
    team.pass_time(6)
    assert team.log_in("bob", PASSWORD)[0] == 200


def test_server_whose_database_was_migrated_asks_to_be_restarted(asked) -> None:
    created = asked.ask("POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}')[1]
    metric = {"run_id": created["run"]["info"]["run_id"], "key": "a", "value": 1, "timestamp": 1, "step": 1}
    logged = "POST", "/api/2.0/mlflow/runs/log-metric", json.dumps(metric).encode()
    assert asked.ask(*logged)[0] == 200
    with asked.context.database.write(at=1, by="migrate") as tx:
        tx.connection.execute(update(VERSION).values(version_num="9999"))
    try:
        asked.context.clock.sleep(FRESH_S)
        for request in (("GET", WHO), logged, ("GET", "/")):
            status, answer, _ = asked.ask(*request)
            assert (status, answer["message"]) == (503, "the database was migrated; restart this server.")
        assert [asked.ask("GET", path)[0] for path in ("/health", "/metrics")] == [200, 200]
    finally:
        with asked.context.database.write(at=1, by="migrate") as tx:
            tx.connection.execute(update(VERSION).values(version_num=HEAD))


def test_who_is_logged_in_stays_so_while_others_guess(team) -> None:
    token = team.add("bob", "viewer", password=PASSWORD)
    assert team.log_in("bob", PASSWORD)[0] == 200
    for guess in range(FAILURES_PER_USER):
        team.log_in("bob", f"guess number {guess}")
    assert team.log_in("bob", "one guess more than allowed")[0] == 429
    assert team.log_in("bob", PASSWORD)[0] == 200
    assert team.ask(token, "GET", WHO)[0] == 200
    for _ in range(2):
        team.pass_time(REMEMBERED_S - 60)
        for guess in range(FAILURES_PER_USER + 1):
            team.log_in("bob", f"guess number {guess}")
        assert team.log_in("bob", PASSWORD)[0] == 200
    team.pass_time(REMEMBERED_S)  # forgotten, and there are attempts again
    assert team.log_in("bob", PASSWORD)[0] == 200


def test_right_passwords_are_no_guesses_however_many_come_at_once(team) -> None:
    team.add("bob", "viewer", password=PASSWORD)
    with ThreadPoolExecutor(2 * FAILURES_PER_USER) as pool:
        answers = list(pool.map(lambda _: team.log_in("bob", PASSWORD)[0], range(2 * FAILURES_PER_USER)))
    assert answers == [200] * len(answers)


def test_login_that_nobody_could_look_at_is_no_guess(asked) -> None:
    stored = hash_password(PASSWORD, cost=Cost(n=16, r=1, p=1))
    with asked.context.write() as tx:
        users.add_user(tx, "bob", password=stored, granted=[Grant(pattern="*", role="admin")])
    login = Login(asked.context.database, FakeClock(), local_user="")
    sender = read_sender([(b"authorization", b"Basic " + base64.b64encode(f"bob:{PASSWORD}".encode()))], None)

    async def ask() -> str:
        login._waiting = 1000  # more than can wait
        for _ in range(2 * FAILURES_PER_USER):
            with pytest.raises(Unavailable):
                await login.caller(sender)
        login._waiting = 0
        return (await login.caller(sender)).name

    try:
        assert asyncio.run(ask()) == "bob"
    finally:
        login.close(limit_s=20)


def test_guesses_at_the_current_password_are_slowed_down(team) -> None:
    token = team.add("bob", "viewer", password=PASSWORD)

    def change(current: str) -> int:
        body = json.dumps({"user": "bob", "password": "another long password", "current": current}).encode()
        status: int = team.ask(token, "POST", "/api/lockgate/1/access/set-password", body)[0]
        return status

    assert [change(f"guess {n}") for n in range(FAILURES_PER_USER)] == [400] * FAILURES_PER_USER
    assert change(PASSWORD) == 429
    team.pass_time(6)
    assert change(PASSWORD) == 200


def test_guesses_at_tokens_are_slowed_down_by_address_and_good_tokens_are_not(team) -> None:
    token = team.add("bob", "viewer")
    statuses = [team.ask(f"lockgate_{n:012x}_{'0' * 64}", "GET", WHO)[0] for n in range(FAILURES_PER_ADDRESS + 2)]
    assert statuses == [401] * FAILURES_PER_ADDRESS + [429] * 2
    assert team.ask(token, "GET", WHO)[0] == 200


def test_token_that_was_just_made_lets_in_at_once_though_its_address_has_too_many_unknown_ones(team) -> None:
    for number in range(FAILURES_PER_ADDRESS + 2):
        status, _ = team.ask(f"lockgate_{number:012x}_{'0' * 64}", "GET", WHO)
    assert status == 429
    made = team.client.access.create_token("ada")
    assert team.ask(made.text, "GET", WHO)[0] == 200


class CountingReads:
    """A database that says how often it was read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.count = 0

    def read(self) -> Any:
        self.count += 1
        return self._database.read()


def test_flood_of_unknown_tokens_is_no_flood_of_reads(asked) -> None:
    with asked.context.write() as tx:
        users.add_user(tx, "bob", password="", granted=[Grant(pattern="*", role="admin")])
    database = CountingReads(asked.context.database)
    login = Login(database, SystemClock(), local_user="")
    sender = read_sender([(b"authorization", f"Bearer lockgate_{'0' * 12}_{'0' * 64}".encode())], None)

    async def refused(kind: type[LockgateError]) -> None:
        with pytest.raises(kind):
            await login.caller(sender)

    async def flood() -> int:
        for _ in range(FAILURES_PER_ADDRESS):
            await refused(Unauthenticated)
        before = database.count
        await asyncio.gather(*(refused(TooManyRequests) for _ in range(100)))
        return database.count - before

    try:
        assert asyncio.run(flood()) == 1
    finally:
        login.close(limit_s=20)


def test_program_with_an_old_secret_keeps_nobody_out_who_shares_its_address(team) -> None:
    team.add("bob", "viewer", password=PASSWORD)
    team.add("eve", "viewer", password=PASSWORD)
    for _ in range(FAILURES_PER_ADDRESS + 2):
        team.ask(f"lockgate_{'0' * 12}_{'0' * 64}", "GET", WHO)
    for _ in range(FAILURES_PER_USER):
        assert team.log_in("bob", "an old password")[0] == 401
    for _ in range(FAILURES_PER_ADDRESS):
        assert team.log_in("bob", "an old password")[0] == 429
    assert team.log_in("eve", PASSWORD)[0] == 200


def test_a_running_server_asks_for_a_login_a_second_after_the_first_user_and_never_stops(team) -> None:
    assert team.asked.ask("GET", WHO)[0] == 401
    team.client.access.remove_user("ada")
    team.pass_time(FRESH_S)
    assert team.client.access.list_users() == []
    assert team.asked.ask("GET", WHO)[0] == 401


def test_processes_of_the_same_user_are_trusted_by_a_key(team) -> None:
    app = make_app(team.asked.context, local_key="k" * 64)
    with serve_in_thread(app) as server:
        local = dataclasses.replace(team.asked, port=server.port, url=server.url)

        def who(key: str) -> tuple[int, dict[str, str]]:
            headers = {"Authorization": f"Bearer {key}", "X-Lockgate-User": "ann"}
            return local.ask("GET", WHO, headers=headers)[:2]

        assert who("k" * 64) == (200, {"name": "ann"})
        assert who("k" * 63)[0] == who("")[0] == 401
    app.close()
    # a server that was given no key has none
    assert team.asked.ask("GET", WHO, headers={"Authorization": "Bearer "})[0] == 401


def test_other_names_of_the_machine_are_served_after_a_login_and_foreign_pages_are_not(team) -> None:
    token = team.add("bob", "viewer")
    assert team.ask(token, "GET", WHO, headers={"Host": "lockgate.example"})[0] == 200
    status, answer = team.ask(token, "GET", WHO, headers={"Host": "lockgate.example", "Origin": "http://evil.example"})
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")


def test_upload_that_is_refused_is_refused_with_the_reason(team, tmp_path: Path) -> None:
    assert team.asked.ask("GET", WHO)[0] == 401
    (tmp_path / "large").write_bytes(b"x" * (64 << 20))
    transport = HttpTransport(team.asked.url, user="ann", token="lockgate_wrong")
    with pytest.raises(Unauthenticated, match="not known here"):
        transport.put_file("0/large", tmp_path / "large")
    transport.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/lockgate/1/access/add-user", b'{"user": "backdoor", "granted": []}'),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/file", b"x" * 10),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/file", b"x" * (3 << 20)),
    ],
    ids=["operation", "upload", "long upload"],
)
def test_who_is_removed_while_they_send_is_out(team, method: str, path: str, body: bytes) -> None:
    token = team.add("bob", "admin")
    connection = http.client.HTTPConnection("127.0.0.1", team.asked.port, timeout=20)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    with contextlib.closing(connection):
        connection.connect()
        connection.sock.sendall(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert b"100 Continue" in connection.sock.recv(1000)  # the head was let in
        connection.sock.sendall(body[:-5])
        team.client.access.remove_user("bob")
        team.pass_time(2 * FRESH_S)
        connection.sock.sendall(body[-5:])
        answer = http.client.HTTPResponse(connection.sock)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["error_code"]) == (401, "UNAUTHENTICATED")
    assert [user.name for user in team.client.access.list_users()] == ["ada"]
    with pytest.raises(NotFound):
        open_file(team.asked.context, "0/file")


@pytest.mark.filterwarnings("ignore")
def test_who_loses_the_right_to_a_file_does_not_get_the_rest_of_it(team, tmp_path: Path) -> None:
    token = team.add("bob", "viewer")
    (tmp_path / "large").write_bytes(bytes(48 << 20))
    store_file(team.asked.context, "0/large", tmp_path / "large")
    connection = http.client.HTTPConnection("127.0.0.1", team.asked.port, timeout=20)
    with contextlib.closing(connection):
        path = "/api/2.0/mlflow-artifacts/artifacts/0/large"
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert len(answer.read(1000)) == 1000
        team.client.access.revoke_role("bob")
        team.pass_time(2 * FRESH_S)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()


def test_address_that_others_could_reach_is_only_for_servers_with_a_login() -> None:
    with pytest.raises(InvalidInput, match=r"refusing to listen on 0\.0\.0\.0") as refused:
        serve_in_thread(lambda scope, receive, send: None, host="0.0.0.0")
    assert "lockgate users add NAME --role admin" in (refused.value.hint or "")
    reserve_port("0.0.0.0", 0, is_guarded=True).close()


class TestWithoutTheDatabase:
    @pytest.fixture
    def database_setting(self, own_postgres) -> str:
        return own_postgres.create_database()

    def test_metrics_are_shown_to_who_was_known_before(self, own_postgres, team) -> None:
        token = team.add("prometheus", "viewer")
        assert team.ask(token, "GET", WHO)[0] == 200
        own_postgres.stop()
        team.pass_time(FRESH_S)
        assert team.ask(token, "GET", WHO)[0] == 503
        assert team.ask(token, "GET", "/metrics")[0] == 200
        assert team.asked.ask("GET", "/metrics")[0] == 401
        assert team.ask("lg_unknown_" + token, "GET", "/metrics")[0] == 503
