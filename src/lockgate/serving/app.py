"""The replica's HTTP face, on granian's RSGI: finds the protocol by the path, makes a response of every outcome."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lockgate import __version__
from lockgate.clock import Clock
from lockgate.data.predictions import append_feedback
from lockgate.errors import InvalidInput, LockgateError, NotFound
from lockgate.serving.batch import Batcher
from lockgate.serving.body import is_sure_to_fit, read_body
from lockgate.serving.feedback import decode_feedback
from lockgate.serving.fleet import Fleet
from lockgate.serving.metrics import CONTENT_TYPE, Facts, exposition
from lockgate.serving.protocols import invocations, oip
from lockgate.serving.router import Router
from lockgate.serving.version import ServedVersion

_log = logging.getLogger("lockgate.serving")
_JSON = "application/json"
_OTHER = "other"
_MODELS = "/v2/models/"
_PATHS = "/v2, /v2/health/live, /v2/health/ready, /v2/models/MODEL[/infer], /invocations, /ping, /feedback, /metrics"


class App:
    """Called by granian once a request; everything runs on one loop."""

    def __init__(self, fleet: Fleet, batcher: Batcher, *, folder: Path, max_body_bytes: int, clock: Clock) -> None:
        self._fleet = fleet
        self._batcher = batcher
        self._folder = folder
        self._max_body_bytes = max_body_bytes
        self._clock = clock
        self.facts = Facts()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:  # granian's objects, which have no stubs
        facts = self.facts
        facts.in_flight += 1
        served: ServedVersion | None = None
        try:
            path = scope.path
            if scope.method == "POST":
                # Refuse what leads nowhere before its body is read.
                version = self._fleet.router.infer_paths.get(path, _OTHER)
                if version is _OTHER:
                    _require_post(path, self._fleet.router)
                # One coroutine for the common request: each further one is resumed with it, twice a request.
                if is_sure_to_fit(scope, self._max_body_bytes):
                    body = await protocol()
                else:
                    body = await read_body(scope, protocol, self._max_body_bytes)
                started = time.perf_counter()
                if version is _OTHER:
                    self._respond(protocol, 200, {}, self._feedback(body))
                    return
                # Drawn after the body came, so that a slow upload does not hold on to a version that left meanwhile.
                router = self._fleet.router
                served = router.draw() if version is None else router.get(version)
                if path == "/invocations":
                    content_type = scope.headers.get("content-type") or _JSON
                    job = invocations.parse(served, body, content_type, is_routed=True)
                else:
                    job = oip.parse(served, body, is_routed=version is None)
                await self._batcher.submit(job, protocol, started)
            else:
                status, headers, page = self._get(scope.method, path)
                self._respond(protocol, status, headers, page)
        except LockgateError as error:
            if served is not None:
                (served.routed if version is None else served.named).refused += 1
            self._refuse(protocol, error, served)
        except RuntimeError as error:
            _log.info("a client went away: %s", error)
        finally:
            facts.in_flight -= 1

    def _feedback(self, body: bytes) -> bytes:
        labels = decode_feedback(body, self._clock.now_ms())
        append_feedback(self._folder / "feedback", labels)
        self.facts.feedback += len(labels)
        return msgspec.json.encode({"accepted": len(labels)})

    def _get(self, method: str, path: str) -> tuple[int, Mapping[str, str], bytes]:
        router = self._fleet.router
        if path == "/metrics":
            totals = list(self._fleet.totals.values())
            return 200, {"content-type": CONTENT_TYPE}, exposition(router, totals, self.facts, self._batcher.log_errors)
        if path == "/v2/health/live":
            return 200, {}, msgspec.json.encode({"live": True})
        if path in ("/v2/health/ready", "/ping", "/health"):
            is_ready = router.traffic is not None
            return (200 if is_ready else 503), {}, msgspec.json.encode({"ready": is_ready})
        if path == "/v2":
            return 200, {}, msgspec.json.encode({"name": "lockgate", "version": __version__, "extensions": []})
        if path in ("/invocations", "/feedback") or path.endswith("/infer"):
            raise InvalidInput(f"{path} takes POST, not {method}.")
        return self._model(path, router)

    def _model(self, path: str, router: Router) -> tuple[int, Mapping[str, str], bytes]:
        """/v2/models/M, /v2/models/M/ready, and both with /versions/V before the end."""
        if not path.startswith(_MODELS) or path == _MODELS:
            raise NotFound(f"there is nothing at {path}.", hint=f"there are {_PATHS}")
        model, rest = router.split(path.removeprefix(_MODELS))
        served = router.draw()
        if rest[:1] == ["versions"] and len(rest) >= 2:
            served, rest = router.get(rest[1]), rest[2:]
        if rest == ["ready"]:
            return 200, {}, msgspec.json.encode({"name": model, "ready": True})
        if rest:
            raise NotFound(f"there is nothing at {path}.", hint=f"there are {_PATHS}")
        return 200, {}, msgspec.json.encode(oip.metadata(served, [version.header for version in router.versions]))

    def _refuse(self, protocol: Any, error: LockgateError, served: ServedVersion | None) -> None:
        """`served` is the version that does not take the request; None where none was asked."""
        status = type(error).http_status
        if served is None:
            self.facts.refused[status] = self.facts.refused.get(status, 0) + 1
        # `error` is the Open Inference Protocol's key, `error_code` and `message` are MLflow's.
        content = {"error": error.message, "error_code": type(error).code, "message": error.message, "hint": error.hint}
        headers = {"connection": "close"} if status == 413 else {}
        if served is not None:
            headers["lockgate-model-version"] = served.header
        self._respond(protocol, status, headers, msgspec.json.encode(content))

    @staticmethod
    def _respond(protocol: Any, status: int, headers: Any, body: bytes) -> None:  # headers: a mapping, or nothing
        fields = {"content-type": _JSON, **dict(headers)}
        protocol.response_bytes(status, list(fields.items()), body)


def _require_post(path: str, router: Router) -> None:
    """Raise what is wrong with POSTing to a path that is no inference path, unless it is /feedback."""
    if path == "/feedback":
        return
    if path == "/invocations":
        router.draw()  # says why nothing is served
    if path.startswith(_MODELS) and path.endswith("/infer"):
        _, rest = router.split(path.removeprefix(_MODELS))
        if len(rest) == 3 and rest[0] == "versions":
            router.get(rest[1])
    raise NotFound(f"there is nothing to POST to at {path}.", hint=f"there are {_PATHS}")
