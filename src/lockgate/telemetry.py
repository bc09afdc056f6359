"""What the product says of itself: structured logs and crash reports. A process that has metrics serves them itself."""

import logging
import os
import sys
import tempfile
import traceback
from pathlib import Path

import msgspec

_encoder = msgspec.json.Encoder(enc_hook=repr)  # a log line must never fail for what somebody put into it


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `extra={"fields": {...}}` of a call is merged into it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encoder.encode(line).decode()


def configure_logging(format_: str = "text", *, level: int = logging.INFO) -> None:
    """Logs to standard error, for a long-running process: `text` for people, `json` for collectors."""
    handler = logging.StreamHandler(sys.stderr)
    if format_ == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("lockgate")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


def write_crash_report(error: BaseException) -> Path:
    """A bug's traceback in a file of its own, readable by this user alone."""
    fd, name = tempfile.mkstemp(prefix="lockgate-crash-", suffix=".txt")
    with os.fdopen(fd, "w") as file:
        file.write("".join(traceback.format_exception(error)))
    return Path(name)
