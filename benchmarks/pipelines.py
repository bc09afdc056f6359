"""The engine's own cost, beside GNU make and a bare Python process, in one run on this machine.

    nothing changed     50 stages up to date: `lockgate status`, `lockgate run --no-gates`, `make`, `python -c pass`
    engine overhead     50 stages that copy a file each: seconds a stage above what the shell alone takes for it

    .venv/bin/python benchmarks/pipelines.py [--stages 50] [--repeat 7]

Wall-clock and CPU seconds are medians; the ratio is CPU beside the bare Python process.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

ENGINE = """
import sys
from pathlib import Path
from lockgate.clock import SystemClock
from lockgate.pipelines.reporter import QuietReporter
from lockgate.pipelines.run import run_pipeline
from lockgate.project import load_project
from lockgate.store.actions import Actions
from lockgate.store.store import Store
folder = load_project(Path(sys.argv[1]))
store = Store(folder.state / "store")
actions = Actions(store.root / "actions")
run_pipeline(folder, store=store, actions=actions, reporter=QuietReporter(), clock=SystemClock(), jobs=1)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stages", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        folder.mkdir()
        # Byte code where an installed program has it, wherever we run from.
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(name) / "pycache")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        write_project(folder, arguments.stages)
        bench(folder, environ, arguments.stages, arguments.repeat)


def write_project(folder: Path, stages: int) -> None:
    """A chain of copies, as lockgate.yaml and as a Makefile of the same steps."""
    (folder / "in.txt").write_text("x\n")
    names = ["in.txt", *(f"o{i}.txt" for i in range(stages))]
    yaml, make = ["model: m", "task: regression", "stages:"], [f"all: {names[-1]}"]
    for i, (source, target) in enumerate(pairwise(names)):
        yaml.append(f"  s{i:03}: {{cmd: cp {source} {target}, deps: [{source}], outs: [{target}]}}")
        make.append(f"{target}: {source}\n\tcp {source} {target}")
    (folder / "lockgate.yaml").write_text("\n".join(yaml) + "\n")
    (folder / "Makefile").write_text("\n".join(make) + "\n")


def bench(folder: Path, environ: dict[str, str], stages: int, repeat: int) -> None:
    lockgate = [sys.executable, "-m", "lockgate", "-C", str(folder)]
    run = [*lockgate, "run", "--no-gates", "--jobs", "1"]
    make = ["make", "-C", str(folder)]

    def measure(command: Sequence[str], before: Callable[[], None] | None = None) -> tuple[float, float]:
        return measured(command, environ, repeat, before)

    def clean() -> None:
        shutil.rmtree(folder / ".lockgate", ignore_errors=True)
        for path in (*folder.glob("o*.txt"), folder / "lockgate.lock"):
            path.unlink(missing_ok=True)

    measure(run)  # everything is up to date, and byte code is written
    bare = measure([sys.executable, "-c", "pass"])
    rows = [
        ("python -c pass", bare),
        ("lockgate status", measure([*lockgate, "status"])),
        ("lockgate run", measure(run)),
    ]
    if shutil.which("make"):
        rows.append(("make", measure(make)))
    print(f"nothing changed, {stages} stages")
    show(rows, bare)

    shell = "; ".join(f"/bin/sh -c 'cp {folder}/in.txt {folder}/o{i}.txt'" for i in range(stages))
    engine = [sys.executable, "-c", ENGINE, str(folder)]
    full, alone = measure(engine, clean), measure(["/bin/sh", "-c", shell], clean)
    rows = [("engine (run_pipeline)", full), ("sh, one process a stage", alone)]
    if shutil.which("make"):
        rows.append(("make", measure(make, clean)))
    rows.append(("lockgate run", measure(run, clean)))  # with the tracking server that the stages may log to
    print(f"\nall {stages} stages run")
    show(rows, bare)
    measure(engine)
    still = measure(engine)
    over = [1000 * (whole - idle - own) / stages for whole, idle, own in zip(full, still, alone, strict=True)]
    print(f"\nengine overhead a stage: {over[0]:.2f} ms wall, {over[1]:.2f} ms CPU (bar: 10 ms; start-up taken off)")


def measured(
    command: Sequence[str], environ: dict[str, str], repeat: int, before: Callable[[], None] | None
) -> tuple[float, float]:
    """Median wall-clock and CPU seconds of a command and its children."""
    walls, cpus = [], []
    for _ in range(repeat):
        if before:
            before()
        used, started = children_cpu(), time.perf_counter()
        subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - started)
        cpus.append(children_cpu() - used)
    return statistics.median(walls), statistics.median(cpus)


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def show(rows: Sequence[tuple[str, tuple[float, float]]], bare: tuple[float, float]) -> None:
    print(f"  {'':<24}{'wall s':>8}{'CPU s':>8}{'x python':>10}")
    for name, (wall, cpu) in rows:
        print(f"  {name:<24}{wall:>8.3f}{cpu:>8.3f}{cpu / bare[1]:>10.1f}")


if __name__ == "__main__":
    main()
