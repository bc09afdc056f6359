import json
from pathlib import Path

import pytest

from lockgate.documents import parse_document
from lockgate.errors import InvalidInput, NotFound
from lockgate.project import (
    BoundGate,
    BudgetGate,
    ComparisonGate,
    Output,
    Project,
    Promote,
    Rollout,
    SliceGate,
    TestsGate,
    decode_project,
    duration_s,
    find_project,
    json_schema,
    load_project,
    output_paths,
)

HEAD = "model: churn\ntask: binary_classification\n"

WHOLE = """\
model: churn
task: binary_classification
data:
  customers: {path: data/customers.parquet, contract: contracts/customers.yaml}
stages:
  prepare:
    cmd: [python src/prepare.py, echo done]
    deps: [src/prepare.py, data/customers.parquet]
    outs: [build/train.parquet, {build/test.parquet: {cache: false}}]
    metrics: [{metrics.json: {cache: false, persist: true, desc: numbers}}]
    plots: [{plots.csv: {x: a, y: b}}, other.csv]
  train:
    cmd: python src/train.py
    wdir: sub
    deps: [src/train.py, build/train.parquet]
    params: [train, {other.yaml: [a.b, c]}, {whole.json: null}]
    model: build/model
    env: {OMP_NUM_THREADS: "1"}
    timeout: 1h
    retries: 2
    frozen: false
    always_changed: true
    desc: learns
    meta: {any: [thing]}
evaluate: {data: build/test.parquet, label: churned, positive: true, threshold: 0.4, metrics: [f1]}
gates:
  - {metric: roc_auc, min: 0.80}
  - {metric: log_loss, max: 0.5}
  - {metric: roc_auc, no_worse_than: champion, margin: 0.005, confidence: 0.9}
  - {metric: recall, better_than: champion, resamples: 500}
  - {metric: recall, slices: [contract], max_gap: 0.10, min_support: 20}
  - {latency_ms_p99: 20, size_mb: 50}
  - {tests: pytest tests/model, timeout: 2m}
environments:
  staging: {promote: automatic}
  production:
    promote: {approvals: 1}
    rollout: {strategy: canary, steps: [5, 25, 100], bake: 10m, false_rollback_rate: 0.01}
monitor:
  window: 1h
  drift: {false_alarms_per_year: 1}
  performance: {metric: roc_auc, min: 0.75, label_delay: 7d}
  health: {error_rate: 0.01, latency_ms_p99: 100}
retrain: {on: [data, drift, performance], schedule: "0 3 * * 1"}
alerts: [{url: env:ALERT_URL}]
"""


def decode(text: str) -> Project:
    return decode_project(parse_document(Path("lockgate.yaml"), text))


def error_of(text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        decode(text)
    return caught.value


def test_whole_file_decodes() -> None:
    project = decode(WHOLE)
    assert project.model == "churn"
    assert project.candidate_stage == "train"
    assert project.production == "production"
    assert project.stages["prepare"].cmd == ["python src/prepare.py", "echo done"]
    assert project.stages["train"].params == ["train", {"other.yaml": ["a.b", "c"]}, {"whole.json": None}]
    assert project.evaluate and project.evaluate.positive is True
    assert project.environments["staging"].is_automatic
    assert project.environments["staging"].approvals == 0
    assert project.environments["production"].approvals == 1
    assert project.environments["production"].promote == Promote(approvals=1)
    assert project.monitor and project.monitor.performance and project.monitor.performance.label_delay == "7d"


def test_every_kind_of_gate_is_told_by_its_keys() -> None:
    assert decode(WHOLE).gates == [
        BoundGate(metric="roc_auc", min=0.8),
        BoundGate(metric="log_loss", max=0.5),
        ComparisonGate(metric="roc_auc", no_worse_than="champion", margin=0.005, confidence=0.9),
        ComparisonGate(metric="recall", better_than="champion", resamples=500),
        SliceGate(metric="recall", slices=["contract"], max_gap=0.1, min_support=20),
        BudgetGate(latency_ms_p99=20, size_mb=50),
        TestsGate(tests="pytest tests/model", timeout="2m"),
    ]


def test_smallest_file_has_defaults_for_everything() -> None:
    project = decode(HEAD)
    assert project.candidate_stage is None
    assert project.production is None
    assert project.gates == []
    assert project.retrain.on == []


def test_outputs_are_outs_metrics_plots_and_the_model_with_their_options() -> None:
    stages = decode(WHOLE).stages
    assert list(output_paths(stages["prepare"])) == [
        ("build/train.parquet", Output()),
        ("build/test.parquet", Output(cache=False)),
        ("metrics.json", Output(cache=False, persist=True, desc="numbers")),
        ("plots.csv", Output()),
        ("other.csv", Output()),
    ]
    assert list(output_paths(stages["train"])) == [("build/model", Output())]


def test_model_that_is_also_an_out_is_one_output() -> None:
    stage = decode(HEAD + "stages:\n  a: {cmd: x, outs: [build/model], model: build/model}\n").stages["a"]
    assert [path for path, _ in output_paths(stage)] == ["build/model"]


def test_model_that_is_also_an_out_with_options_is_one_output() -> None:
    text = HEAD + "stages:\n  a: {cmd: x, outs: [{build/model: {persist: true}}], model: build/model}\n"
    assert list(output_paths(decode(text).stages["a"])) == [("build/model", Output(persist=True))]


@pytest.mark.parametrize(
    ("tail", "message", "hint"),
    [
        ("stagse: {}", ":3: unknown key 'stagse'.", "did you mean 'stages'?"),
        ("stages:\n  a: {cmd: x}\n  b:\n    cmd: y\n    dep: [z]", ":7: unknown key 'dep'.", "did you mean 'deps'?"),
        ("stages:\n  a: {cmd: x}\n  b: {cmd: 3}", ":5: expected `str | array`, got `int` at stages.b.cmd.", None),
        (
            "stages:\n  a:\n    cmd: x\n    outs:\n      - p\n      - q: {cahce: false}",
            ":8: unknown key 'cahce'.",
            "did you mean 'cache'?",
        ),
        ("stages:\n  a: {cmd: x, retries: -1}", ":4: expected `int` >= 0 at stages.a.retries.", None),
        (
            "stages:\n  a: {cmd: x, timeout: soon}",
            ":4: 'soon' is not a duration; write 500ms, 30s, 10m, 1h or 7d.",
            None,
        ),
        (
            "stages:\n  a: {cmd: x, model: m}\n  b:\n    cmd: x\n    model: n",
            ":7: two stages write a model: a and b; a project has one.",
            None,
        ),
        ("gates: 3", ":3: gates is a list: one mapping a gate.", None),
        ("gates:\n  - roc_auc", ":4: a gate is a mapping, not 'roc_auc'.", None),
        (
            "gates:\n  - {size_mb: 3}\n  - {}",
            ":5: an empty gate: name a metric, latency_ms_p99, size_mb or tests.",
            None,
        ),
        ("gates:\n  - {size_mb: 3}\n  - sise_mb: 2", ":5: unknown key 'sise_mb'.", "did you mean 'size_mb'?"),
        (
            "gates:\n  - metric: recall\n    no_worse_than: champoin",
            ":5: invalid enum value 'champoin' at no_worse_than.",
            "did you mean 'champion'?",
        ),
        (
            "gates:\n  - {metric: r, no_worse_than: champion, better_than: champion}",
            ":4: no_worse_than and better_than exclude each other.",
            None,
        ),
        ("gates:\n  - {metric: r, slices: [a]}", ":4: a gate on slices needs max_gap, min or max.", None),
        (
            "gates:\n  - {metric: roc_auc}",
            ":4: the gate on roc_auc asks for nothing: add min, max, or no_worse_than: champion.",
            None,
        ),
        (
            "gates:\n  - {metric: roc_auc, min: .nan}",
            ":4: min is a finite number, not nan; leave it out where there is no limit.",
            None,
        ),
        (
            "gates:\n  - {metric: r, no_worse_than: champion, confidence: 1.0}",
            ":4: expected `float` < 1.0 at confidence.",
            None,
        ),
        ("gates:\n  - {metric: r, min: 1}", ":3: gates on a metric need `evaluate: {data: ..., label: ...}`.", None),
        (
            "gates:\n  - {tests: pytest, timeout: 1x}",
            ":4: '1x' is not a duration; write 500ms, 30s, 10m, 1h or 7d.",
            None,
        ),
        (
            "environments:\n  p:\n    rollout: {strategy: canary, steps: [25, 5, 100]}",
            ":5: the steps of a canary rise and end with 100, not [25, 5, 100].",
            None,
        ),
        (
            "environments:\n  p:\n    rollout: {strategy: canary, steps: [5, 50]}",
            ":5: the steps of a canary rise and end with 100, not [5, 50].",
            None,
        ),
        (
            "environments:\n  p:\n    rollout:\n      strategy: canry",
            ":6: invalid enum value 'canry' at environments.p.rollout.strategy.",
            "did you mean 'canary'?",
        ),
        (
            "environments:\n  p: {promote: manual}",
            ":4: invalid enum value 'manual' at environments.p.promote.",
            "one of: automatic",
        ),
        (
            "environments:\n  p: {promote: {approvals: 21}}",
            ":4: expected `int` <= 20 at environments.p.promote.approvals.",
            None,
        ),
        (
            "environments:\n  p: {}\n  Champion: {}",
            ":5: 'Champion' cannot name an environment: Lockgate moves the alias of that name by itself.",
            None,
        ),
        (
            "environments:\n  latest: {}",
            ":4: 'latest' cannot name an environment, which has an alias of its name: "
            "'latest' alias name (case insensitive) is reserved.",
            None,
        ),
        (
            "environments:\n  v1: {}",
            ":4: 'v1' cannot name an environment, which has an alias of its name: Version alias name 'v1' is reserved.",
            None,
        ),
        (
            "environments:\n  eu.west: {}",
            ":4: 'eu.west' cannot name an environment, which has an alias of its name: Invalid alias name: 'eu.west'. "
            "Names may only contain alphanumerics, underscores (_), and dashes (-).",
            None,
        ),
        (
            "environments:\n  eu: {}\n  EU: {}",
            ":5: the environments 'eu' and 'EU' differ in capitals alone.",
            None,
        ),
        ("environments:\n  p: {promote: {aprovals: 1}}", ":4: unknown key 'aprovals'.", "did you mean 'approvals'?"),
        ("environments: {p: {}}\nmonitor:\n  environment: q", ":5: there is no environment 'q'; there are: p.", None),
        ("monitor: {window: -1h}", ":3: '-1h' is not a duration; write 500ms, 30s, 10m, 1h or 7d.", None),
        ("monitor: {window: 0s}", ":3: window is at least 1s, not 0s.", None),
        ("monitor:\n  window: 1ms", ":4: window is at least 1s, not 1ms.", None),
        ("stages: {a: {cmd: x, timeout: 0s}}", ":3: timeout is at least 1ms, not 0s.", None),
        ("gates: [{tests: x, timeout: 0m}]", ":3: timeout is at least 1ms, not 0m.", None),
        ("retrain: {schedule: daily}", ":3: 'daily' is no schedule: five cron fields in UTC, as in '0 3 * * 1'.", None),
        ("retrain:\n  on: [dat]", ":4: invalid enum value 'dat' at retrain.on.0.", "did you mean 'data'?"),
    ],
)
def test_each_mistake_is_named_with_its_line(tail: str, message: str, hint: str | None) -> None:
    error = error_of(HEAD + tail)
    assert (error.message, error.hint) == (f"lockgate.yaml{message}", hint)


def test_not_to_watch_or_wait_at_all_is_allowed() -> None:
    tail = "environments: {p: {rollout: {bake: 0s}}}\nretrain: {cooldown: 0s}\n"
    tail += "monitor: {window: 1s, performance: {metric: auc, label_delay: 0s}}\n"
    project = decode(HEAD + tail)
    assert project.environments["p"].rollout.bake_s == 0


def test_names_that_could_not_be_paths_are_refused() -> None:
    assert "model" in error_of("model: ../x\ntask: regression").message
    assert "environments.a b" in error_of(HEAD + "environments:\n  a b: {}").message


def test_list_instead_of_mapping_is_refused() -> None:
    assert error_of("- a").message == "lockgate.yaml:1: expected a mapping with at least the keys model and task."


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("10m", 600), ("1.5h", 5400), ("7d", 604_800), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "s", "ms", "1 h", "-1s", "1x", "10mm", "infs", "nans", "1e3s", "1_0s", "٣s", "1s\n"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a duration"):
        duration_s(text)


def test_project_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    (tmp_path / "lockgate.yaml").write_text(HEAD)
    inner = tmp_path / "src" / "deep"
    inner.mkdir(parents=True)
    assert find_project(inner) == tmp_path
    assert load_project(tmp_path).state == tmp_path / ".lockgate"


def test_missing_project_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        find_project(tmp_path)
    assert caught.value.hint == "lockgate init"


def test_default_rollout_is_legal() -> None:
    assert Rollout().steps[-1] == 100


def test_a_canary_bakes_unless_told_otherwise_and_replace_only_when_told() -> None:
    assert (Rollout(strategy="canary").bake_s, Rollout().bake_s) == (600.0, 0.0)
    assert [Rollout(strategy=strategy, bake="30s").bake_s for strategy in ("canary", "replace")] == [30.0, 30.0]


def test_a_schedule_may_begin_with_seconds() -> None:
    text = "model: churn\ntask: regression\nretrain: {schedule: '*/30 * * * * *'}\n"
    assert decode(text).retrain.schedule == "*/30 * * * * *"


def test_json_schema_knows_every_top_level_key_and_every_gate() -> None:
    schema = json_schema()
    json.dumps(schema)
    properties = schema["$defs"]["Project"]["properties"]
    assert set(properties) == set(Project.__struct_fields__)
    gates = {ref["$ref"].rpartition("/")[2] for ref in properties["gates"]["items"]["anyOf"]}
    assert gates == {"BoundGate", "ComparisonGate", "SliceGate", "BudgetGate", "TestsGate"}
    assert gates <= set(schema["$defs"])
