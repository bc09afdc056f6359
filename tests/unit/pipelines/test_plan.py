import pytest

from lockgate.entities import Content
from lockgate.pipelines.definition import Node, Out
from lockgate.pipelines.plan import Decision, decide, differences, explain, join
from lockgate.pipelines.record import Inputs, StageRecord


def content(letter: str) -> Content:
    return Content(kind="file", digest=letter * 64, size_bytes=1)


def inputs(**changes: object) -> Inputs:
    known: dict[str, object] = {
        "commands": ("c",),
        "wdir": ".",
        "deps": {"in": content("a")},
        "params": {"lr": 0.1},
        "env": {"A": "1"},
        "outs": ("out",),
    }
    return Inputs(**{**known, **changes})  # type: ignore[arg-type]  # the keys of the line above


NODE = Node(name="s", commands=("c",), deps=("in",), outs=(Out("out"),))
RECORD = StageRecord(inputs=inputs(), outs={"out": content("b")})


def decision(
    node: Node = NODE,
    now: Inputs | None = None,
    locked: StageRecord | None = RECORD,
    remembered: StageRecord | None = None,
    on_disk: Content | None = RECORD.outs["out"],
    stored: bool = True,
    force: bool = False,
) -> Decision:
    return decide(
        node,
        now or inputs(),
        locked=locked,
        remembered=lambda key: remembered if remembered and remembered.inputs.key == key else None,
        on_disk=lambda path: on_disk,
        is_stored=lambda content: stored,
        force=force,
    )


def words(found: Decision) -> tuple[str, str]:
    return found.state, found.reason


def test_nothing_changed() -> None:
    assert words(decision()) == ("cached", "nothing changed")


def test_a_stage_that_never_ran_runs() -> None:
    assert words(decision(locked=None)) == ("run", "never ran")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"commands": ("d",)}, "command changed"),
        ({"wdir": "sub"}, "working directory . -> sub"),
        ({"deps": {"in": content("z")}}, "dependency in changed"),
        ({"deps": {"in": content("a"), "new": content("c")}}, "dependency new added"),
        ({"deps": {}}, "dependency in removed"),
        ({"params": {"lr": 0.2}}, "parameter lr 0.1 -> 0.2"),
        ({"params": {"lr": 0.1, "n": [1]}}, "parameter n added"),
        ({"env": {"A": "2"}}, "environment variable A changed"),
        ({"outs": ("out", "other")}, "output other added"),
    ],
)
def test_each_input_that_changed_is_named(change: dict[str, object], reason: str) -> None:
    assert words(decision(now=inputs(**change))) == ("run", reason)


def test_many_reasons_fit_a_line() -> None:
    assert join(list("abcde")) == "a, b, c and 2 more"
    assert list(differences(inputs(), inputs())) == []
    assert explain(RECORD, inputs()) == "its result is no longer known"


def test_a_changed_type_is_a_change() -> None:
    assert inputs(params={"lr": 1}).key != inputs(params={"lr": 1.0}).key
    assert inputs(params={"lr": "1"}).key != inputs(params={"lr": 1}).key


def test_inputs_that_ran_before_are_remembered() -> None:
    before = inputs(params={"lr": 0.5})
    old = StageRecord(inputs=before, outs={"out": content("o")})
    found = decision(now=before, remembered=old)
    assert words(found) == ("restore", "ran before with the same inputs, outputs in the store")
    assert (found.record, found.broken) == (old, ("out",))
    assert words(decision(now=before, remembered=old, on_disk=content("o"))) == (
        "cached",
        "ran before with the same inputs",
    )


@pytest.mark.parametrize(("on_disk", "word"), [(None, "missing"), (content("x"), "changed")])
def test_a_lost_output_is_restored_or_built_again(on_disk: Content | None, word: str) -> None:
    assert words(decision(on_disk=on_disk)) == ("restore", f"output out {word}, in the store")
    assert words(decision(on_disk=on_disk, stored=False)) == ("run", f"output out {word}, not in the store")


def test_an_output_that_is_not_cached_can_only_be_built_again() -> None:
    node = Node(name="s", commands=("c",), deps=("in",), outs=(Out("out", cache=False),))
    assert words(decision(node)) == ("cached", "nothing changed")
    assert words(decision(node, on_disk=None)) == ("run", "output out missing, kept on disk only")


def test_some_stages_always_run() -> None:
    assert words(decision(force=True)) == ("run", "forced")
    always = Node(name="s", commands=("c",), deps=("in",), outs=(Out("out"),), always_changed=True)
    assert words(decision(always)) == ("run", "always_changed is set")
    assert decision(Node(name="s", commands=("c",))).state == "run"
    assert decision(Node(name="s", commands=("c",), outs=(Out("out"),))).state == "cached"


def test_a_frozen_stage_ignores_its_inputs_but_not_its_outputs() -> None:
    node = Node(name="s", commands=("c",), deps=("in",), outs=(Out("out"),), frozen=True)
    assert words(decision(node, inputs(deps={}))) == ("cached", "frozen")
    assert decision(node, inputs(deps={}), on_disk=None).state == "restore"
    assert decision(node, inputs(deps={}), locked=None).state == "run"
