"""How a file that somebody logged is sent to a browser: under its own name, and never to be run as a page of ours."""

import mimetypes
import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

_BINARY = "application/octet-stream"
# What people read. MLflow's server sends it as plain text as well.
_TEXT_NAMES = frozenset({"MLmodel", "MLproject", "mlproject"})
_TEXT_SUFFIXES = frozenset(
    {".txt", ".log", ".err", ".cfg", ".conf", ".cnf", ".cf", ".ini", ".properties", ".prop", ".hocon", ".toml"}
    | {".yaml", ".yml", ".xml", ".json", ".js", ".mjs", ".py", ".py3", ".csv", ".tsv", ".md", ".rst", ".ipynb"}
)
_KNOWN = mimetypes.MimeTypes()  # not what this machine has been told of besides
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2


def content_type(path: str) -> str:
    """By its name alone."""
    name = PurePosixPath(path).name
    if name in _TEXT_NAMES or PurePosixPath(name).suffix.lower() in _TEXT_SUFFIXES:
        return "text/plain"
    kind, packed = _KNOWN.guess_type(name, strict=False)
    if kind is None or packed:
        return _BINARY
    return "text/plain" if "script" in kind else kind  # no page may load it as its own


def attachment(path: str) -> str:
    """As RFC 6266 has it: a name that is not ASCII in both forms, of which the second is the right one.

    >>> attachment("plots/a+b.png"), attachment("a b.txt")
    ('attachment; filename=a+b.png', 'attachment; filename="a b.txt"')
    >>> attachment("é.txt")
    "attachment; filename=e.txt; filename*=UTF-8''%C3%A9.txt"
    """
    name = PurePosixPath(path).name
    if name.isascii():
        return f"attachment; filename={_quoted(name)}"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[/\\]", "_", plain) or "download"  # some letters fall apart into these
    return f"attachment; filename={_quoted(plain)}; filename*=UTF-8''{quote(name, safe='')}"


def _quoted(name: str) -> str:
    return name if _TOKEN.fullmatch(name) else '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
