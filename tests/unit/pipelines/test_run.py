import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lockgate.clock import FakeClock
from lockgate.errors import DataDamaged, InvalidInput, StageFailed, Unavailable
from lockgate.pipelines.lock_file import read_lock
from lockgate.pipelines.outcome import PipelineFailed
from lockgate.pipelines.run_lock import hold_run_lock


def test_everything_runs_once_and_then_nothing(chain) -> None:
    assert chain.statuses() == {"up": "ran", "count": "ran"}
    assert (chain.read("build/up.txt"), chain.read("build/n.txt")) == ("HELLO\n", "6\n")
    assert chain.statuses() == {"up": "cached", "count": "cached"}
    assert chain.read("ran.log") == "up\ncounted\n"


def test_only_what_depends_on_a_change_runs_and_it_says_why(chain) -> None:
    chain.run()
    chain.write("params.yaml", "count: {flag: -l}\nother: 2\n")
    assert chain.statuses() == {"up": "cached", "count": "ran"}
    assert chain.reporter.started == [("count", "parameter count.flag -c -> -l")]
    chain.write("params.yaml", "count: {flag: -l}\nother: 3\n")
    assert chain.statuses() == {"up": "cached", "count": "cached"}


def test_a_stage_that_gives_the_same_again_stops_the_wave(chain) -> None:
    chain.run()
    chain.write("raw.txt", "HELLO\n")
    assert chain.plan()["count"].reason == "after up"
    assert chain.statuses() == {"up": "ran", "count": "cached"}


def test_going_back_costs_nothing(chain) -> None:
    chain.run()
    chain.write("raw.txt", "other words\n")
    chain.run()
    chain.write("raw.txt", "hello\n")
    assert chain.statuses() == {"up": "restored", "count": "restored"}
    assert chain.read("build/up.txt") == "HELLO\n"
    assert chain.read("ran.log").count("up") == 2


@pytest.mark.parametrize("damage", ["deleted", "changed"])
def test_lost_outputs_are_restored_from_the_store(chain, damage: str) -> None:
    chain.run()
    if damage == "deleted":
        (chain.root / "build" / "up.txt").unlink()
    else:
        chain.write("build/up.txt", "scribble")
    assert chain.plan()["up"].state == "restore"
    assert chain.plan()["count"].state == "cached"
    assert chain.statuses() == {"up": "restored", "count": "cached"}
    assert chain.read("build/up.txt") == "HELLO\n"


def test_a_clone_without_a_store_builds_again(chain) -> None:
    chain.run()
    import shutil

    shutil.rmtree(chain.root / ".lockgate")
    shutil.rmtree(chain.root / "build")
    assert chain.plan()["up"].reason == "output build/up.txt missing, not in the store"
    assert chain.statuses() == {"up": "ran", "count": "ran"}


def test_executable_files_are_restored_executable(project) -> None:
    project.stages = "stages: {s: {cmd: 'echo x > tool; chmod +x tool', outs: [tool]}}"
    project.run()
    (project.root / "tool").unlink()
    assert project.statuses() == {"s": "restored"}
    assert os.access(project.root / "tool", os.X_OK)


def test_targets_bring_what_they_need_and_nothing_else(chain) -> None:
    assert chain.statuses("up") == {"up": "ran"}
    assert chain.statuses("count") == {"up": "cached", "count": "ran"}
    with pytest.raises(InvalidInput, match="no stage 'cuont'"):
        chain.run("cuont")


def test_force_runs_again(chain) -> None:
    chain.run()
    assert chain.statuses(force=True) == {"up": "ran", "count": "ran"}


def test_a_failure_tells_exit_code_and_the_last_lines(project) -> None:
    project.stages = "stages: {s: {cmd: 'seq 30; echo broken >&2; exit 7', outs: [x]}}"
    with pytest.raises(PipelineFailed, match=r"(?s)stage s failed with exit code 7.*30\n +broken") as caught:
        project.run()
    assert "\n    5\n" not in caught.value.message
    assert caught.value.exit_code == 1
    assert ".lockgate/logs/stages/s.log" in str(caught.value.hint)
    assert (project.root / ".lockgate" / "logs" / "stages" / "s.log").read_text().startswith("1\n2\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("kill -9 $$", "was killed by SIGKILL"),
        ("sh -c 'kill -SEGV $$'; exit $?", "exit code 139 .*SIGSEGV"),
        ("sleep 9", r"within its timeout of 0.2 s"),
        ("touch y", "did not write x"),
        ("true", "did not write x, y"),
    ],
)
def test_every_way_to_fail_has_its_words(project, command: str, message: str) -> None:
    project.stages = f"stages: {{s: {{cmd: {json.dumps(command)}, outs: [x, y], timeout: 200ms}}}}"
    with pytest.raises(StageFailed, match=message):
        project.run()


TWO_BRANCHES = """
stages:
  bad: {cmd: "sleep 0.1; exit 1", outs: [bad.txt]}
  after_bad: {cmd: cp bad.txt c.txt, deps: [bad.txt], outs: [c.txt]}
  later_bad: {cmd: cp c.txt d.txt, deps: [c.txt], outs: [d.txt]}
  good: {cmd: "sleep 0.3; echo g > good.txt", outs: [good.txt]}
  after_good: {cmd: cp good.txt e.txt, deps: [good.txt], outs: [e.txt]}
"""


def test_after_a_failure_running_stages_finish_and_no_other_starts(project) -> None:
    project.stages = TWO_BRANCHES
    with pytest.raises(PipelineFailed) as caught:
        project.run(jobs=2)
    assert {stage.name: stage.status for stage in caught.value.outcome.stages} == {
        "bad": "failed",
        "after_bad": "skipped",
        "later_bad": "skipped",
        "good": "ran",
        "after_good": "skipped",
    }
    assert "after_bad" in caught.value.message
    assert set(read_lock(project.root).stages) == {"good"}


def test_keep_going_runs_all_that_does_not_depend_on_the_failure(project) -> None:
    project.stages = TWO_BRANCHES
    with pytest.raises(PipelineFailed) as caught:
        project.run(jobs=1, keep_going=True)
    statuses = {stage.name: stage.status for stage in caught.value.outcome.stages}
    assert (statuses["good"], statuses["after_good"], statuses["later_bad"]) == ("ran", "ran", "skipped")


def test_independent_stages_run_at_the_same_time(project) -> None:
    meet = "touch {0}.in; i=0; until [ -e {1}.in ] || [ $i = 300 ]; do sleep 0.01; i=$((i+1)); done; [ -e {1}.in ]"
    project.stages = f"""
stages:
  a: {{cmd: "{meet.format("a", "b")}", outs: [a.in]}}
  b: {{cmd: "{meet.format("b", "a")}", outs: [b.in]}}
"""
    assert project.statuses(jobs=2) == {"a": "ran", "b": "ran"}


def test_one_job_is_one_at_a_time(project) -> None:
    alone = "mkdir busy && sleep 0.05 && rmdir busy && touch {0}"
    project.stages = "stages:\n" + "".join(f"  {n}: {{cmd: '{alone.format(n)}', outs: [{n}]}}\n" for n in "xyz")
    assert set(project.statuses(jobs=1).values()) == {"ran"}


def test_retries_help_a_stage_that_fails_at_first(project) -> None:
    project.stages = (
        "stages: {s: {cmd: 'echo a >> tries; [ $(wc -l < tries) = 3 ] && cp tries x', retries: 2, outs: [x]}}"
    )
    clock = FakeClock()
    outcome = project.run(clock=clock)
    assert outcome.stages[0].attempts == 3
    assert clock.monotonic() >= 3  # one second, then two
    assert len(project.reporter.messages) == 2


def test_outputs_are_removed_before_a_stage_runs_unless_they_persist(project) -> None:
    project.stages = """
stages:
  fresh: {cmd: "echo line >> fresh.txt", deps: [in.txt], outs: [fresh.txt]}
  growing: {cmd: "echo line >> growing.txt", deps: [in.txt], outs: [growing.txt: {persist: true}]}
"""
    for text in "ab":
        project.write("in.txt", text)
        project.run()
    assert (project.read("fresh.txt"), project.read("growing.txt")) == ("line\n", "line\nline\n")


def test_outputs_without_cache_stay_on_disk_only(project) -> None:
    project.stages = "stages: {s: {cmd: 'echo 12345 > m.txt', outs: [m.txt: {cache: false}]}}"
    content = project.run().stages[0].outs["m.txt"]
    assert not project.store.has(content)
    (project.root / "m.txt").unlink()
    assert project.statuses() == {"s": "ran"}


def test_metrics_come_back_flat_also_from_the_cache(project) -> None:
    project.write("in.json", '{"auc": 0.9, "by": {"class": 1}, "note": "x", "ok": true}')
    project.stages = """
stages:
  a: {cmd: "cp in.json a.json", metrics: [a.json]}
  b: {cmd: "echo 'auc: 0.8' > b.yaml; echo 'x,y' > t.csv", metrics: [b.yaml: {cache: false}, t.csv]}
"""
    expected = {"a.auc": 0.9, "by.class": 1.0, "b.auc": 0.8}
    assert project.run().metrics == expected
    assert project.run().metrics == expected


def test_metrics_that_cannot_be_read_fail_the_stage_that_wrote_them(project) -> None:
    project.stages = "stages: {s: {cmd: 'echo { > m.json', metrics: [m.json]}}"
    with pytest.raises(StageFailed, match="stage s wrote metrics that cannot be read"):
        project.run()


def test_a_stage_sees_its_own_environment_and_the_run_s(project) -> None:
    project.stages = "stages: {s: {cmd: 'echo $A $RUN $LOCKGATE_STAGE > x', env: {A: own}, outs: [x]}}"
    asked: list[int] = []

    def stage_environment() -> dict[str, str]:
        asked.append(1)
        return {"RUN": "7", "A": "run's"}

    project.run(stage_environment=stage_environment)
    assert project.read("x") == "own 7 s\n"
    project.run(stage_environment=stage_environment)
    assert asked == [1]


def test_a_changed_environment_is_a_reason(project) -> None:
    for value in "12":
        project.stages = f"stages: {{s: {{cmd: 'echo $A > x', env: {{A: '{value}'}}, outs: [x]}}}}"
        project.run()
    assert project.reporter.started == [("s", "environment variable A changed")]


def test_a_working_folder_moves_all_paths(project) -> None:
    project.write("sub/in.txt", "x")
    project.write("sub/params.yaml", "lr: 1")
    project.stages = "stages: {s: {cmd: cp in.txt out.txt, wdir: sub, deps: [in.txt], params: [lr], outs: [out.txt]}}"
    project.run()
    assert project.read("sub/out.txt") == "x"
    project.stages = "stages: {s: {cmd: 'true', wdir: nowhere}}"
    with pytest.raises(InvalidInput, match="wdir 'nowhere'"):
        project.run()


MODEL = "stages: {train: {cmd: 'true', deps: [in.txt], model: build/model}}"


def test_a_model_that_the_script_logged_is_filled_in(project) -> None:
    project.stages = MODEL
    project.write("in.txt", "")

    def materialise(path: Path) -> bool:
        path.mkdir()
        (path / "MLmodel").write_text("flavors: {}")
        return True

    outcome = project.run(materialise_model=materialise)
    assert outcome.model_path == "build/model"
    assert outcome.model is not None
    assert outcome.model.files == 1
    assert project.run().model == outcome.model


def test_a_model_that_nobody_wrote_fails_the_stage(project) -> None:
    project.stages = MODEL
    project.write("in.txt", "")
    with pytest.raises(StageFailed, match=r"did not write build/model[\s\S]*log_model"):
        project.run(materialise_model=lambda path: False)


def test_a_stage_whose_dependency_changes_meanwhile_is_not_believed(project) -> None:
    project.stages = "stages: {s: {cmd: 'cp in.txt x; echo more >> in.txt', deps: [in.txt], outs: [x]}}"
    project.write("in.txt", "a\n")
    project.run()
    assert "changed while it ran" in project.reporter.messages[0]
    assert project.plan()["s"].state == "run"
    project.stages = "stages: {s: {cmd: 'cp in.txt x', deps: [in.txt], outs: [x]}}"
    project.run()
    assert project.plan()["s"].state == "cached"


def test_a_frozen_stage_does_not_look_at_its_dependencies(project) -> None:
    text = "stages: {{s: {{cmd: cp in.txt x, deps: [in.txt], outs: [x], frozen: {}}}}}"
    project.write("in.txt", "a")
    project.stages = text.format("false")
    project.run()
    project.stages = text.format("true")
    (project.root / "in.txt").unlink()
    assert project.statuses() == {"s": "cached"}
    (project.root / "x").unlink()
    assert project.statuses() == {"s": "restored"}


def test_an_always_changed_stage_runs_every_time(project) -> None:
    project.stages = "stages: {s: {cmd: 'echo x > x', outs: [x], always_changed: true}}"
    assert project.statuses() == project.statuses() == {"s": "ran"}


def test_damage_in_the_store_is_named_and_not_restored(chain) -> None:
    content = chain.run().stages[0].outs["build/up.txt"]
    path = chain.store.path_of(content.digest)
    path.chmod(0o644)
    path.write_text("JELLO\n")
    (chain.root / "build" / "up.txt").unlink()
    with pytest.raises(DataDamaged, match=content.digest):
        chain.run()
    assert not (chain.root / "build" / "up.txt").exists()
    path.unlink()  # what `lockgate verify --remove` does
    assert chain.statuses() == {"up": "ran", "count": "cached"}


def test_data_files_are_pinned_by_the_lock(chain) -> None:
    chain.data = "data: {raw: {path: raw.txt}, lost: {path: lost.txt}}\n"
    outcome = chain.run()
    assert read_lock(chain.root).data == outcome.data
    assert set(outcome.data) == {"raw"}


def test_stages_that_are_gone_leave_the_lock(chain) -> None:
    chain.run()
    chain.stages = "stages: {new: {cmd: 'echo x > x', outs: [x]}}"
    chain.run()
    assert set(read_lock(chain.root).stages) == {"new"}


def test_a_second_run_is_refused_naming_the_first(chain) -> None:
    with hold_run_lock(chain.root / ".lockgate"):
        with pytest.raises(Unavailable, match=f"process {os.getpid()}") as caught:
            chain.run()
        assert caught.value.exit_code == 5
    assert chain.statuses() == {"up": "ran", "count": "ran"}


def test_a_lock_that_a_killed_run_has_left_to_a_stage_being_started_is_waited_for(chain) -> None:
    taken = multiprocessing.get_context("fork").Event()

    def forked() -> None:
        with hold_run_lock(chain.root / ".lockgate"):
            taken.set()
            time.sleep(0.1)

    stage = multiprocessing.get_context("fork").Process(target=forked)
    stage.start()
    assert taken.wait(20)
    assert chain.statuses() == {"up": "ran", "count": "ran"}
    stage.join()


def test_who_holds_the_lock_already_hands_it_over(chain) -> None:
    with hold_run_lock(chain.root / ".lockgate") as held:
        assert chain.statuses(held=held) == {"up": "ran", "count": "ran"}


def test_ctrl_c_stops_the_stages(project) -> None:
    stages = "stages: {s: {cmd: 'echo $$ > pid; sleep 60; touch x', outs: [x]}}"
    project.write("lockgate.yaml", f"model: m\ntask: regression\n{stages}")
    # In a process of its own: the tests' one may be inside of a callback, where Python drops an interrupt.
    process = subprocess.Popen([sys.executable, "-m", "lockgate", "run"], cwd=project.root)
    while not (project.root / "pid").exists() or not project.read("pid"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    with pytest.raises(ProcessLookupError):  # the shell was reaped
        os.kill(int(project.read("pid")), 0)
    assert not (project.root / "x").exists()


def test_a_missing_dependency_stops_before_anything_runs(chain) -> None:
    (chain.root / "raw.txt").unlink()
    with pytest.raises(InvalidInput, match=r"stage up needs 'raw\.txt'"):
        chain.run()
    with pytest.raises(InvalidInput, match=r"stage up needs 'raw\.txt'"):
        chain.plan()


def test_a_folder_of_sources_ignores_what_python_leaves_in_it(project) -> None:
    project.write("src/a.py", "x = 1")
    leave = "mkdir -p src/__pycache__; echo y > src/__pycache__/a.pyc; cp src/a.py o"
    project.stages = f"stages: {{s: {{cmd: '{leave}', deps: [src], outs: [o]}}}}"
    project.run()
    assert project.plan()["s"].state == "cached"


def test_a_file_inside_a_restored_folder_is_known_before_the_restore(project) -> None:
    import shutil

    project.stages = """
stages:
  make: {cmd: "mkdir -p d/sub; echo a > d/sub/a; echo b > d/b", outs: [d]}
  one: {cmd: cp d/sub/a one.txt, deps: [d/sub/a], outs: [one.txt]}
  part: {cmd: cp d/sub/a part.txt, deps: [d/sub], outs: [part.txt]}
"""
    project.run()
    shutil.rmtree(project.root / "d")
    assert {name: planned.state for name, planned in project.plan().items()} == {
        "make": "restore",
        "one": "cached",
        "part": "cached",
    }
    assert project.statuses() == {"make": "restored", "one": "cached", "part": "cached"}


def test_a_folder_around_a_lost_output_is_not_known_before_the_restore(project) -> None:
    project.write("d/mine", "m")
    project.stages = """
stages:
  make: {cmd: "echo a > d/made", outs: [d/made]}
  all: {cmd: cat d/* > all.txt, deps: [d], outs: [all.txt]}
"""
    project.run()
    (project.root / "d" / "made").unlink()
    assert project.plan()["all"].reason == "after its dependencies are restored"
    assert project.statuses() == {"make": "restored", "all": "cached"}
