import io
from pathlib import Path

import msgspec
import pytest

from lockgate.hashing import digest_bytes, digest_canonical, digest_file, digest_stream, is_digest, look_id

# BLAKE3's own test vectors for the empty input and for the bytes 0..250 repeated
EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
VECTOR_1024 = "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"


def vector(length: int) -> bytes:
    return bytes(i % 251 for i in range(length))


def test_digest_of_bytes_is_plain_blake3() -> None:
    assert digest_bytes(b"") == EMPTY
    assert digest_bytes(vector(1024)) == VECTOR_1024
    assert digest_bytes(memoryview(vector(1024))) == VECTOR_1024


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 22) - 1, 1 << 22, (1 << 22) + 1])
def test_bytes_stream_and_file_agree_at_every_size(tmp_path: Path, size: int) -> None:
    data = vector(size)
    path = tmp_path / "x"
    path.write_bytes(data)
    assert digest_file(path) == digest_stream(io.BytesIO(data)) == digest_bytes(data)


def test_stream_is_read_from_where_it_stands() -> None:
    stream = io.BytesIO(b"skip" + vector(1024))
    stream.seek(4)
    assert digest_stream(stream) == VECTOR_1024


def test_canonical_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_canonical("stage", {"a": 1, "b": [1, 2]}) == digest_canonical("stage", {"b": [1, 2], "a": 1})
    assert digest_canonical("stage", {"a": 1}) != digest_canonical("stage", {"a": 1.5})
    assert digest_canonical("stage", {"a": "1"}) != digest_canonical("stage", {"a": 1})


def test_kinds_never_collide() -> None:
    digests = {digest_canonical(kind, {}) for kind in ("tree", "stage", "gate", "environment")}
    assert len(digests) == 4
    assert digest_bytes(b"{}") not in digests


# Literal: with another id every window of every user would be looked at and recorded again.
def test_id_of_a_look_is_pinned() -> None:
    assert look_id("churn", "production", 1, 2) == "9fa4bc947f2417290b9fd6eacd64d6d3"


# Literal: a change of these loses every cache and every stored tree of every user.
def test_canonical_digests_are_pinned() -> None:
    class Point(msgspec.Struct, frozen=True):
        y: int
        x: str

    assert digest_canonical("tree", {"a": [1, None, "é", 0.5]}) == TREE
    assert digest_canonical("stage", Point(1, "p")) == STAGE


TREE = "b1cf4899c13659fac2d60ed6fe6bfc1e3734f7a8055ee95fd002ae32c54adc89"
STAGE = "bd3c9be1ecff554ec085e61ab2221768d9737d79da9de5f0a14f582a4e760b26"


@pytest.mark.parametrize(
    ("text", "expected"), [(EMPTY, True), (EMPTY[:-1], False), (EMPTY.upper(), False), ("", False)]
)
def test_is_digest(text: str, expected: bool) -> None:
    assert is_digest(text) is expected
