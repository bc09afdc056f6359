"""The pipeline that `lockgate ci init gitlab` writes, run for real by gitlab-ci-local with the shell executor."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / ".cache" / "node" / "node_modules" / ".bin" / "gitlab-ci-local"

pytestmark = [
    pytest.mark.skipif(not RUNNER.exists(), reason="gitlab-ci-local is not installed: scripts/setup-node"),
    pytest.mark.skipif(shutil.which("rsync") is None, reason="gitlab-ci-local needs rsync: scripts/setup-node"),
]

PROJECT = """\
model: churn
task: binary_classification
stages:
  train:
    cmd: python src/train.py
    deps: [src/train.py]
    params: [noise]
    outs: [build/test.csv]
    model: build/model
evaluate: {data: build/test.csv, label: churned}
gates:
  - {metric: roc_auc, min: 0.8}
environments: {production: {}}
"""
TRAIN = """\
from pathlib import Path

import lockgate
import numpy as np
import polars as pl
import yaml
from sklearn.linear_model import LogisticRegression

noise = yaml.safe_load(Path("params.yaml").read_text())["noise"]
rng = np.random.default_rng(1)
rows = pl.DataFrame({"a": rng.normal(size=400), "b": rng.normal(size=400)})
label = (rows["a"].to_numpy() + noise * rng.normal(size=400) > 0).astype(int)
Path("build").mkdir(exist_ok=True)
rows[200:].with_columns(churned=label[200:]).write_csv("build/test.csv")
model = LogisticRegression().fit(rows[:200], label[:200])
lockgate.log_model(model, "build/model", data=rows)
"""


class Repository:
    """A project in git, and a runner that knows where lockgate is installed."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GIT_AUTHOR_NAME": "x",
            "GIT_AUTHOR_EMAIL": "x@example.org",
            "GIT_COMMITTER_NAME": "x",
            "GIT_COMMITTER_EMAIL": "x@example.org",
            "OMP_NUM_THREADS": "1",
        }

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )

    def commit(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / name.replace("__", "/").replace("_yaml", ".yaml").replace("_py", ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert self.call("git", "add", "-A").returncode == 0
        assert self.call("git", "commit", "-q", "-m", "x").returncode == 0

    def run_pipeline(self) -> tuple[int, str]:
        home = self.environment["HOME"]
        done = self.call(str(RUNNER), "--force-shell-executor", "--shell-isolation", "--home", home)
        return done.returncode, done.stdout + done.stderr

    @property
    def report(self) -> str:
        return (self.folder / ".gitlab-ci-local" / "artifacts" / "model" / "report" / "report.md").read_text()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder, home = tmp_path / "churn", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    repository = Repository(folder, home)
    assert repository.call("git", "init", "-q", "-b", "main").returncode == 0
    assert repository.call("git", "remote", "add", "origin", "git@gitlab.example.org:team/churn.git").returncode == 0
    (folder / ".gitignore").write_text(".lockgate/\nbuild/\nreport/\n.gitlab-ci-local/\n__pycache__/\n")
    (folder / "lockgate.yaml").write_text(PROJECT)
    written = repository.call("lockgate", "ci", "init", "gitlab")
    assert written.returncode == 0, written.stderr
    return repository


def test_good_candidate_is_deployed_and_a_worse_one_fails_the_job_but_keeps_its_report(repository: Repository) -> None:
    repository.commit(src__train_py=TRAIN, params_yaml="noise: 0.1\n")
    code, log = repository.run_pipeline()
    assert code == 0, log
    assert "churn@1 passed" in log
    assert "production: succeeded: version 1 serves everything" in log
    assert "churn: passed 1 check" in repository.report

    repository.commit(params_yaml="noise: 50\n")
    code, log = repository.run_pipeline()
    assert code != 0
    assert "churn@2 refused" in log
    assert re.search(r"model +finished in .* FAIL 3", log), log
    assert "$ lockgate deploy" not in log
    assert "churn: refused by 1 of 1 check" in repository.report


@pytest.mark.slow
def test_branch_runs_the_gates_and_deploys_nothing(repository: Repository) -> None:
    repository.commit(src__train_py=TRAIN, params_yaml="noise: 0.1\n")
    assert repository.call("git", "switch", "-q", "-c", "try").returncode == 0
    code, log = repository.run_pipeline()
    assert code == 0, log
    assert "churn@1 passed" in log
    assert "$ lockgate deploy" not in log
