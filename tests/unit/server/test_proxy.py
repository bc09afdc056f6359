import http.client
from pathlib import Path

import msgspec
import pytest

from lockgate.entities import Release
from lockgate.metadata.releases import create_release

ROOT = "/api/2.0/mlflow-artifacts/artifacts"


def test_file_is_stored_whole_and_served_as_a_download(asked) -> None:
    data = bytes(range(256)) * 10_000
    assert asked.ask("PUT", f"{ROOT}/0/run/a%20b.bin", data)[0] == 200
    status, found, headers = asked.ask("GET", f"{ROOT}/0/run/a%20b.bin")
    assert (status, found) == (200, data)
    assert headers["content-disposition"] == "attachment"
    assert headers["x-content-type-options"] == "nosniff"
    assert asked.ask("GET", f"{ROOT}?path=0/run")[1] == {
        "files": [{"path": "a b.bin", "is_dir": False, "file_size": 2_560_000}]
    }
    assert asked.ask("GET", f"{ROOT}?path=0")[1] == {"files": [{"path": "run", "is_dir": True}]}
    assert asked.ask("GET", f"{ROOT}?path=nothing")[1] == {"files": []}


def test_empty_file_is_a_file(asked) -> None:
    assert asked.ask("PUT", f"{ROOT}/0/empty", b"")[0] == 200
    assert asked.ask("GET", f"{ROOT}/0/empty")[:2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "../lockgate.db",
        "%2e%2e/lockgate.db",
        "0/..%2f..%2f..%2flockgate.db",
        "%2fetc/passwd",
        "/etc/passwd",
        "0/%5c..%5clockgate.db",
        "..%5clockgate.db",
        "0/a%00b",
        "0//a",
        "C:/windows",
        "0/./a",
    ],
)
def test_path_never_leaves_its_folder(asked, path: str) -> None:
    for method in ("GET", "PUT"):
        status, answer, _ = asked.ask(method, f"{ROOT}/{path}", b"x" if method == "PUT" else None)
        assert status in (400, 404), answer
        assert answer["error_code"] in ("INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND")
    assert b"SQLite" in (asked.context.artifacts.root.parent / "lockgate.db").read_bytes()[:16]


def test_doubly_encoded_path_is_a_plain_name(asked) -> None:
    assert asked.ask("PUT", f"{ROOT}/0/%252e%252e%252fx", b"x")[0] == 200
    assert [entry.name for entry in (asked.context.artifacts.root / "0").iterdir()] == ["%2e%2e%2fx"]


def test_symbolic_link_does_not_lead_out(asked, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (asked.context.artifacts.root / "0").mkdir(parents=True)
    (asked.context.artifacts.root / "0" / "link").symlink_to(tmp_path)
    assert asked.ask("GET", f"{ROOT}/0/link/secret")[0] == 400
    assert asked.ask("PUT", f"{ROOT}/0/link/new", b"x")[0] == 400
    assert not (tmp_path / "new").exists()


def test_folder_and_file_do_not_replace_each_other(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/a/b", b"x")
    assert asked.ask("PUT", f"{ROOT}/0/a", b"x")[0] == 400
    assert asked.ask("PUT", f"{ROOT}/0/a/b/c", b"x")[0] == 400
    assert asked.ask("GET", f"{ROOT}/0/a")[0] == 404
    assert asked.ask("GET", f"{ROOT}/0/a/b")[1] == b"x"


def test_upload_that_breaks_off_leaves_nothing(asked) -> None:
    asked.ask("PUT", f"{ROOT}/0/f", b"before")
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=20)
    connection.putrequest("PUT", f"{ROOT}/0/f")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(b"x" * 500_000)
    connection.close()
    assert asked.ask("GET", f"{ROOT}/0/f")[1] == b"before"
    for _ in range(200):
        if [entry.name for entry in (asked.context.artifacts.root / "0").iterdir()] == ["f"]:
            break
        asked.ask("GET", "/health")
    assert [entry.name for entry in (asked.context.artifacts.root / "0").iterdir()] == ["f"]


def test_released_content_is_served_and_never_written(asked, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "code" / "a.py").write_text("pass")
    content = asked.context.store.put_tree(folder)
    path = f"content/{content.digest}"
    assert asked.ask("GET", f"{ROOT}/{path}/MLmodel")[0] == 404  # nobody released it yet
    release = Release(model="m", version=0, content=content, run_id="", created_at=1, created_by="a", flavor="x")
    with asked.context.write() as tx:
        create_release(tx, release, source=f"mlflow-artifacts:/{path}")
    assert asked.ask("GET", f"{ROOT}/{path}/MLmodel")[1] == b"flavors: {}"
    assert asked.ask("GET", f"{ROOT}?path={path}")[1]["files"] == [
        {"path": "MLmodel", "is_dir": False, "file_size": 11},
        {"path": "code", "is_dir": True},
    ]
    assert asked.ask("GET", f"{ROOT}?path={path}/code")[1]["files"][0]["path"] == "a.py"
    assert asked.ask("GET", f"{ROOT}/{path}/nothing")[0] == 404
    assert asked.ask("GET", f"{ROOT}/content/xyz/MLmodel")[0] == 400
    status, answer, _ = asked.ask("PUT", f"{ROOT}/{path}/MLmodel", b"x")
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
    assert msgspec.structs.asdict(content)["kind"] == "tree"


def test_damaged_content_is_an_error_and_not_an_answer(asked, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    content = asked.context.store.put_tree(tmp_path / "model")
    release = Release(model="m", version=0, content=content, run_id="", created_at=1, created_by="a", flavor="x")
    with asked.context.write() as tx:
        create_release(tx, release, source="s")
    for blob in (asked.context.artifacts.root.parent / "store").rglob("*"):
        if blob.is_file() and blob.read_bytes() == b"flavors: {}":
            blob.chmod(0o644)
            blob.write_text("flavors: []")
    status, answer, _ = asked.ask("GET", f"{ROOT}/content/{content.digest}/MLmodel")
    assert (status, answer["error_code"]) == (500, "DATA_LOSS")
