import asyncio
from typing import Any

import pytest

from lockgate.config import Settings
from lockgate.server.app import make_app
from lockgate.server.context import Context

# Every object of it is looked at for nulls, and then it is refused for what it lacks.
BODY = b'{"metrics": null, "unknown": [' + b",".join([b'{"a":1}'] * 250_000) + b"]}"
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/api/2.0/mlflow/runs/log-parameter",
    "query_string": b"",
    "headers": [(b"host", b"127.0.0.1")],
    "client": ("127.0.0.1", 1),
}


async def answer_to(app: Any, body: bytes) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(SCOPE, receive, send)
    return sent[0]["status"], sent[1]["body"]


def test_others_are_served_while_a_large_body_is_decoded(context: Context) -> None:
    app = make_app(context, settings=Settings())
    turns = 0

    async def ask() -> tuple[int, bytes]:
        nonlocal turns
        asked = asyncio.ensure_future(answer_to(app, BODY))
        while not asked.done():
            turns += 1  # of the event loop, which others would have been served in
            await asyncio.sleep(0)
        return asked.result()

    status, answer = asyncio.run(ask())
    app.close()
    assert status == 400
    assert b"Missing value" in answer
    assert turns > 20  # where it is decoded on the event loop there is one


@pytest.mark.parametrize(
    "begin", [b'{"runId":"1","unknown":[', b'{"run_id":"1","key":[', b'{"run_id":NaN,"value":[', b"["]
)
@pytest.mark.parametrize("value", [b"{}", b"[]", b"1", b'""', b'{"a":1}', b"null"])
def test_body_of_very_many_values_is_refused_before_it_is_decoded(context: Context, begin: bytes, value: bytes) -> None:
    app = make_app(context, settings=Settings())
    status, answer = asyncio.run(answer_to(app, begin + b",".join([value] * 600_000)))  # and without its end
    app.close()
    assert status == 413
    assert b"commas and opening brackets" in answer
