"""The HTTP transport: one kept-alive connection a thread, the standard library's client, no dependency.

A read is repeated once when a kept-alive connection turns out to be dead; a write is not, because it may have been
done: whoever repeats it knows whether that is harmless.
"""

import http.client
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from lockgate.errors import InvalidInput, LockgateError, Unavailable, from_code
from lockgate.wire.mlflow.artifacts import PROXY_PATH
from lockgate.wire.operation import Operation, Req, Res

_TIMEOUT_S = 60.0
_PIECE = 1 << 20

_encoder = msgspec.json.Encoder()


class HttpTransport:
    """`lockgate.client.transport.Transport` to the server at `uri`."""

    def __init__(self, uri: str, *, user: str) -> None:
        try:
            parts = urlsplit(uri if "//" in uri else f"http://{uri}")
            self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port
        except ValueError as error:
            raise InvalidInput(f"{uri!r} is not the address of a server: {error}.") from error
        if self._scheme not in ("http", "https") or not self._host:
            raise InvalidInput(f"{uri!r} is not the address of a server; write http://HOST:PORT.")
        self.uri = uri
        self._prefix = parts.path.rstrip("/")
        self._headers = {"X-Lockgate-User": quote(user), "Accept": "application/json"}
        self._local = threading.local()
        self._open: set[http.client.HTTPConnection] = set()

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        path, body = _encode(operation, request)
        headers = {**self._headers, "Content-Type": "application/json"} if body is not None else self._headers
        with self._request(operation.method, path, body=body, headers=headers) as answer:
            data = answer.read()
        try:
            return msgspec.json.decode(data, type=operation.response, strict=False)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self.uri} answered {path} with something unexpected: {error}.") from error

    def put_file(self, path: str, local: Path) -> None:
        headers = {
            **self._headers,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(local.stat().st_size),
        }
        with (
            local.open("rb") as file,
            self._request("PUT", f"{PROXY_PATH}/{quote(path)}", body=file, headers=headers) as answer,
        ):
            answer.read()

    def get_file(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.parent / f".{target.name}.{secrets.token_hex(4)}"
        try:
            with (
                self._request("GET", f"{PROXY_PATH}/{quote(path)}", headers=self._headers) as answer,
                partial.open("xb") as file,
            ):
                while piece := answer.read(_PIECE):
                    file.write(piece)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    @contextmanager
    def _request(
        self, method: str, path: str, *, headers: dict[str, str], body: bytes | BinaryIO | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer with status 200. Raises the error that the server names, or Unavailable."""
        connection = self._connection()
        try:
            try:
                answer = self._send(connection, method, path, body, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
                if method != "GET":
                    raise
                answer = self._send(connection, method, path, body, headers)
            if answer.status != 200:
                raise self._error(answer.status, answer.read(), path)
            yield answer
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unavailable(
                f"the server at {self.uri} cannot be reached: {error or type(error).__name__}.",
                hint="is it running? start it with: lockgate server",
            ) from error
        except BaseException:
            connection.close()  # half an answer may be left in it
            raise

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | BinaryIO | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        connection.request(method, self._prefix + path, body=body, headers=headers)
        return connection.getresponse()

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if found is None:
            kind = http.client.HTTPSConnection if self._scheme == "https" else http.client.HTTPConnection
            found = kind(self._host, self._port, timeout=_TIMEOUT_S)
            self._local.connection = found
            self._open.add(found)
        return found

    def _error(self, status: int, body: bytes, path: str) -> LockgateError:
        try:
            found = msgspec.json.decode(body)
            return from_code(str(found["error_code"]), str(found["message"]), hint=found.get("hint"))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return Unavailable(f"{self.uri} answered {path} with status {status}; is it a Lockgate server?")


def _encode(operation: Operation[Req, Res], request: Req) -> tuple[str, bytes | None]:
    """The path with its parameters and query, and the JSON body of anything but a GET."""
    path = operation.path
    for name in operation.path_fields:
        path = path.replace(f"{{{name}}}", quote(str(getattr(request, name)), safe=""))
    if operation.method != "GET":
        return path, _encoder.encode(request)
    values = {k: v for k, v in msgspec.to_builtins(request).items() if k not in operation.path_fields}
    query = urlencode({k: str(v).lower() if isinstance(v, bool) else v for k, v in values.items()}, doseq=True)
    return (f"{path}?{query}" if query else path), None
