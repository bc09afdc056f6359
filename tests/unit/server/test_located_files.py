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


@pytest.mark.parametrize("path", ["", "..", "../../other/artifacts/f", "/etc/passwd", "%252e%252e/x", "a%00b", "/"])
def test_path_that_leaves_what_it_belongs_to_is_refused(asked, run_id: str, model_id: str, path: str) -> None:
    for method, url in (
        ("GET", f"/get-artifact?run_id={run_id}&path={path}"),
        ("POST", f"{UI}/upload-artifact?run_uuid={run_id}&path={path}"),
        ("GET", f"{UI}/logged-models/{model_id}/artifacts/files?artifact_file_path={path}"),
    ):
        status, answer, _ = asked.ask(method, url, b"x" if method == "POST" else None)
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_what_is_not_there_is_not_found(asked, run_id: str) -> None:
    assert asked.ask("GET", f"/get-artifact?run_id={run_id}&path=f")[0] == 404
    assert asked.ask("GET", f"/get-artifact?run_id={'f' * 32}&path=f")[0] == 404
    status, answer, _ = asked.ask("POST", f"{UI}/upload-artifact?path=f", b"x")
    assert (status, answer["message"]) == (400, "Request must specify run_uuid.")


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
    assert team.ask(token, "POST", f"{UI}/upload-artifact?run_uuid={run_id}&path=f", b"x")[0] == 403
    assert team.ask(writing, "POST", f"{UI}/upload-artifact?run_uuid={run_id}&path=f", b"x")[0] == 200
    assert team.ask(token, "GET", f"/get-artifact?run_id={run_id}&path=f") == (200, b"x")
