from pathlib import Path

import pytest

from lockgate.documents import parse_document
from lockgate.errors import InvalidInput
from lockgate.pipelines.definition import Node, Out, ParamsUse, nodes_of, read_stages
from lockgate.project import Folder, decode_project


def nodes(text: str, root: Path = Path("/p"), head: str = "model: m\ntask: regression\n") -> dict[str, Node]:
    folder = Folder(root, decode_project(parse_document(root / "lockgate.yaml", head + text)))
    return {node.name: node for node in nodes_of(read_stages(folder))}


def test_a_stage_has_all_its_paths_relative_to_the_root() -> None:
    found = nodes("""
stages:
  train:
    cmd: [a, b]
    wdir: sub/dir
    deps: [x.csv, ../y.csv, ./x.csv]
    outs: [o, p: {cache: false, persist: true}]
    metrics: [m.json: {cache: false}]
    plots: [roc.csv: {x: fpr, cache: false}]
    params: [lr, net.depth, other.toml: [a], all.json: ]
    model: o
    timeout: 1m
    retries: 2
""")
    assert found["train"] == Node(
        name="train",
        commands=("a", "b"),
        wdir="sub/dir",
        deps=("sub/dir/x.csv", "sub/y.csv"),
        outs=(
            Out("sub/dir/o"),
            Out("sub/dir/p", cache=False, persist=True),
            Out("sub/dir/m.json", cache=False),
            Out("sub/dir/roc.csv", cache=False),
        ),
        params=(
            ParamsUse("sub/dir/params.yaml", ("lr", "net.depth")),
            ParamsUse("sub/dir/other.toml", ("a",)),
            ParamsUse("sub/dir/all.json", None),
        ),
        metrics=("sub/dir/m.json",),
        model="sub/dir/o",
        timeout_s=60.0,
        retries=2,
    )


@pytest.mark.parametrize("path", ["../x", "/etc/x", ".", "a/../..", ".lockgate/x", "lockgate.yaml", ".git", "dvc.yaml"])
def test_outputs_stay_in_the_project_and_out_of_what_is_ours(path: str) -> None:
    with pytest.raises(InvalidInput, match="stage s writes"):
        nodes(f"stages: {{s: {{cmd: c, outs: ['{path}']}}}}")


def test_dvc_yaml_is_used_where_lockgate_yaml_has_no_stages(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("""
params: [x.yaml]
metrics: [m.json]
plots: [{roc: {x: a}}]
stages:
  train:
    cmd: python train.py \\${HOME}
    deps: [train.py]
    params: [lr]
    outs: [model: {cache: true, push: false, remote: r, desc: d}]
    metrics: [m.json: {cache: false, type: json}]
    plots: [roc.csv: {x: fpr, template: t}]
    meta: {owner: me}
""")
    found = nodes("", tmp_path)["train"]
    assert found.commands == ("python train.py ${HOME}",)
    assert found.outs == (Out("model"), Out("m.json", cache=False), Out("roc.csv"))
    assert list(nodes("stages: {mine: {cmd: c}}", tmp_path)) == ["mine"]


@pytest.mark.parametrize(
    ("text", "named", "line"),
    [
        ("vars: [a.yaml]\nstages: {}", "vars", 1),
        ("stages:\n  s:\n    foreach: [1]\n    do: {cmd: c}", "foreach", 3),
        ("stages:\n  s:\n    matrix: {a: [1]}\n    cmd: c", "matrix", 3),
        ("stages:\n  s:\n    cmd: run ${model}", "run \\${model}", 3),
        ("stages:\n  s:\n    cmd: c\n    outs:\n    - a\n    - b/${x}", "b/\\${x}", 6),
    ],
)
def test_templates_of_dvc_are_refused_by_name_and_line(tmp_path: Path, text: str, named: str, line: int) -> None:
    (tmp_path / "dvc.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=rf"dvc.yaml:{line}: .*{named}.*not supported"):
        nodes("", tmp_path)


def test_unknown_keys_of_dvc_yaml_name_their_line(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages:\n  s:\n    cmd: c\n    dep: [a]\n")
    with pytest.raises(InvalidInput, match=r"dvc.yaml:4: unknown key 'dep'"):
        nodes("", tmp_path)
    (tmp_path / "dvc.yaml").write_text("- a\n")
    with pytest.raises(InvalidInput, match="expected a mapping"):
        nodes("", tmp_path)
