"""Files that are asked for by run, logged model or model version."""

import json

import pytest

MLFLOW = "/api/2.0/mlflow"
UI = "/ajax-api/2.0/mlflow"


@pytest.fixture
def run_id(asked) -> str:
    return asked.ask("POST", f"{MLFLOW}/runs/create", b"{}")[1]["run"]["info"]["run_id"]


@pytest.fixture
def model_id(asked) -> str:
    body = b'{"experiment_id": "0", "name": "m"}'
    return asked.ask("POST", f"{MLFLOW}/logged-models", body)[1]["model"]["info"]["model_id"]


def test_file_of_a_run_goes_in_and_comes_out_as_mlflows_pages_ask(asked, run_id: str) -> None:
    upload = f"{UI}/upload-artifact?run_uuid={run_id}&path=notes/a%20b.md"
    assert asked.ask("POST", upload, b"# notes")[0] == 200
    for name in ("run_id", "run_uuid"):
        status, data, headers = asked.ask("GET", f"/get-artifact?{name}={run_id}&path=notes/a%20b.md")
        assert (status, data) == (200, b"# notes")
        assert headers["content-disposition"] == 'attachment; filename="a b.md"'
        assert headers["content-type"] == "text/plain"
    _, listed, _ = asked.ask("GET", f"{MLFLOW}/artifacts/list?run_id={run_id}&path=notes")
    assert listed["files"] == [{"path": "notes/a b.md", "is_dir": False, "file_size": 7}]


def test_file_of_a_logged_model_is_listed_and_served(asked, model_id: str) -> None:
    path = f"0/models/{model_id}/artifacts/code/a.py"
    assert asked.ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", b"pass")[0] == 200
    url = f"{UI}/logged-models/{model_id}/artifacts/files?artifact_file_path=code/a.py"
    status, data, headers = asked.ask("GET", url)
    assert (status, data, headers["content-disposition"]) == (200, b"pass", "attachment; filename=a.py")
    folders = f"{MLFLOW}/logged-models/{model_id}/artifacts/directories"
    status, listed, _ = asked.ask("GET", folders)
    assert (status, listed["files"]) == (200, [{"path": "code", "is_dir": True}])
    assert listed["root_uri"] == f"mlflow-artifacts:/0/models/{model_id}/artifacts"
    assert asked.ask("GET", f"{folders}?artifact_directory_path=code")[1]["files"][0]["path"] == "code/a.py"
    assert asked.ask("GET", f"{folders}?artifact_directory_path=../..")[0] == 400


@pytest.mark.parametrize(
    "path",
    [
        "",
        "..",
        "../../other/artifacts/f",
        "/etc/passwd",
        "%252e%252e/x",
        "a%00b",
        "/",
        "C:/x",
        "c%3A/x",
        "C%253A/x",
        "C:",
        "C:%5Cx",
        "file:///etc/passwd",
        "a:b/../../x",
        "a:b/%2e%2e/x",
    ],
)
def test_path_that_leaves_what_it_belongs_to_is_refused(asked, run_id: str, model_id: str, path: str) -> None:
    for method, url in (
        ("GET", f"/get-artifact?run_id={run_id}&path={path}"),
        ("POST", f"{UI}/upload-artifact?run_uuid={run_id}&path={path}"),
        ("GET", f"{UI}/logged-models/{model_id}/artifacts/files?artifact_file_path={path}"),
    ):
        status, answer, _ = asked.ask(method, url, b"x" if method == "POST" else None)
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("path", ["a:b.txt", "acc:0.9/x.txt", "C:x", ".partial/x", "s3://b/x"])
def test_name_with_a_colon_is_a_name_below_a_run_or_a_logged_model(
    asked, run_id: str, model_id: str, path: str
) -> None:
    folder = path.rpartition("/")[0]
    stored = path.replace("//", "/")
    assert asked.ask("POST", f"{UI}/upload-artifact?run_uuid={run_id}&path={path}", b"x")[0] == 200
    assert asked.ask("GET", f"/get-artifact?run_id={run_id}&path={path}")[:2] == (200, b"x")
    _, listed, _ = asked.ask("GET", f"{MLFLOW}/artifacts/list?run_id={run_id}&path={folder}")
    assert listed["files"] == [{"path": stored, "is_dir": False, "file_size": 1}]
    root = f"/api/2.0/mlflow-artifacts/artifacts/0/models/{model_id}/artifacts"
    assert asked.ask("PUT", f"{root}/{stored}", b"y")[0] == 200
    files = f"{UI}/logged-models/{model_id}/artifacts/files?artifact_file_path={path}"
    assert asked.ask("GET", files)[:2] == (200, b"y")
    folders = f"{MLFLOW}/logged-models/{model_id}/artifacts/directories?artifact_directory_path={folder}"
    assert asked.ask("GET", folders)[1]["files"] == listed["files"]


@pytest.mark.parametrize(
    "location", ["mlflow-artifacts:/team%20b", "mlflow-artifacts:/team b", "mlflow-artifacts:/100%/team%20b"]
)
def test_files_are_looked_for_where_mlflows_client_writes_them(asked, location: str) -> None:
    """Which makes an address of the location, of which HTTP decodes the percents."""
    requests = pytest.importorskip("requests", reason="what MLflow's client sends with")
    body = json.dumps({"name": "x", "artifact_location": location}).encode()
    experiment = asked.ask("POST", f"{MLFLOW}/experiments/create", body)[1]["experiment_id"]
    body = json.dumps({"experiment_id": experiment}).encode()
    info = asked.ask("POST", f"{MLFLOW}/runs/create", body)[1]["run"]["info"]
    address = f"{asked.url}/api/2.0/mlflow-artifacts/artifacts{info['artifact_uri'].removeprefix('mlflow-artifacts:')}"
    assert requests.put(f"{address}/f.txt", data=b"x").status_code == 200
    assert asked.ask("GET", f"/get-artifact?run_id={info['run_id']}&path=f.txt")[:2] == (200, b"x")
    _, listed, _ = asked.ask("GET", f"{MLFLOW}/artifacts/list?run_id={info['run_id']}")
    assert [file["path"] for file in listed["files"]] == ["f.txt"]
    assert listed["root_uri"] == info["artifact_uri"]
    asked.ask("POST", f"{MLFLOW}/runs/delete", json.dumps({"run_id": info["run_id"]}).encode())
    body = json.dumps({"before": 2**62}).encode()
    assert asked.ask("POST", "/api/lockgate/1/tracking/purge", body)[1]["folders"] == 1
    assert list(asked.context.artifacts.root.rglob("f.txt")) == []


@pytest.mark.parametrize("location", ["mlflow-artifacts:/.partial/z", "mlflow-artifacts://host/%2epartial"])
def test_location_in_which_nothing_could_be_stored_is_refused(asked, location: str) -> None:
    body = json.dumps({"name": "x", "artifact_location": location}).encode()
    status, answer, _ = asked.ask("POST", f"{MLFLOW}/experiments/create", body)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "'.partial' is kept for uploads" in answer["message"]


def test_what_is_not_there_is_not_found(asked, run_id: str) -> None:
    assert asked.ask("GET", f"/get-artifact?run_id={run_id}&path=f")[0] == 404
    assert asked.ask("GET", f"/get-artifact?run_id={'f' * 32}&path=f")[0] == 404
    status, answer, _ = asked.ask("POST", f"{UI}/upload-artifact?path=f", b"x")
    assert (status, answer["message"]) == (400, "Request must specify run_uuid.")


def test_folder_that_is_asked_for_as_a_file_is_refused_in_mlflows_words(asked, run_id: str) -> None:
    asked.ask("POST", f"{UI}/upload-artifact?run_uuid={run_id}&path=plots/roc.png", b"x")
    status, answer, _ = asked.ask("GET", f"/get-artifact?run_id={run_id}&path=plots")
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer["message"] == f"Artifact path refers to a directory, not a file: '0/{run_id}/artifacts/plots'"


@pytest.mark.parametrize("body", [None, b"", [b""]], ids=["none", "empty", "in chunks"])
def test_upload_without_data_is_refused_in_mlflows_words(asked, run_id: str, body) -> None:
    upload = f"{UI}/upload-artifact?run_uuid={run_id}&path=f"
    asked.ask("POST", upload, b"before")
    status, answer, _ = asked.ask("POST", upload, body)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer["message"] == "Request must specify data."
    assert asked.ask("GET", f"/get-artifact?run_id={run_id}&path=f")[1] == b"before"


def test_upload_may_be_larger_than_mlflows_server_takes(asked, run_id: str) -> None:
    data = b"x" * ((10 << 20) + 1)
    assert asked.ask("POST", f"{UI}/upload-artifact?run_uuid={run_id}&path=f", data)[0] == 200
    assert asked.ask("GET", f"/get-artifact?run_id={run_id}&path=f")[1] == data


def test_files_that_are_kept_elsewhere_are_not_opened(asked, tmp_path) -> None:
    (tmp_path / "secret").write_text("secret")
    body = json.dumps({"name": "elsewhere", "artifact_location": f"file://{tmp_path}"}).encode()
    status, answer, _ = asked.ask("POST", f"{MLFLOW}/experiments/create", body)
    assert status == 200, answer
    body = json.dumps({"experiment_id": answer["experiment_id"]}).encode()
    run_id = asked.ask("POST", f"{MLFLOW}/runs/create", body)[1]["run"]["info"]["run_id"]
    for url in (f"/get-artifact?run_id={run_id}&path=secret", f"{MLFLOW}/artifacts/list?run_id={run_id}"):
        status, answer, _ = asked.ask("GET", url)
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_viewer_reads_and_does_not_upload(team) -> None:
    token, writing = team.add("bob", "viewer"), team.add("eve", "contributor")
    run_id = team.ask(writing, "POST", f"{MLFLOW}/runs/create", b"{}")[1]["run"]["info"]["run_id"]
    assert team.ask(token, "GET", f"/get-artifact?run_id={run_id}&path=f")[0] == 404
    for data in (b"x", b""):
        assert team.ask(token, "POST", f"{UI}/upload-artifact?run_uuid={run_id}&path=f", data)[0] == 403
    assert team.ask(writing, "POST", f"{UI}/upload-artifact?run_uuid={run_id}&path=f", b"x")[0] == 200
    assert team.ask(token, "GET", f"/get-artifact?run_id={run_id}&path=f") == (200, b"x")
