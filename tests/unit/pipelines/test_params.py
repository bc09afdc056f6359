from pathlib import Path

import pytest

from lockgate.errors import InvalidInput, NotFound
from lockgate.pipelines.definition import Node, ParamsUse
from lockgate.pipelines.params import ParamsFiles, read_values, scalar


def stage(*uses: ParamsUse) -> Node:
    return Node(name="s", commands=("c",), params=uses)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(
        "train:\n  lr: 0.1\n  net: {depth: 3, sizes: [1, 2]}\nseed: 7\nday: 2024-01-02\n"
    )
    (tmp_path / "more.toml").write_text("[a]\nb = 'x'\n")
    (tmp_path / "more.json").write_text('{"a": {"b": null}}')
    return tmp_path


def test_a_name_means_the_value_or_the_whole_section(root: Path) -> None:
    use = ParamsUse("params.yaml", ("train.net", "seed"))
    assert ParamsFiles(root).of_stage(stage(use)) == {"train.net.depth": 3, "train.net.sizes": [1, 2], "seed": 7}


def test_other_files_keep_their_names_apart(root: Path) -> None:
    found = ParamsFiles(root).of_stage(stage(ParamsUse("more.toml", ("a.b",)), ParamsUse("more.json", None)))
    assert found == {"more.toml:a.b": "x", "more.json:a.b": None}


def test_a_missing_parameter_names_stage_file_and_the_nearest(root: Path) -> None:
    with pytest.raises(InvalidInput, match=r"stage s needs the parameter 'trian', which params.yaml") as caught:
        ParamsFiles(root).of_stage(stage(ParamsUse("params.yaml", ("trian",))))
    assert caught.value.hint == "did you mean 'train'?"
    with pytest.raises(InvalidInput, match=r"stage s needs parameters of none\.yaml"):
        ParamsFiles(root).of_stage(stage(ParamsUse("none.yaml", None)))


def test_values_are_flat_and_scalars_for_the_record(root: Path) -> None:
    values = ParamsFiles(root).values("params.yaml")
    assert {name: scalar(value) for name, value in values.items()} == {
        "train.lr": 0.1,
        "train.net.depth": 3,
        "train.net.sizes": "[1,2]",
        "seed": 7,
        "day": "2024-01-02",
    }


@pytest.mark.parametrize("name", ["broken.json", "broken.toml", "broken.yaml"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{ [")
    with pytest.raises(InvalidInput, match=name):
        read_values(tmp_path / name)
    with pytest.raises(NotFound, match="none"):
        read_values(tmp_path / f"none.{name}")
