"""`/model-versions/get-artifact`: one file of a version, from wherever its version's source leads."""

from pathlib import Path
from urllib.parse import urlencode

import pytest

from lockgate.entities import Content, Release
from lockgate.metadata.models import create_model
from lockgate.metadata.releases import create_release
from lockgate.metadata.versions import create_version
from lockgate.server import files
from lockgate.server.context import Context


@pytest.fixture
def versions(context: Context, tmp_path: Path) -> Context:
    """m@1 is kept below the artifact root, m@2 is a copy of it, m@3 elsewhere; r@1 is a release."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}")
    files.store_file(context, "0/run/artifacts/model/MLmodel", folder / "MLmodel")
    content = context.store.put_tree(folder)
    with context.write() as tx:
        create_model(tx, "m")
        create_version(tx, "m", source="mlflow-artifacts:/0/run/artifacts/model")
        create_version(tx, "m", source="models:/m/1", location="mlflow-artifacts:/0/run/artifacts/model/")
        create_version(tx, "m", source="s3://bucket/model")
        release = Release(
            model="r", version=0, content=content, run_id="", created_at=1, created_by="me", flavor="sklearn"
        )
        create_release(tx, release, source=f"mlflow-artifacts:/content/{content.digest}")
    return context


def ask(asked, **query: str) -> tuple[int, object]:
    status, answer, _ = asked.ask("GET", f"/model-versions/get-artifact?{urlencode(query)}")
    return status, answer["error_code"] if isinstance(answer, dict) else answer


@pytest.mark.parametrize(("name", "version"), [("m", "1"), ("m", "2"), ("r", "1")])
def test_a_file_comes_from_where_the_version_is(asked, versions, name: str, version: str) -> None:
    assert ask(asked, name=name, version=version, path="MLmodel") == (200, b"flavors: {}")


def test_a_name_with_a_colon_is_a_name_below_a_version(asked, versions, tmp_path: Path) -> None:
    files.store_file(versions, "0/run/artifacts/model/w:0/x.bin", tmp_path / "model" / "MLmodel")
    assert ask(asked, name="m", version="1", path="w:0/x.bin") == (200, b"flavors: {}")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"name": "m", "version": "1", "path": "nothing"}, (404, "RESOURCE_DOES_NOT_EXIST")),
        ({"name": "m", "version": "9", "path": "MLmodel"}, (404, "RESOURCE_DOES_NOT_EXIST")),
        ({"name": "nobody", "version": "1", "path": "MLmodel"}, (404, "RESOURCE_DOES_NOT_EXIST")),
        ({"name": "m", "version": "3", "path": "MLmodel"}, (400, "INVALID_PARAMETER_VALUE")),
        ({"name": "m", "version": "1", "path": "../../../lockgate.db"}, (400, "INVALID_PARAMETER_VALUE")),
        ({"name": "m", "version": "1", "path": "%2e%2e/x"}, (400, "INVALID_PARAMETER_VALUE")),
        ({"name": "m", "version": "1", "path": "/etc/passwd"}, (400, "INVALID_PARAMETER_VALUE")),
        ({"name": "m", "version": "1", "path": "C:/windows"}, (400, "INVALID_PARAMETER_VALUE")),
        ({"name": "m", "version": "1"}, (400, "INVALID_PARAMETER_VALUE")),
        ({"version": "1", "path": "MLmodel"}, (400, "INVALID_PARAMETER_VALUE")),
        ({"name": "m", "version": "x", "path": "MLmodel"}, (400, "INVALID_PARAMETER_VALUE")),
    ],
)
def test_what_leads_nowhere_is_refused(asked, versions, query: dict[str, str], expected: tuple[int, str]) -> None:
    assert ask(asked, **query) == expected


def test_an_entry_that_is_no_real_file_is_no_answer(asked, versions) -> None:
    content = Content(kind="tree", digest="b" * 64, size_bytes=1)
    with versions.write() as tx:
        create_version(tx, "m", source=f"mlflow-artifacts:/content/{content.digest}")
    assert ask(asked, name="m", version="4", path="MLmodel") == (404, "RESOURCE_DOES_NOT_EXIST")
