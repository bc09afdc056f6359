import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockgate.cli.app import App
from lockgate.cli.report import report
from lockgate.clock import FakeClock
from lockgate.entities import Content, Release
from lockgate.errors import NotFound


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "lockgate.yaml").write_text("model: m\ntask: regression\n")
    return App(start=tmp_path, clock=FakeClock())


def add_version(app: App, tmp_path: Path, *, says: str | None) -> Release:
    """A version whose stored report says something of its own; without one where `says` is None."""
    digest = None
    if says is not None:
        folder = tmp_path / f"written-{says}"
        (folder / "plots").mkdir(parents=True)
        (folder / "report.md").write_text(f"## {says} é\n")
        (folder / "report.html").write_text(f"<p>{says}</p>")
        (folder / "report.json").write_text(json.dumps({"says": says}))
        (folder / "plots" / "gains.svg").write_text("<svg/>")
        digest = app.store.put_tree(folder).digest
    run = app.client.tracking.create_run(app.client.tracking.ensure_experiment("m"))
    app.client.registry.ensure_model("m")
    content = Content(kind="tree", digest=f"{says}".encode().hex().ljust(64, "0")[:64], size_bytes=1)
    return app.client.registry.create_release(
        Release(
            model="m",
            version=0,
            content=content,
            run_id=run,
            created_at=1,
            created_by="a",
            flavor="onnx",
            report=digest,
        )
    )


def call(app: App, *words: str) -> str:
    result = CliRunner().invoke(report, words, obj=app, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_newest_version_is_printed_as_markdown(app, tmp_path) -> None:
    add_version(app, tmp_path, says="old")
    add_version(app, tmp_path, says="new")
    assert call(app) == "## new é\n"


def test_a_version_or_an_alias_can_be_named(app, tmp_path) -> None:
    first = add_version(app, tmp_path, says="old")
    add_version(app, tmp_path, says="new")
    app.client.registry.set_alias("m", "champion", first.version)
    assert call(app, f"m@{first.version}") == call(app, "@champion") == "## old é\n"


def test_json_is_printed_as_stored(app, tmp_path) -> None:
    add_version(app, tmp_path, says="new")
    assert json.loads(call(app, "--format", "json")) == {"says": "new"}


def test_html_is_written_with_its_drawings_and_its_path_printed(app, tmp_path) -> None:
    add_version(app, tmp_path, says="new")
    path = Path(call(app, "--format", "html").strip())
    assert path.read_text() == "<p>new</p>" and (path.parent / "plots" / "gains.svg").is_file()


def test_output_keeps_what_else_is_in_the_folder(app, tmp_path) -> None:
    add_version(app, tmp_path, says="new")
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert call(app, "--output", str(out)) == "## new é\n"
    assert (out / "mine.txt").read_text() == "mine" and (out / "report.md").is_file()


def test_no_version_yet_names_the_next_command(app) -> None:
    with pytest.raises(NotFound, match="no version of m yet") as caught:
        call(app)
    assert caught.value.hint == "lockgate run"


def test_a_version_without_a_report_says_so(app, tmp_path) -> None:
    add_version(app, tmp_path, says=None)
    with pytest.raises(NotFound, match="has no gate report"):
        call(app)
