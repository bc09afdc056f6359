"""The HTTP transport: one kept-alive connection a thread, the standard library's client, no dependency.

A read is repeated once when a kept-alive connection turns out to be dead, and so is an upload, which puts the same file
into the same place. Any other write is not, because it may have been done: whoever repeats it knows whether that is
harmless.
"""

import functools
import http.client
import os
import select
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http import HTTPStatus
from io import BufferedReader, FileIO
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from lockgate.client.download import download
from lockgate.client.transport import Transport
from lockgate.client.trust import OWN_CERTIFICATES
from lockgate.config import masked
from lockgate.errors import (
    Conflict,
    InvalidInput,
    LockgateError,
    PayloadTooLarge,
    PermissionDenied,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    from_code,
)
from lockgate.hashing import digest_stream
from lockgate.store.atomic import replacing
from lockgate.wire.mlflow.artifacts import DIGEST_HEADER, PROXY_PATH
from lockgate.wire.operation import Operation, Req, Res

_TIMEOUT_S = 60.0
_PIECE = 1 << 20

_encoder = msgspec.json.Encoder()


class HttpTransport(Transport):
    """To the server at `uri`.

    Without a `token` or `password` the `user` counts only where nobody has to log in. A `token` that is a function is
    asked again when the server refuses it: files that hold one are replaced. `kind` is whose server it is expected to
    be, in messages: Lockgate or MLflow. `tls` says whose certificates are good; without it those the system trusts.
    """

    def __init__(
        self,
        uri: str,
        *,
        user: str,
        token: str | Callable[[], str] = "",
        password: str = "",
        kind: str = "Lockgate",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        try:
            parts = urlsplit(uri if "//" in uri else f"http://{uri}")
            self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port
            self._host.encode("idna")  # as the look-up does, which would fail in every request
        except ValueError as error:
            raise InvalidInput(f"{masked(uri)!r} is not the address of a server; write http://HOST:PORT.") from error
        if self._scheme not in ("http", "https") or not self._host:
            raise InvalidInput(f"{masked(uri)!r} is not the address of a server; write http://HOST:PORT.")
        self.uri = masked(uri)
        self._kind = kind
        self._prefix = parts.path.rstrip("/")
        self._tls = tls
        self._headers = {"X-Lockgate-User": quote(user), "Accept": "application/json"}
        self._token: Callable[[], str] = token if callable(token) else functools.partial(str, token)
        if found := self._token():
            self._headers["Authorization"] = f"Bearer {found}"
        elif password:
            self._headers["Authorization"] = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
        self._connections: dict[threading.Thread, http.client.HTTPConnection] = {}
        self._has_ended = False

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        path, body = _encode(operation, request)
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._request(operation.method, path, body=body, headers=headers) as answer:
            data = answer.read()
        try:
            return msgspec.json.decode(data, type=operation.response, strict=False)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self.uri} answered {path} with something unexpected: {error}.") from error

    def put_file(self, path: str, local: Path) -> None:
        with _Beginning(local) as file:
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(file.size_bytes),
                DIGEST_HEADER: digest_stream(file),
            }
            with self._request("PUT", f"{PROXY_PATH}/{quote(path)}", body=file, headers=headers) as answer:
                answer.read()

    def get_file(self, path: str, target: Path) -> None:
        def ask(headers: dict[str, str]) -> AbstractContextManager[http.client.HTTPResponse]:
            return self._request("GET", f"{PROXY_PATH}/{quote(path)}", headers=headers)

        with replacing(target) as partial:
            download(ask, partial)

    def end(self) -> None:
        self._has_ended = True
        for connection in self._connections.copy().values():
            if (sock := connection.sock) is not None:
                with suppress(OSError):  # nobody waits for what is closed
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS: without a farewell, which is another thread's

    def close(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()

    @contextmanager
    def _request(
        self, method: str, path: str, *, headers: dict[str, str], body: bytes | BufferedReader | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer with status 200, or 206 to a range. Raises the error that the server names, or Unavailable."""
        connection, login = self._connection(), self._headers.get("Authorization")
        try:
            try:
                answer = self._send(connection, method, path, body, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
                if method not in ("GET", "PUT"):
                    raise
                answer = self._send(connection, method, path, body, headers)
            if answer.status == HTTPStatus.UNAUTHORIZED and self._has_other_login(login):
                connection.close()
                answer = self._send(connection, method, path, body, headers)
            if answer.status not in (200, 206):
                raise self._error(answer, path)
            yield answer
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise Unavailable(
                f"the server at {self.uri} is not trusted: {error.verify_message}.",
                hint=f"{OWN_CERTIFICATES} names the file with the certificate of who signed the server's",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unavailable(
                f"the server at {self.uri} cannot be reached: {error or type(error).__name__}.",
                hint=f"is it running? start it with: {self._kind.lower()} server",
            ) from error
        except BaseException:
            connection.close()  # half an answer may be left in it
            raise

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | BufferedReader | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        if self._has_ended:
            raise Unavailable(f"nothing is asked of {self.uri} any more.")
        if isinstance(body, BufferedReader):
            body.seek(0)
        try:
            connection.request(method, self._prefix + path, body=body, headers={**self._headers, **headers})
        except (BrokenPipeError, ConnectionResetError):
            if body is None:
                raise
            # A server that refuses an upload answers before all of it is sent: its reason beats a broken pipe.
        return connection.getresponse()

    def _has_other_login(self, refused: str | None) -> bool:
        """Whether there is another one than was refused, now that the token is read again."""
        with suppress(LockgateError):  # a file that is being replaced may be away for a moment
            if token := self._token():
                self._headers["Authorization"] = f"Bearer {token}"
        return self._headers.get("Authorization") != refused

    def _connection(self) -> http.client.HTTPConnection:
        thread = threading.current_thread()
        found = self._connections.get(thread)
        if found is None:
            for other, unused in self._connections.copy().items():
                if not other.is_alive():
                    unused.close()
                    self._connections.pop(other, None)  # another new thread may be at it
            found = self._connections[thread] = self._new_connection()
        elif found.sock is not None and _is_readable(found.sock):
            found.close()  # nothing was asked, so this is the server's end of it: most close what is idle for seconds
        return found

    def _new_connection(self) -> http.client.HTTPConnection:
        host, port = self._host, self._port
        if self._scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, blocksize=_PIECE, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S, blocksize=_PIECE)  # of an upload

    def _error(self, answer: http.client.HTTPResponse, path: str) -> LockgateError:
        try:
            found = msgspec.json.decode(answer.read())
            code, message = str(found["error_code"]), str(found["message"])
            error = from_code(code, message, hint=found.get("hint"))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # of a proxy, which would say it again
                return PayloadTooLarge(f"what stands before {self.uri} takes no request to {path} of this size.")
            return self._strange(answer, path)
        if code == "ENDPOINT_NOT_FOUND":
            return self._strange(answer, path)
        if type(error) is LockgateError and self._kind != "Lockgate":  # trouble of its own, and no bug of ours
            return Unavailable(f"{self.uri} answered {path} with {code}: {message}")
        wait_s = answer.getheader("Retry-After") or ""
        if isinstance(error, TooManyRequests) and wait_s.isdecimal():
            error.retry_after_s = float(wait_s)
        return error

    def _strange(self, answer: http.client.HTTPResponse, path: str) -> LockgateError:
        """Of something before the server, of another or of an older server: it does not know what is asked of it.

        A firewall or a login page may be gone the next time, so whoever can wait repeats it.
        """
        error = self._by_status(answer, path)
        error.retry_helps = True
        return error

    def _by_status(self, answer: http.client.HTTPResponse, path: str) -> LockgateError:
        said = f"{self.uri} answered {path} with status {answer.status}"
        login = "who may use it is said by a token, or a user and a password; are they given, and right?"
        if answer.status == HTTPStatus.UNAUTHORIZED:
            return Unauthenticated(f"{said}: it wants a login.", hint=login)
        if answer.status == HTTPStatus.FORBIDDEN:
            return PermissionDenied(f"{said}: this login may not.", hint=login)
        if place := answer.getheader("Location"):
            return InvalidInput(
                f"{said}, which leads to {place}.",
                hint="give the address that the server itself answers at; a login page means that a token is missing",
            )
        whose = f"is it a server of {self._kind}'s?"
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED) and self._kind == "Lockgate":
            return InvalidInput(
                f"{said}.", hint="is the address right that --uri or LOCKGATE_URI gives, and its server new enough?"
            )
        return Unavailable(f"{said}.", hint=whose)


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _encode(operation: Operation[Req, Res], request: Req) -> tuple[str, bytes | None]:
    """The path with its parameters and query, and the JSON body of anything but a GET."""
    path = operation.path
    for name in operation.path_fields:
        value = str(getattr(request, name))
        path = path.replace(f"{{{name}}}", quote(value, safe="")).replace(f"{{{name}:path}}", quote(value))
    if operation.method != "GET":
        return path, _encoder.encode(request)
    values = {k: v for k, v in msgspec.to_builtins(request).items() if k not in operation.path_fields}
    query = urlencode({k: str(v).lower() if isinstance(v, bool) else v for k, v in values.items()}, doseq=True)
    return (f"{path}?{query}" if query else path), None


class _Beginning(BufferedReader):
    """What a file held when it was opened: a log may grow meanwhile, and what follows a body is the next request."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path))
        self._path = path
        self.size_bytes = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self.size_bytes - self.tell(), 0)
        piece = super().read(left if size is None or size < 0 else min(size, left))
        if left and size and not piece:
            raise Conflict(f"{self._path} became shorter while it was sent.", hint="send it again")
        return piece
