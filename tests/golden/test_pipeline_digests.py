"""Identities that may never change by accident: they name what users have stored and committed."""

from pathlib import Path

from lockgate.entities import Content
from lockgate.hashing import digest_canonical
from lockgate.pipelines.record import Inputs
from lockgate.store.store import Store
from lockgate.store.tree import TreeEntry, encode_tree, tree_digest

EMPTY_FILE = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
ENTRIES = (
    TreeEntry(path="a.txt", digest=EMPTY_FILE, size_bytes=0),
    TreeEntry(path="bin/run", digest=EMPTY_FILE, size_bytes=0, executable=True),
)


def test_a_file_is_named_by_the_plain_blake3_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    assert Store(tmp_path / "store").put(tmp_path / "x") == Content(kind="file", digest=EMPTY_FILE, size_bytes=0)
    assert (tmp_path / "store" / "files" / EMPTY_FILE[:2] / EMPTY_FILE[2:]).is_file()


def test_a_tree_has_its_digest_and_its_manifest() -> None:
    assert tree_digest(()) == "7928dc7ea0f095fb05b26dacb6bc0aad35197aaec209951bbab19da508889e09"
    assert tree_digest(ENTRIES) == "7ac7557847be4530574b74ca47f3ee9d4809a70bd9ad03aee3195b832b20d813"
    assert encode_tree(ENTRIES) == (
        b'[\n{"path":"a.txt","digest":"%(d)s","size_bytes":0},\n'
        b'{"path":"bin/run","digest":"%(d)s","size_bytes":0,"executable":true}\n]\n'
    ) % {b"d": EMPTY_FILE.encode()}


def test_a_stage_has_its_cache_key() -> None:
    inputs = Inputs(
        commands=("python train.py",),
        wdir=".",
        deps={"in.csv": Content(kind="file", digest=EMPTY_FILE, size_bytes=0)},
        params={"lr": 0.1, "layers": [1, 2]},
        env={"A": "1"},
        outs=("model",),
    )
    assert inputs.key == "674f9df11c5427ee48c89b7c8711f2cd1e8b3ccd4edb6ff6f739f675872b0e53"


def test_kinds_never_collide() -> None:
    assert digest_canonical("tree", []) != digest_canonical("stage", [])
