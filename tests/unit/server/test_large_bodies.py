import asyncio
from typing import Any

from lockgate.config import Settings
from lockgate.server.app import make_app
from lockgate.server.context import Context

# Every object of it is looked at for nulls, and then it is refused for what it lacks.
BODY = b'{"metrics": null, "unknown": [' + b",".join([b"{}"] * 2_000_000) + b"]}"
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/api/2.0/mlflow/runs/log-parameter",
    "query_string": b"",
    "headers": [(b"host", b"127.0.0.1")],
    "client": ("127.0.0.1", 1),
}


def test_others_are_served_while_a_large_body_is_decoded(context: Context) -> None:
    app = make_app(context, settings=Settings())
    sent: list[Any] = []
    turns = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        nonlocal turns
        asked = asyncio.ensure_future(app(SCOPE, receive, send))
        while not asked.done():
            turns += 1  # of the event loop, which others would have been served in
            await asyncio.sleep(0)

    asyncio.run(ask())
    app.close()
    assert sent[0]["status"] == 400
    assert b"Missing value" in sent[1]["body"]
    assert turns > 20  # where it is decoded on the event loop there is one
