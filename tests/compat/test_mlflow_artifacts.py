"""Files through the released mlflow client: to a folder and to S3, through the server and past it."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests

from lockgate.config import Settings
from lockgate.entities import Release

mlflow = pytest.importorskip("mlflow")
from mlflow.entities.multipart_upload import MultipartUploadPart  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own warnings are not ours to fix

PART = 5 << 20  # the smallest that S3 takes

SERVER = """
import sys, time
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.server.app import make_app
from lockgate.server.context import open_context
from lockgate.server.run import serve_in_thread
context = open_context(Path(sys.argv[1]), user="a", clock=SystemClock(), artifacts=sys.argv[2])
print(serve_in_thread(make_app(context)).url, flush=True)
time.sleep(600)
"""


@pytest.fixture(params=["folder", "s3"])
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings(artifacts=request.getfixturevalue("s3_url") if request.param == "s3" else "")


@pytest.fixture
def database_setting(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Files hardly depend on it: SQLite goes with the folder, PostgreSQL with S3."""
    return request.getfixturevalue("postgres_url") if settings.artifacts else ""


@pytest.fixture
def is_direct(served) -> bool:
    """Whether large files go past the server."""
    return served.context.artifacts.direct is not None


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    return client.create_run("0").info.run_id


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client does from 500 MB on it does now from 10 MB on."""
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(2 * PART))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(PART))
    monkeypatch.setenv("MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE", str(PART))


def test_nested_folders_go_in_and_come_out(client: MlflowClient, run_id: str, tmp_path: Path) -> None:
    for name in ("top.txt", "a/one.txt", "a/b/two é.txt", "a/b/empty"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name.endswith("empty") else name)
    client.log_artifacts(run_id, str(tmp_path / "source"), "out")
    client.log_artifact(run_id, str(tmp_path / "source" / "top.txt"))

    def listed(path: str | None = None) -> list[tuple[str, bool, int | None]]:
        return [(item.path, item.is_dir, item.file_size) for item in client.list_artifacts(run_id, path)]

    assert listed() == [("out", True, None), ("top.txt", False, 7)]
    assert listed("out") == [("out/a", True, None), ("out/top.txt", False, 7)]
    assert listed("out/a/b") == [("out/a/b/empty", False, 0), ("out/a/b/two é.txt", False, 14)]
    assert listed("out/nothing") == listed("top.txt") == []
    back = Path(client.download_artifacts(run_id, "out", str(tmp_path)))
    assert {str(path.relative_to(back)): path.read_text() for path in back.rglob("*") if path.is_file()} == {
        "top.txt": "top.txt",
        "a/one.txt": "a/one.txt",
        "a/b/two é.txt": "a/b/two é.txt",
        "a/b/empty": "",
    }


def test_the_folder_itself_is_a_path(client: MlflowClient, run_id: str, tmp_path: Path) -> None:
    client.log_text(run_id, "x", "a/b.txt")
    for path in (None, "", ".", "./"):
        assert [Path(item.path) for item in client.list_artifacts(run_id, path)] == [Path("a")]
    assert [Path(item.path) for item in client.list_artifacts(run_id, "./a//")] == [Path("a/b.txt")]
    back = Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/.", dst_path=str(tmp_path / "back")))
    assert (back / "a" / "b.txt").read_text() == "x"


def test_file_is_sent_with_its_type_and_its_name(client: MlflowClient, served, run_id: str) -> None:
    for name, kind, sent in (
        ("MLmodel", "text/plain", "MLmodel"),
        ("a.json", "text/plain", "a.json"),
        ("page.html", "text/html", "page.html"),
        ("page.JS", "text/plain", "page.JS"),
        ("table.csv.gz", "application/octet-stream", "table.csv.gz"),
        ("dog+step+20.png", "image/png", "dog+step+20.png"),
        ('a "b".bin', "application/octet-stream", r'"a \"b\".bin"'),
        ("é ü", "application/octet-stream", "\"e u\"; filename*=UTF-8''%C3%A9%20%C3%BC"),
        ("．．／etc", "application/octet-stream", ".._etc; filename*=UTF-8''%EF%BC%8E%EF%BC%8E%EF%BC%8Fetc"),
        ("日本", "application/octet-stream", "download; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
    ):
        client.log_text(run_id, "x", name)
        address = f"{served.url}/get-artifact?{urlencode({'run_id': run_id, 'path': name})}"
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["Content-Disposition"] == f"attachment; filename={sent}"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_many_small_files_are_all_there(client: MlflowClient, run_id: str, tmp_path: Path) -> None:
    names = [f"{number:03d}" for number in range(150)]
    (tmp_path / "many").mkdir()
    for name in names:
        (tmp_path / "many" / name).write_text(name)
    client.log_artifacts(run_id, str(tmp_path / "many"), "many")
    assert [item.path for item in client.list_artifacts(run_id, "many")] == [f"many/{name}" for name in names]
    back = Path(client.download_artifacts(run_id, "many", str(tmp_path / "back")))
    assert [(back / name).read_text() for name in names] == names


@pytest.mark.parametrize("folder", [None, "d"])
def test_file_whose_name_the_client_cuts_off_takes_no_folders_place(
    client: MlflowClient, run_id: str, tmp_path: Path, folder: str | None
) -> None:
    for name in ("#train.py#", ".#lock"):
        (tmp_path / name).write_text("cut off")
        with pytest.raises((MlflowException, requests.HTTPError)):
            client.log_artifact(run_id, str(tmp_path / name), folder)
    client.log_text(run_id, "x", "d/kept.txt")
    assert [item.path for item in client.list_artifacts(run_id, "d")] == ["d/kept.txt"]


def test_deleted_files_are_gone(client: MlflowClient, run_id: str) -> None:
    client.log_text(run_id, "x", "a/b.txt")
    client.log_text(run_id, "x", "c.txt")
    repository = get_artifact_repository(client.get_run(run_id).info.artifact_uri)
    repository.delete_artifacts("a")
    assert [item.path for item in client.list_artifacts(run_id)] == ["c.txt"]
    repository.delete_artifacts("a")  # nothing is there, and nothing happens
    with pytest.raises(MlflowException, match="path is correct"):
        mlflow.artifacts.load_text(f"runs:/{run_id}/a/b.txt")


def test_large_file_goes_in_parts_where_it_can_and_through_the_server_where_it_must(
    client: MlflowClient, served, run_id: str, is_direct: bool, in_parts: None, tmp_path: Path
) -> None:
    data = os.urandom(2 * PART + 12345)
    (tmp_path / "large.bin").write_bytes(data)
    client.log_artifact(run_id, str(tmp_path / "large.bin"), "models")
    stored = served.context.artifacts.open(f"0/{run_id}/artifacts/models/large.bin")
    stored.content.close()
    assert stored.info.etag.endswith("-3") == is_direct  # S3 counts the parts there
    assert Path(client.download_artifacts(run_id, "models/large.bin", str(tmp_path / "back"))).read_bytes() == data


def test_client_that_insists_on_parts_falls_back_to_the_server(
    client: MlflowClient, run_id: str, in_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "true")
    data = os.urandom(2 * PART)
    (tmp_path / "large.bin").write_bytes(data)
    client.log_artifact(run_id, str(tmp_path / "large.bin"))
    assert Path(client.download_artifacts(run_id, "large.bin", str(tmp_path / "back"))).read_bytes() == data


def test_upload_in_parts_that_is_given_up_leaves_nothing(
    client: MlflowClient, served, run_id: str, is_direct: bool, tmp_path: Path
) -> None:
    local, store = tmp_path / "large.bin", served.context.artifacts
    repository = get_artifact_repository(client.get_run(run_id).info.artifact_uri)
    if not is_direct:
        with pytest.raises(requests.HTTPError, match="501"):
            repository.abort_multipart_upload(str(local), "some-upload", "models")
        return

    def under_way() -> int:
        return len(store.call("list_multipart_uploads", "").get("Uploads", ()))

    begun = repository.create_multipart_upload(str(local), 2, "models")
    other = repository.create_multipart_upload(str(local), 1, "models")
    assert [requests.put(part.url, data=b"x" * PART).status_code for part in begun.credentials] == [200, 200]
    assert under_way() == 2
    for _ in range(2):  # whoever is not sure says it again
        repository.abort_multipart_upload(str(local), begun.upload_id, "models")
    assert under_way() == 1
    assert client.list_artifacts(run_id) == client.list_artifacts(run_id, "models") == []
    part = MultipartUploadPart(1, requests.put(other.credentials[0].url, data=b"small").headers["ETag"])
    repository.complete_multipart_upload(str(local), other.upload_id, [part], "models")
    assert [item.path for item in client.list_artifacts(run_id, "models")] == ["models/large.bin"]


def test_model_is_logged_and_loaded(client: MlflowClient) -> None:
    pandas = pytest.importorskip("pandas")

    class Doubling(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

    rows = pandas.DataFrame({"a": [1, 2]})
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model", python_model=Doubling(), pip_requirements=[], registered_model_name="doubling"
        )
    for uri in (info.model_uri, "models:/doubling/1"):
        assert list(mlflow.pyfunc.load_model(uri).predict(rows)["a"]) == [2, 4]


@pytest.mark.parametrize("location", ["team%20b/x", "caf%C3%A9", "team b", "a+b"])
def test_folders_and_models_come_out_wherever_their_experiment_keeps_them(
    client: MlflowClient, tmp_path: Path, location: str
) -> None:
    number = client.create_experiment("located", artifact_location=f"mlflow-artifacts:/{location}")
    run_id = client.create_run(number).info.run_id
    for name in ("d", "a%20b", "p%C3%A9", "50%25", "50%", "x y"):
        client.log_text(run_id, "hello", f"{name}/f.txt")
        assert [item.path for item in client.list_artifacts(run_id, name)] == [f"{name}/f.txt"]
        out = tmp_path / name
        out.mkdir()
        found = Path(client.download_artifacts(run_id, name, str(out)))
        assert [path.read_text() for path in found.rglob("f.txt")] == ["hello"]
    mlflow.set_experiment(experiment_id=number)
    with mlflow.start_run():
        made = mlflow.pyfunc.log_model(name="m", python_model=lambda model_input: model_input, pip_requirements=[])
    assert mlflow.pyfunc.load_model(made.model_uri).predict([1]) == [1]


def test_release_is_downloaded_although_it_is_kept_in_the_content_store(
    client: MlflowClient, served, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    content = served.context.store.put_tree(tmp_path / "model")
    served.client.registry.create_release(
        Release(model="churn", version=0, content=content, run_id="", created_at=1, created_by="me", flavor="x")
    )
    back = mlflow.artifacts.download_artifacts("models:/churn/1", dst_path=str(tmp_path / "back"))
    assert (Path(back) / "MLmodel").read_text() == "flavors: {}"


def test_presigned_urls_of_runs_and_models(
    client: MlflowClient, served, run_id: str, is_direct: bool, tmp_path: Path
) -> None:
    from mlflow.utils.rest_utils import http_request

    def ask(way: str, **body: object):
        path = f"/api/2.0/mlflow/artifacts/presigned-{way}-url"
        return http_request(mlflow.utils.credentials.get_default_host_creds(served.url), path, "POST", json=body)

    if not is_direct:
        assert ask("upload", run_id=run_id, path="f").status_code == 400
        return
    url = ask("upload", run_id=run_id, path="notes/f").json()["presigned_url"]
    assert requests.put(url, data=b"direct").status_code == 200
    assert [item.path for item in client.list_artifacts(run_id, "notes")] == ["notes/f"]
    found = ask("download", run_id=run_id, path="notes/f", expiration=60).json()
    answer = requests.get(found["presigned_url"])
    assert (answer.content, found["file_size"]) == (b"direct", 6)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert ask("download", run_id=run_id, path="nothing").status_code == 404
    assert ask("download", run_id=run_id, path="../x").status_code == 400
    assert ask("download", run_id=run_id, path="f", expiration=604801).status_code == 400
    assert ask("upload", run_id=run_id, model_id="m", path="f").status_code == 400
    model = client.create_logged_model("0")
    url = ask("upload", model_id=model.model_id, path="code/a.py").json()["presigned_url"]
    assert requests.put(url, data=b"pass").status_code == 200
    assert [item.path for item in client.list_logged_model_artifacts(model.model_id, "code")] == ["code/a.py"]
    back = mlflow.artifacts.download_artifacts(f"{model.artifact_location}/code/a.py", dst_path=str(tmp_path))
    assert Path(back).read_text() == "pass"
    assert ask("upload", model_id="m-nope", path="f").status_code == 404
    assert ask("upload", model_id=model.model_id, path="../f").status_code == 400


@pytest.mark.slow
def test_300_mb_take_little_memory_of_the_server(settings: Settings, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", SERVER, str(tmp_path / "state"), settings.artifacts]
    with (tmp_path / "large.bin").open("wb") as file:
        for _ in range(300):
            file.write(os.urandom(1 << 20))
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        client = MlflowClient(process.stdout.readline().strip())
        run_id = client.create_run("0").info.run_id
        client.log_text(run_id, "x", "first.txt")  # everything that is imported late is there now
        before = _most_memory(process.pid)
        client.log_artifact(run_id, str(tmp_path / "large.bin"))
        back = Path(client.download_artifacts(run_id, "large.bin", str(tmp_path / "back")))
        grown = _most_memory(process.pid) - before
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
    assert back.stat().st_size == 300 << 20
    print(f"the server's memory grew by {grown >> 20} MiB")
    assert grown < 96 << 20


def _most_memory(pid: int) -> int:
    """The most bytes that a process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("the kernel does not say")
