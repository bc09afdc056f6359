"""The main job in front of the reader: a model goes to production, is watched, drifts, fails, and comes back.

Every step is a command that you could type; `./demo` sets up what they need and plays them in `.demo/`.
"""

import json
import random
import shutil
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from narrator import DidNotHappen, Narrator
from visitors import Visitors

MODEL = "cancer"
LABEL = "malignant"
# Rows that the project starts with; the rest arrive later, as production's.
FIRST_ROWS = 380
NEW_ROWS = 160
NEW_UNIT = 1.5
# A check that every row of the data file passes, and production's will not.
FAILING_STEP = """
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

LIMIT = float(pl.read_csv("data/patients.csv")["worst_smoothness"].max())


def known_range(values):
    if (np.asarray(values, dtype=float)[:, 24] > LIMIT).any():
        raise ValueError(f"worst_smoothness above {LIMIT}")
    return values


"""


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    project = prepare(folder)
    story = Narrator(project, bin_folder=Path(sys.executable).parent)
    try:
        play(story, project)
    except DidNotHappen as error:
        story.stop_all()
        story.fail(error)
    finally:
        story.stop_all()


def prepare(folder: Path) -> Path:
    """A fresh project folder with the data file that the user has."""
    shutil.rmtree(folder, ignore_errors=True)
    project = folder / "cancer"
    (project / "data").mkdir(parents=True)
    all_rows().head(FIRST_ROWS).write_csv(project / "data" / "patients.csv")
    return project


def all_rows() -> pl.DataFrame:
    """scikit-learn's breast cancer data, shuffled: 30 measurements of a tumour and whether it was malignant."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    frame = pl.DataFrame(data.data, schema=[name.replace(" ", "_") for name in data.feature_names])
    frame = frame.with_columns(pl.Series(LABEL, (data.target == 0).astype(int)))
    order = list(range(frame.height))
    random.Random(7).shuffle(order)
    return frame[order]


def play(story: Narrator, project: Path) -> None:
    api, serve_port = f"http://127.0.0.1:{free_port()}", free_port()
    start_project(story, project)
    first_champion(story, project, api, serve_port)
    rows = all_rows().tail(-FIRST_ROWS)
    with Visitors(serve_port, rows.drop(LABEL).to_dicts(), rows[LABEL].to_list(), per_second=60, seed=3) as visitors:
        refuse_worse(story, project)
        canary_better(story, project, api, visitors)
        drift_and_retrain(story, project, api, visitors)
        failing_model(story, project, api, visitors)
        look_back(story, visitors)
    batch_and_ci(story, project)
    finish(story, project, api, serve_port, visitors)


def start_project(story: Narrator, project: Path) -> None:
    story.heading("A project from a data file")
    story.run("git init --quiet --initial-branch main")
    story.run("git config user.name demo")
    story.run("git config user.email demo@localhost")
    story.run(f"lockgate init --data data/patients.csv --label {LABEL} --model {MODEL}")
    story.say("The demo is in a hurry, so times are short, and people must approve what goes to production:")
    edit(
        story,
        project / "lockgate.yaml",
        {
            "bake: 5m": "bake: 2s, min_requests: 20",
            "    rollout:": "    promote: {approvals: 1}\n    rollout:",
            "window: 1h": "window: 15s",
            "on: [data, drift]}": "on: [drift], cooldown: 10m}",
        },
    )
    commit(story, "Start the project")

    story.heading("Bad data does not get in")
    story.run("lockgate check")
    frame = pl.read_csv(project / "data" / "patients.csv")
    broken = pl.when(pl.int_range(pl.len()) < 7).then(-5.0).otherwise("mean_radius").alias("mean_radius")
    frame.with_columns(broken).write_csv(project / "data" / "broken.csv")
    story.run("lockgate check data/broken.csv --contract contracts/patients.yaml", exits=3)
    (project / "data" / "broken.csv").unlink()
    story.note("data contract", "refused a file with 7 impossible values, exit 3")


def first_champion(story: Narrator, project: Path, api: str, serve_port: int) -> None:
    story.heading("The first model: trained, judged, registered")
    story.run("lockgate run", lines=40)
    story.run("lockgate run", lines=6)
    story.note("run again", "nothing had changed, so nothing ran")
    commit(story, "First model")

    story.heading("Everything on one machine")
    api_port = urllib.parse.urlsplit(api).port
    story.start(f"lockgate up --api-port {api_port} --serve-port {serve_port}", log=project.parent / "up.log")
    story.wait_for("health check", lambda: fetch(f"{api}/health") is not None, seconds=60)
    story.run(f"lockgate deploy {MODEL}@challenger --to production", exits=2)
    story.run(f"lockgate approve {MODEL}@challenger --for production")
    story.run(f"lockgate deploy {MODEL}@challenger --to production")
    story.wait_for("replica", lambda: fetch(f"http://127.0.0.1:{serve_port}/v2/health/ready") is not None, seconds=60)
    require_champion(story, api, 1)
    story.note("first champion", "version 1, approved and deployed")


def refuse_worse(story: Narrator, project: Path) -> None:
    story.heading("A worse candidate is refused")
    edit(
        story, project / "params.yaml", {"learning_rate: 0.1": "learning_rate: 0.0001", "max_iter: 100": "max_iter: 1"}
    )
    story.run("lockgate run", exits=3, lines=24)
    story.run(f"lockgate deploy {MODEL}@2 --to production", exits=3)
    story.note("worse candidate", "refused by its gates, exit 3; kept as version 2, never promoted")


def canary_better(story: Narrator, project: Path, api: str, visitors: Visitors) -> None:
    story.heading("A better candidate goes up in steps, under traffic")
    edit(story, project / "params.yaml", {"learning_rate: 0.0001": "learning_rate: 0.2", "max_iter: 1": "max_iter: 60"})
    story.say("And the script logs as it did before there was Lockgate: with the released mlflow client.")
    edit(
        story,
        project / "src" / "train.py",
        {
            "import lockgate\n": "import lockgate\nimport mlflow\n",
            "lockgate.log_params(": "mlflow.log_params(",
            "lockgate.log_metrics(": "mlflow.log_metrics(",
        },
    )
    story.run("lockgate run", lines=24)
    commit(story, "Learn faster")
    story.run(f"lockgate approve {MODEL}@challenger --for production")
    story.run(f"lockgate deploy {MODEL}@challenger --to production", lines=20)
    require_champion(story, api, 3)
    require_no_failures(visitors)
    story.run("lockgate runs", lines=8)
    story.note("better candidate", f"version 3 by canary; {visitors.answered()} requests answered, none failed")


def drift_and_retrain(story: Narrator, project: Path, api: str, visitors: Visitors) -> None:
    story.heading("Production changes: drift, alert, retraining")
    story.say("A new scanner is being tried: it gives every worst_* measurement in another unit, half as large again.")
    story.say(f"The first {NEW_ROWS} patients with their diagnosis come into data/patients.csv.")
    patients = project / "data" / "patients.csv"
    old = pl.read_csv(patients)
    new = pl.DataFrame(visitors.measure(NEW_ROWS, scale=NEW_UNIT), orient="row").rename({"label": LABEL})
    pl.concat([old, new.select(old.columns)], how="vertical_relaxed").write_csv(patients)
    story.run("lockgate check", exits=3, lines=6)
    story.say("The contract is right to refuse; its owner looks at the rows, widens it, and accepts the change.")
    story.run(f"lockgate check --infer data/patients.csv --output contracts/patients.yaml --label {LABEL} --force")
    story.run("lockgate check --accept patients")
    story.say("Then the scanner goes into service everywhere. Nobody tells us.")
    visitors.scale = NEW_UNIT
    alert = story.wait_for("drift alert", lambda: find_alert(api, "drift"), seconds=60)
    story.note("drift", alert["summary"])
    version = story.wait_for("retrained candidate", lambda: challenger_after(api, 3), seconds=90)
    story.note("retraining", f"the alert started a run; its candidate is version {version} and passed the gates")
    story.run("lockgate monitor --html ../monitor.html", lines=16)
    commit(story, "Rows of the new scanner")
    story.run(f"lockgate models compare {MODEL} 3 {version}", lines=24)
    story.run(f"lockgate approve {MODEL}@challenger --for production")
    story.run(f"lockgate deploy {MODEL}@challenger --to production", lines=20)
    require_champion(story, api, version)
    story.note("new champion", f"version {version} was trained on the new scanner's rows")


def failing_model(story: Narrator, project: Path, api: str, visitors: Visitors) -> None:
    story.heading("A model that passes its gates and fails in production")
    story.say("Somebody adds a check that every row of the data file passes. Then the scanner is turned up again.")
    stable = aliases(api)["champion"]
    edit(
        story,
        project / "src" / "train.py",
        {
            "model = HistGradientBoostingClassifier(": FAILING_STEP + "model = HistGradientBoostingClassifier(",
            "model.fit(features, label)": "model = make_pipeline(FunctionTransformer(known_range), model)"
            ".fit(features, label)",
        },
        show=False,
    )
    story.run("lockgate run", lines=24)
    story.run(f"lockgate approve {MODEL}@challenger --for production")
    visitors.scale = 3.0
    before = visitors.failed(str(stable))
    version = aliases(api)["challenger"]
    story.run(f"lockgate deploy {MODEL}@challenger --to production", exits=4, lines=20)
    require_champion(story, api, stable)
    if visitors.failed(str(stable)) != before or visitors.broken_connections:
        raise DidNotHappen(f"the stable share lost requests: {visitors.statuses}")
    story.note(
        "failing candidate",
        f"version {version} failed {visitors.failed(str(version))} requests and was rolled back by the canary, exit 4; "
        f"version {stable} failed none",
    )
    story.run("git checkout --quiet -- src/train.py")
    story.run("lockgate rollback production", lines=6)
    story.note("rollback by hand", "back on the release before, under traffic")
    if visitors.failed(str(stable)) != before or visitors.broken_connections:
        raise DidNotHappen(f"the rollback lost requests: {visitors.statuses}")


def look_back(story: Narrator, visitors: Visitors) -> None:
    story.heading("From one answer back to its data and commit")
    story.run(f"lockgate trace {visitors.last_prediction_id}", lines=24)
    story.note("trace", f"prediction {visitors.last_prediction_id} -> version -> run -> data digests -> commit")


def batch_and_ci(story: Narrator, project: Path) -> None:
    story.heading("Batch scoring, the report for a pull request, a pipeline for CI")
    story.run(f"lockgate predict {MODEL}@champion data/patients.csv ../scored.parquet")
    story.run(f"lockgate report {MODEL}@champion --format markdown", lines=24)
    story.run("lockgate ci init github")
    story.note("CI", ".github/workflows/lockgate.yml checks, trains, judges, and deploys from main")


def finish(story: Narrator, project: Path, api: str, serve_port: int, visitors: Visitors) -> None:
    html = story.run(f"lockgate report {MODEL}@champion --format html", lines=2).strip()
    metrics = fetch(f"http://127.0.0.1:{serve_port}/metrics")
    if metrics is None:
        raise DidNotHappen("the replica's /metrics did not answer")
    (project.parent / "metrics.txt").write_text(metrics)
    story.stop_all()
    story.heading("What happened")
    story.table(story.seen)
    story.heading("Where to look")
    story.table(
        [
            ("project", str(project)),
            ("gate report", html),
            ("drift page", str(project.parent / "monitor.html")),
            ("scored file", str(project.parent / "scored.parquet")),
            ("metrics", f"{project.parent / 'metrics.txt'} (live on :{serve_port}/metrics while `lockgate up` runs)"),
            ("log of lockgate up", str(project.parent / "up.log")),
            ("start it again", f"cd {project} && lockgate up    # pages on http://127.0.0.1:5000"),
        ]
    )
    seconds = time.monotonic() - story.started_at
    print(f"\n   {visitors.answered()} requests were answered meanwhile. {seconds:.0f} seconds.")


# -- what the steps are made of ---------------------------------------------------------------------------------------


def edit(story: Narrator, path: Path, changes: Mapping[str, str], *, show: bool = True) -> None:
    """Change a file of the project as its owner would."""
    text = path.read_text()
    for old, new in changes.items():
        if old not in text:
            raise DidNotHappen(f"{path.name} has no {old!r} to change")
        text = text.replace(old, new)
        if show:
            story.say(f"{path.name}: {old.strip()}  ->  {new.strip()}".replace("\n", " "))
    path.write_text(text)


def commit(story: Narrator, message: str) -> None:
    story.run("git add --all")
    story.run(f"git commit --quiet --message '{message}'")


def fetch(url: str) -> str | None:
    """The body of a page that answers 200; None for everything else."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError):
        return None


def ask(api: str, operation: str, **query: str) -> Any:  # JSON
    body = fetch(f"{api}/api/lockgate/1/{operation}?{urllib.parse.urlencode(query)}")
    if body is None:
        raise DidNotHappen(f"the API did not answer {operation}")
    return json.loads(body)


def aliases(api: str) -> dict[str, int]:
    return dict(ask(api, "registry/list-aliases", model=MODEL)["aliases"])


def challenger_after(api: str, version: int) -> int | None:
    found = aliases(api).get("challenger", 0)
    return found if found > version else None


def find_alert(api: str, kind: str) -> Any:  # JSON
    alerts = ask(api, "monitoring/list-alerts", model=MODEL).get("alerts", [])
    return next((alert for alert in alerts if alert["kind"] == kind), None)


def require_champion(story: Narrator, api: str, version: int) -> None:
    story.wait_for(f"champion is version {version}", lambda: aliases(api).get("champion") == version, seconds=60)


def require_no_failures(visitors: Visitors) -> None:
    failed = {key: n for key, n in visitors.statuses.items() if key[1] != 200}
    if failed or visitors.broken_connections:
        raise DidNotHappen(f"requests failed: {failed}, {visitors.broken_connections} broken connections")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
