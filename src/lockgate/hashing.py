"""Every content identity in one place.

A file's digest is the plain BLAKE3 of its bytes, so that `b3sum` can check it. Every other identity is BLAKE3 over a
canonical JSON text with a tag that names its kind (BLAKE3's derive-key mode), so that two kinds can never collide: a
directory tree, a stage's cache key, a gate's key and an environment with the same text have different digests.
"""

from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from blake3 import blake3

DIGEST_LENGTH = 64
_CHUNK = 1 << 20
# Threads only pay above this size; below it a pool costs more than the hash.
_MMAP_FROM = 1 << 22

_canonical = msgspec.json.Encoder(order="deterministic")


def digest_bytes(data: bytes | memoryview) -> str:
    """BLAKE3 of `data`, 64 hexadecimal digits."""
    return blake3(data).hexdigest()


def digest_stream(stream: BinaryIO) -> str:
    """BLAKE3 of what is left in `stream`, in bounded memory."""
    hasher = blake3()
    while chunk := stream.read(_CHUNK):
        hasher.update(chunk)
    return hasher.hexdigest()


def digest_file(path: Path) -> str:
    """BLAKE3 of a file's content. Large files are hashed by all cores through a memory map."""
    if path.stat().st_size < _MMAP_FROM:
        return digest_bytes(path.read_bytes())
    return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()


def digest_canonical(kind: str, value: Any) -> str:
    """The identity of a JSON-like value or msgspec struct of one `kind` (`tree`, `stage`, `gate`, `environment`)."""
    return blake3(_canonical.encode(value), derive_key_context=f"lockgate 2026 {kind} v1").hexdigest()


def look_id(model: str, environment: str, start_at: int, end_at: int) -> str:
    """What a monitor calls its look at an environment over [start_at, end_at)."""
    return digest_canonical("window", [model, environment, start_at, end_at])[:32]


def is_digest(text: str) -> bool:
    return len(text) == DIGEST_LENGTH and all(c in "0123456789abcdef" for c in text)
