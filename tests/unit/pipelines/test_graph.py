from pathlib import Path

import pytest

from lockgate.errors import InvalidInput
from lockgate.pipelines.definition import Node, Out
from lockgate.pipelines.graph import Graph, build_graph, check_dependencies


def node(name: str, deps: str = "", outs: str = "", frozen: bool = False) -> Node:
    return Node(
        name=name,
        commands=("true",),
        deps=tuple(deps.split()),
        outs=tuple(Out(path) for path in outs.split()),
        frozen=frozen,
    )


def graph(*nodes: Node) -> Graph:
    return build_graph(nodes)


def test_parents_come_first_otherwise_the_order_of_the_file() -> None:
    found = graph(node("c", "b.txt"), node("x"), node("b", "a.txt", "b.txt"), node("a", "", "a.txt"))
    assert list(found.nodes) == ["a", "b", "c", "x"]
    assert found.parents == {"a": (), "b": ("a",), "c": ("b",), "x": ()}


@pytest.mark.parametrize(
    ("dep", "out"), [("build", "build"), ("build/a/b.txt", "build/a"), ("build", "build/a/b.txt"), (".", "b.txt")]
)
def test_a_dependency_on_inside_or_around_an_output_makes_a_stage_wait(dep: str, out: str) -> None:
    assert graph(node("reader", dep), node("writer", "", out)).parents["reader"] == ("writer",)


def test_a_name_that_only_begins_alike_is_no_output() -> None:
    assert graph(node("reader", "build2/x"), node("writer", "", "build")).parents["reader"] == ()


def test_a_cycle_is_named_in_full() -> None:
    with pytest.raises(InvalidInput, match="a -> c -> b -> a"):
        graph(node("a", "3", "1"), node("b", "1", "2"), node("c", "2", "3"))
    with pytest.raises(InvalidInput, match="b -> c -> b"):
        graph(node("a", "2"), node("b", "3", "2"), node("c", "2", "3"))


def test_a_stage_that_reads_its_own_output_is_named() -> None:
    with pytest.raises(InvalidInput, match="stage a depends on its own output"):
        graph(node("a", "x", "x"))


def test_two_writers_of_one_output_are_both_named() -> None:
    with pytest.raises(InvalidInput, match="'x': one and two"):
        graph(node("one", "", "x"), node("two", "", "x"))


def test_nested_outputs_are_refused_naming_both_stages() -> None:
    with pytest.raises(InvalidInput, match="'build/x' of stage one lies inside the output 'build' of stage two"):
        graph(node("one", "", "build/x"), node("two", "", "build"))


def test_a_frozen_stage_waits_for_nobody() -> None:
    assert graph(node("b", "x", "y", frozen=True), node("a", "", "x")).parents["b"] == ()


def test_targets_bring_what_they_wait_for() -> None:
    found = graph(node("a", "", "1"), node("b", "1", "2"), node("c", "1", "3"), node("d", "3", "4"))
    assert found.select(["d"]) == ["a", "c", "d"]
    assert found.select([]) == ["a", "b", "c", "d"]
    assert found.descendants("a") == {"b", "c", "d"}
    with pytest.raises(InvalidInput, match="no stage 'dd'") as caught:
        found.select(["dd"])
    assert "'d'" in str(caught.value)


def test_a_long_chain_is_no_problem() -> None:
    nodes = [node(f"s{i}", f"{i}", f"{i + 1}") for i in range(3000, 0, -1)]
    assert next(iter(graph(*nodes).nodes)) == "s1"


def test_every_lost_dependency_is_named_with_its_stage(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    found = graph(node("a", "there lost", "out"), node("b", "out out/inner also/lost"), node("c", "lost", frozen=True))
    with pytest.raises(InvalidInput, match=r"stage a needs 'lost'.*stage b needs 'also/lost'"):
        check_dependencies(found, found.nodes, tmp_path)
    check_dependencies(found, ["c"], tmp_path)


def test_a_file_that_dvc_tracks_is_pulled_by_dvc(tmp_path: Path) -> None:
    (tmp_path / "data.csv.dvc").write_text("")
    with pytest.raises(InvalidInput) as caught:
        check_dependencies(graph(node("a", "data.csv")), ["a"], tmp_path)
    assert caught.value.hint == "dvc pull data.csv.dvc"
