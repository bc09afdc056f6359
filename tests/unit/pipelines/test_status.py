from lockgate.clock import FakeClock
from lockgate.pipelines.status import pipeline_status

LATER = 10_000_000_000_000


def data_states(project) -> dict[str, str]:
    found = pipeline_status(project.folder, store=project.store, actions=project.actions, clock=FakeClock(LATER))
    return {item.name: item.state for item in found.data}


def test_before_the_first_run_all_is_new_and_nothing_is_written(chain) -> None:
    chain.data = "data: {raw: {path: raw.txt}, lost: {path: lost.txt}}\n"
    assert {name: (item.state, item.reason) for name, item in chain.plan().items()} == {
        "up": ("run", "never ran"),
        "count": ("run", "never ran, after up"),
    }
    assert data_states(chain) == {"raw": "new", "lost": "missing"}
    assert not (chain.root / ".lockgate").exists()


def test_data_files_that_changed_since_the_last_run_are_told(chain) -> None:
    chain.data = "data: {raw: {path: raw.txt}}\n"
    chain.run()
    assert data_states(chain) == {"raw": "unchanged"}
    chain.write("raw.txt", "other")
    assert data_states(chain) == {"raw": "changed"}


def test_status_needs_no_right_to_write(chain) -> None:
    chain.data = "data: {raw: {path: raw.txt}}\n"
    chain.run()
    stats = chain.root / ".lockgate" / "stats.msgpack"
    stats.unlink(missing_ok=True)
    stats.mkdir()  # which even root cannot replace by a file
    assert data_states(chain) == {"raw": "unchanged"}


def test_a_stage_behind_one_that_runs_says_what_else_changed(chain) -> None:
    chain.run()
    chain.write("raw.txt", "other")
    chain.write("params.yaml", "count: {flag: -l}")
    assert chain.plan()["count"].reason == "parameter count.flag -c -> -l, after up"
    assert list(chain.plan("up")) == ["up"]


def test_parameters_that_a_stage_writes_are_waited_for(project) -> None:
    project.write("in.txt", "1")
    project.stages = """
stages:
  tune: {cmd: "echo lr: $(cat in.txt) > params.yaml", deps: [in.txt], outs: [params.yaml]}
  train: {cmd: cp params.yaml x, params: [lr], outs: [x]}
"""
    assert project.statuses() == {"tune": "ran", "train": "ran"}
    project.write("in.txt", "2")
    assert project.plan()["train"].reason == "after tune"
    assert project.statuses() == {"tune": "ran", "train": "ran"}
    assert project.reporter.started[1] == ("train", "parameter lr 1 -> 2")
