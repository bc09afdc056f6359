"""Folders with more files than one page of a listing holds, asked over HTTP as MLflow's client and its pages do."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import fsspec
import httpx
import pytest

from lockgate.client.client import Client
from lockgate.clock import FakeClock, SystemClock
from lockgate.server.context import Context, open_context
from lockgate.server.local import LocalTransport
from lockgate.wire.mlflow import experiments

MLFLOW = "/api/2.0/mlflow"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def database_setting() -> str:
    """Files do not depend on it."""
    return ""


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The setting `artifacts`."""
    if request.param == "memory":
        yield f"memory://{tmp_path.name}"
        memory = fsspec.filesystem("memory")
        for path in memory.find(tmp_path.name):
            memory.rm_file(path)
    else:
        yield request.getfixturevalue("s3_url") if request.param == "s3" else str(tmp_path / "artifacts")


@pytest.fixture
def context(tmp_path: Path, place: str, database_setting: str) -> Iterator[Context]:
    found = open_context(
        tmp_path / "state", user="server", clock=FakeClock(), artifacts=place, database=database_setting
    )
    yield found
    found.close()


def fill(place: str, folder: str, names: list[str]) -> None:
    """Empty files, made past the server, which would take its time for so many."""
    if place.startswith("memory://"):
        fsspec.filesystem("memory").pipe({f"{place}/{folder}/{name}": b"" for name in names})
    elif place.startswith("s3://"):
        below = f"{os.environ['AWS_ENDPOINT_URL']}/{place.removeprefix('s3://')}/{folder}"
        with httpx.Client() as client:
            for name in names:
                client.put(f"{below}/{name}", content=b"").raise_for_status()
    else:
        (Path(place) / folder).mkdir(parents=True)
        for name in names:
            (Path(place) / folder / name).touch()


def pages(asked, url: str, **query: str) -> list[list[str]]:
    """The paths of every page."""
    found: list[list[str]] = []
    token = ""
    while True:
        status, answer, _ = asked.ask("GET", f"{url}?{urlencode({**query, 'page_token': token})}")
        assert status == 200, answer
        found.append([item["path"] for item in answer["files"]])
        token = answer.get("next_page_token", "")
        if not token:
            return found


ABOVE_ONE_STEP = [10_000] * 10 + [1]  # of a listing without pages


@pytest.mark.parametrize(
    ("place", "sizes"),
    [
        ("folder", [10_000, 10_000, 1]),
        ("memory", [10_000, 10_000, 1]),
        ("s3", [1_001]),  # more than S3 gives at once
        pytest.param("folder", ABOVE_ONE_STEP, marks=pytest.mark.slow),
        pytest.param("memory", ABOVE_ONE_STEP, marks=pytest.mark.slow),
    ],
    indirect=["place"],
)
def test_many_files_come_page_by_page_and_at_once_to_who_knows_no_pages(asked, place: str, sizes: list[int]) -> None:
    run = asked.ask("POST", f"{MLFLOW}/runs/create", b"{}")[1]["run"]["info"]
    root = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    names = [f"{number:06d}" for number in range(sum(sizes))]
    fill(place, f"{root}/many", names)
    found = pages(asked, f"{MLFLOW}/artifacts/list", run_id=run["run_id"], path="many")
    assert [len(page) for page in found] == sizes
    assert [path for page in found for path in page] == [f"many/{name}" for name in names]
    status, whole, _ = asked.ask("GET", f"{PROXY}?path={root}/many")
    assert (status, "next_page_token" in whole) == (200, False)
    assert [item["path"] for item in whole["files"]] == names


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_files_of_a_logged_model_come_page_by_page(asked, place: str) -> None:
    model = asked.ask("POST", f"{MLFLOW}/logged-models", b'{"experiment_id": "0"}')[1]["model"]["info"]
    names = [f"{number:06d}" for number in range(10_001)]
    fill(place, f"{model['artifact_uri'].removeprefix('mlflow-artifacts:/')}/many", names)
    url = f"{MLFLOW}/logged-models/{model['model_id']}/artifacts/directories"
    found = pages(asked, url, artifact_directory_path="many")
    assert found == [[f"many/{name}" for name in names[:10_000]], [f"many/{names[-1]}"]]


@pytest.mark.parametrize("place", ["folder", "s3"], indirect=True)
@pytest.mark.parametrize(
    ("asked_for", "folder"),
    [
        ("team%20b", "team b"),
        ("caf%C3%A9/p%2Fq", "café/p/q"),
        ("team b", "team b"),
        ("a+b", "a+b"),
        ("50%25", "50%"),
        ("100%/team%20b", "100%/team%20b"),  # no escape, so its sender has encoded both in the address of an upload
        ("pct%2541", "pct%41"),
        ("0/%41", "0/A"),
    ],
)
def test_folder_is_listed_under_the_name_by_which_mlflows_client_has_uploaded_to_it(
    asked, place: str, asked_for: str, folder: str
) -> None:
    fill(place, quote(folder, safe="/") if place.startswith("s3") else folder, ["f"])
    status, answer, _ = asked.ask("GET", f"{PROXY}?{urlencode({'path': asked_for})}")
    assert (status, [item["path"] for item in answer["files"]]) == (200, ["f"])


@pytest.mark.parametrize("place", ["folder"], indirect=True)
@pytest.mark.parametrize("path", ["..%2F..", "%2e%2e/x", "0/%252e%252e/x", "a%5Cb", "%2Fetc", "0%00"])
def test_trick_in_a_folders_name_is_refused_however_often_it_is_encoded(asked, place: str, path: str) -> None:
    assert asked.ask("GET", f"{PROXY}?{urlencode({'path': path})}")[0] == 400


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_listing_asks_for_the_role_on_the_folder_that_is_listed(team, place: str) -> None:
    token = team.add("bob", "viewer", pattern="churn")
    mine, other = (team.client.tracking.ensure_experiment(name) for name in ("churn", "fraud"))
    assert mine == "1"
    statuses = {
        path: team.ask(token, "GET", f"{PROXY}?{urlencode({'path': path})}")[0] for path in ("%31", f"%3{other}")
    }
    assert statuses == {"%31": 200, f"%3{other}": 403}


@pytest.mark.parametrize("place", ["folder"], indirect=True)
@pytest.mark.parametrize("location", ["", "mlflow-artifacts:/team%20b", "mlflow-artifacts:/100%/team%20b"])
def test_own_client_brings_back_folders_whatever_they_are_called(
    context: Context, place: str, tmp_path: Path, location: str
) -> None:
    client = Client(LocalTransport(context), SystemClock())
    made = experiments.CreateExperiment(name="some", artifact_location=location)
    run_id = client.tracking.create_run(client.transport.call(experiments.CREATE_EXPERIMENT, made).experiment_id)
    names = ["a b", "a%20b", "50%", "50%25", "x+y", "%zz"]
    for name in names:
        (tmp_path / "f").write_text(name)
        client.tracking.upload_artifact(run_id, tmp_path / "f", f"in/{name}")
    client.tracking.download_artifact(run_id, "in", tmp_path / "out")
    assert {path.parent.name: path.read_text() for path in (tmp_path / "out").rglob("f")} == {
        name: name for name in names
    }
