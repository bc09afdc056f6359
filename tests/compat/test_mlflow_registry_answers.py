"""Registry requests and the answers that MLflow 3.17's own server gives to them, written down from it.

Where Lockgate answers otherwise on purpose the test says so in its name or beside the line.
"""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

BAD, MISSING, TAKEN = (
    (400, "INVALID_PARAMETER_VALUE"),
    (404, "RESOURCE_DOES_NOT_EXIST"),
    (400, "RESOURCE_ALREADY_EXISTS"),
)
OK = (200, "")

Body = dict[str, Any]
Ask = Callable[[str, str, Body], tuple[int, Any]]
RUN = "a" * 32


@pytest.fixture
def ask(url: str) -> Iterator[Ask]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)

    def send(method: str, path: str, body: Body) -> tuple[int, Any]:
        target = f"/api/2.0/mlflow/{path}"
        if method == "GET":
            connection.request(method, f"{target}?{urlencode(body, doseq=True)}")
        else:
            headers = {"Content-Type": "application/json"}
            connection.request(method, target, body=json.dumps(body).encode(), headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    yield send
    for filter_ in ("", "tags.`mlflow.prompt.is_prompt` = 'true'"):
        for found in send("GET", "registered-models/search", {"filter": filter_})[1].get("registered_models", []):
            send("DELETE", "registered-models/delete", {"name": found["name"]})
    connection.close()


def verdict(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1].get("error_code", "")


def model(ask: Ask, name: str = "m", versions: int = 0) -> None:
    assert ask("POST", "registered-models/create", {"name": name})[0] == 200
    for _ in range(versions):
        assert ask("POST", "model-versions/create", {"name": name, "source": "s3://b/x"})[0] == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "m"}, TAKEN),
        ({}, BAD),
        ({"name": ""}, BAD),
        ({"name": "  "}, BAD),
        ({"name": None}, BAD),
        ({"name": 5}, BAD),
        ({"name": "a:b"}, BAD),
        ({"name": ".."}, BAD),
        ({"name": "."}, BAD),
        ({"name": "x" * 256}, OK),
        ({"name": "é ü", "description": "d" * 6000}, OK),
        ({"name": "n", "description": 5}, BAD),
        ({"name": "n", "tags": "x"}, BAD),
        ({"name": "n", "tags": [{"key": "", "value": "v"}]}, BAD),
        ({"name": "n", "tags": [{"key": "k" * 250, "value": "v"}]}, OK),
        ({"name": "n", "tags": [{"key": "k" * 251, "value": "v"}]}, BAD),
        ({"name": "n", "tags": [{"key": "k", "value": "v" * 100_000}]}, OK),
        ({"name": "n", "tags": [{"key": "k", "value": "v" * 100_001}]}, BAD),
        ({"name": "n", "tags": [{"key": "a b/c.d-e_f:g", "value": ""}]}, OK),
        ({"name": "n", "tags": [{"key": "a=b", "value": ""}]}, BAD),
    ],
)
def test_creating_a_model(ask: Ask, body: Body, expected: tuple[int, str]) -> None:
    model(ask)
    assert verdict(ask("POST", "registered-models/create", body)) == expected


@pytest.mark.parametrize(("name", "expected"), [("a/b", OK), ("a@b", BAD), ("a\\b", BAD), ("a\nb", BAD), ("a//b", BAD)])
def test_names_are_judged_otherwise_than_by_mlflow(ask: Ask, name: str, expected: tuple[int, str]) -> None:
    """A slash makes a folder; @ and control characters, which MLflow takes, have no place in `churn@champion`."""
    assert verdict(ask("POST", "registered-models/create", {"name": name})) == expected


def test_the_last_of_two_equal_tags_stands(ask: Ask) -> None:
    tags = [{"key": "k", "value": "v"}, {"key": "k", "value": "w"}]
    answer = ask("POST", "registered-models/create", {"name": "m", "tags": tags})[1]["registered_model"]
    assert answer["tags"] == [{"key": "k", "value": "w"}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "m", "new_name": "n"}, OK),
        ({"name": "m", "new_name": "m"}, OK),
        ({"name": "m", "new_name": "other"}, TAKEN),
        ({"name": "m", "new_name": ""}, BAD),
        ({"name": "m"}, BAD),
        ({"name": "nobody", "new_name": "n"}, MISSING),
    ],
)
def test_renaming_a_model(ask: Ask, body: Body, expected: tuple[int, str]) -> None:
    model(ask, versions=1)
    model(ask, "other")
    assert verdict(ask("POST", "registered-models/rename", body)) == expected


def test_an_update_without_a_description_removes_it(ask: Ask) -> None:
    ask("POST", "registered-models/create", {"name": "m", "description": "d"})
    assert "description" not in ask("PATCH", "registered-models/update", {"name": "m"})[1]["registered_model"]
    ask("POST", "model-versions/create", {"name": "m", "source": "s3://b/x", "description": "d"})
    version = ask("PATCH", "model-versions/update", {"name": "m", "version": "1"})[1]["model_version"]
    assert not version.get("description")


def test_a_version_has_its_empty_fields(ask: Ask) -> None:
    """Clients tell an empty text from none."""
    model(ask)
    version = ask("POST", "model-versions/create", {"name": "m", "source": "s3://b/x"})[1]["model_version"]
    del version["creation_timestamp"], version["last_updated_timestamp"], version["user_id"]
    assert version == {
        "name": "m",
        "version": "1",
        "current_stage": "None",
        "description": "",
        "source": "s3://b/x",
        "run_id": "",
        "status": "READY",
        "run_link": "",
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"source": "s3://b/x/"}, OK),
        ({"source": "s3://b//x"}, OK),
        ({"source": "custom-scheme://x/y"}, OK),
        ({"source": "dbfs:/x", "run_id": "zzz"}, OK),
        ({"source": f"runs:/{RUN}/model", "run_id": RUN}, OK),
        ({"source": "models:/m/1"}, OK),
        ({"source": "Models:///m/1"}, OK),
        ({"source": "models:/m/latest"}, OK),
        ({"source": "models:/m@latest"}, OK),
        ({}, BAD),
        ({"source": ""}, BAD),
        ({"source": " "}, BAD),
        ({"source": "s3://b"}, BAD),
        ({"source": "weird"}, BAD),
        ({"source": "relative/x"}, BAD),
        ({"source": "/etc/passwd"}, BAD),
        ({"source": "file:///etc"}, BAD),
        ({"source": "http://h/x"}, BAD),
        ({"source": "s3://b/../x"}, BAD),
        ({"source": "s3:/b/./x"}, BAD),
        ({"source": "s3://b/x%2f..%2fy"}, BAD),
        ({"source": "s3://b/x%252f..%252fy"}, BAD),
        ({"source": "runs:/abc/model"}, BAD),
        ({"source": f"runs:///{RUN}/model"}, BAD),
        ({"source": f"runs://{RUN}/model"}, BAD),
        ({"source": f"runs://{RUN}/model", "run_id": RUN}, BAD),
        ({"source": f"RUNS:/{RUN}/model", "run_id": "RUNS:"}, BAD),
        ({"source": f"runs:/{RUN}/model", "run_id": "b" * 32}, BAD),
        ({"source": "mlflow-artifacts:/0/x"}, BAD),
        ({"source": "mlflow-artifacts:/0/x", "run_id": RUN}, BAD),
        ({"source": "models:/m@nobody"}, BAD),
        ({"source": "models://m/1"}, BAD),
        ({"source": "models:/m/1", "run_id": "zzz"}, BAD),
        ({"source": "models:/prompt/1"}, BAD),
        ({"source": "models:/m/99"}, MISSING),
        ({"source": f"models:/m/{'9' * 5000}"}, MISSING),
        ({"source": "models:/m/²"}, BAD),
        ({"source": "s3://[::1%5D/x"}, BAD),
        ({"source": "models:/nobody/1"}, MISSING),
        ({"source": "s3://b/x", "model_id": "m-none"}, MISSING),
        ({"source": "models:/m/Production"}, MISSING),  # MLflow: 500
        ({"source": f"models:/m-{'0' * 32}"}, BAD),
        ({"source": f"models:/m-{'0' * 32}", "model_id": f"m-{'0' * 32}"}, MISSING),  # MLflow: 500
        ({"source": "s3://b/z", "tags": [{"key": "", "value": "x"}]}, BAD),
        ({"source": "s3://b/z", "tags": [{"key": "k"}]}, OK),
    ],
)
def test_the_source_of_a_version_belongs_to_who_registers_it(ask: Ask, body: Body, expected: tuple[int, str]) -> None:
    model(ask, versions=1)
    is_prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    ask("POST", "registered-models/create", {"name": "prompt", "tags": is_prompt})
    made = ask("POST", "model-versions/create", {"name": "prompt", "source": "dummy-source", "tags": is_prompt})
    assert made[0] == 200
    assert verdict(ask("POST", "model-versions/create", {"name": "m", **body})) == expected


def test_files_of_another_run_are_no_source(ask: Ask) -> None:
    def run() -> tuple[str, str]:
        info = ask("POST", "runs/create", {"experiment_id": "0"})[1]["run"]["info"]
        return info["run_id"], info["artifact_uri"]

    model(ask)
    (mine, my_files), (_, their_files) = run(), run()

    def register(source: str) -> tuple[int, str]:
        return verdict(ask("POST", "model-versions/create", {"name": "m", "source": source, "run_id": mine}))

    assert register(f"{my_files}/model") == OK
    assert register(f"{their_files}/model") == BAD
    assert register(f"{my_files}-more/model") == BAD
    assert register(f"{my_files}/%2e%2e/model") == BAD


def test_a_logged_model_is_a_source_for_who_names_it(ask: Ask) -> None:
    """With its id in `model_id` any run may be named, as MLflow's server has it; without it none."""
    model(ask)
    run = ask("POST", "runs/create", {"experiment_id": "0"})[1]["run"]["info"]["run_id"]
    made = ask("POST", "logged-models", {"experiment_id": "0", "name": "net", "source_run_id": run})[1]["model"]["info"]
    source = f"models:/{made['model_id']}"

    def register(**given: str) -> tuple[int, Any]:
        return ask("POST", "model-versions/create", {"name": "m", "source": source, **given})

    for named in ({}, {"model_id": ""}, {"model_id": f"m-{'0' * 32}"}):
        for runs in ({}, {"run_id": run}, {"run_id": RUN}):
            answer = register(**named, **runs)
            assert verdict(answer) == BAD
            assert answer[1]["message"] == (
                f"Invalid model version source: '{source}'. "
                "The model_id request parameter must identify the resource that contains the source."
            )
    for runs, recorded in (({}, run), ({"run_id": run}, run), ({"run_id": RUN}, RUN)):
        answer = register(model_id=made["model_id"], **runs)
        assert answer[1]["model_version"]["run_id"] == recorded


def test_a_copy_remembers_where_the_files_are_when_what_it_copied_is_gone(ask: Ask) -> None:
    model(ask, versions=1)
    model(ask, "copy")
    ask("POST", "model-versions/create", {"name": "copy", "source": "models:/m/latest"})
    again = ask("POST", "model-versions/create", {"name": "copy", "source": "models:/copy/1"})[1]["model_version"]
    assert again["source"] == "models:/copy/1"
    ask("DELETE", "model-versions/delete", {"name": "m", "version": "1"})
    ask("DELETE", "model-versions/delete", {"name": "copy", "version": "1"})
    where = ask("GET", "model-versions/get-download-uri", {"name": "copy", "version": "2"})
    assert where == (200, {"artifact_uri": "s3://b/x"})


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1", OK),
        ("01", OK),
        (" 1", OK),
        ("99", MISSING),
        ("0", MISSING),
        ("-1", MISSING),
        ("9" * 30, MISSING),  # MLflow: 500
        ("x", BAD),
        ("", BAD),
        ("1.0", BAD),
    ],
)
@pytest.mark.parametrize("path", ["model-versions/get", "model-versions/get-download-uri"])
def test_reading_a_version(ask: Ask, path: str, version: str, expected: tuple[int, str]) -> None:
    model(ask, versions=1)
    assert verdict(ask("GET", path, {"name": "m", "version": version})) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"key": "a", "value": "b"}, OK),
        ({"key": "a"}, OK),
        ({"key": "a", "value": None}, OK),
        ({"key": "k" * 250, "value": "b"}, OK),
        ({"key": "k" * 251, "value": "b"}, BAD),
        ({"key": "b", "value": "v" * 100_000}, OK),
        ({"key": "b", "value": "v" * 100_001}, BAD),
        ({"key": "", "value": "b"}, BAD),
        ({"value": "b"}, BAD),
        ({"key": "../x", "value": "v"}, BAD),
        ({"key": "/x", "value": "v"}, BAD),
        ({"key": "x?", "value": "v"}, BAD),
        ({"key": "n", "value": 5}, BAD),
        ({"name": "nobody", "key": "a", "value": "b"}, MISSING),
    ],
)
@pytest.mark.parametrize("path", ["registered-models/set-tag", "model-versions/set-tag"])
def test_setting_a_tag(ask: Ask, path: str, body: Body, expected: tuple[int, str]) -> None:
    model(ask, versions=1)
    assert verdict(ask("POST", path, {"name": "m", "version": "1", **body})) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"key": "a"}, OK), ({"key": "never"}, OK), ({"key": ""}, BAD), ({}, BAD), ({"name": "no", "key": "a"}, MISSING)],
)
@pytest.mark.parametrize("path", ["registered-models/delete-tag", "model-versions/delete-tag"])
def test_deleting_a_tag(ask: Ask, path: str, body: Body, expected: tuple[int, str]) -> None:
    model(ask, versions=1)
    assert verdict(ask("DELETE", path, {"name": "m", "version": "1", **body})) == expected


@pytest.mark.parametrize(
    ("alias", "set_", "read"),
    [
        ("champ", OK, OK),
        ("12a", OK, OK),
        ("a_b-C", OK, OK),
        ("é", OK, OK),
        ("x" * 255, OK, OK),
        ("x" * 256, BAD, BAD),
        ("latest", BAD, OK),
        ("Latest", BAD, OK),
        ("v1", BAD, BAD),
        ("V12", BAD, BAD),
        ("a b", BAD, BAD),
        ("a/b", BAD, BAD),
        ("", BAD, BAD),
        ("2", OK, OK),
        ("a.b", BAD, BAD),
    ],
)
def test_setting_and_reading_an_alias(ask: Ask, alias: str, set_: tuple[int, str], read: tuple[int, str]) -> None:
    model(ask, versions=2)
    body = {"name": "m", "alias": alias, "version": "1"}
    assert verdict(ask("POST", "registered-models/alias", body)) == set_
    answer = ask("GET", "registered-models/alias", {"name": "m", "alias": alias})
    assert verdict(answer) == read
    if read == OK:
        assert answer[1]["model_version"]["version"] == ("2" if alias.lower() == "latest" else "1")


def test_an_alias_that_is_not_there(ask: Ask) -> None:
    model(ask)
    assert verdict(ask("GET", "registered-models/alias", {"name": "m", "alias": "champ"})) == BAD
    assert verdict(ask("GET", "registered-models/alias", {"name": "nobody", "alias": "champ"})) == MISSING
    assert verdict(ask("GET", "registered-models/alias", {"name": "m", "alias": "latest"})) == MISSING
    assert verdict(ask("DELETE", "registered-models/alias", {"name": "m", "alias": "champ"})) == OK
    assert verdict(ask("DELETE", "registered-models/alias", {"name": "nobody", "alias": "champ"})) == MISSING


@pytest.mark.parametrize(("version", "expected"), [("2", OK), ("99", MISSING), ("x", BAD), ("", BAD)])
def test_moving_an_alias(ask: Ask, version: str, expected: tuple[int, str]) -> None:
    model(ask, versions=2)
    ask("POST", "registered-models/alias", {"name": "m", "alias": "champ", "version": "1"})
    body = {"name": "m", "alias": "champ", "version": version}
    assert verdict(ask("POST", "registered-models/alias", body)) == expected
    named = ask("GET", "registered-models/get", {"name": "m"})[1]["registered_model"]["aliases"]
    assert named == [{"alias": "champ", "version": "2" if expected == OK else "1"}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"stage": "Staging"}, OK),
        ({"stage": "PRODUCTION"}, OK),
        ({"stage": "None"}, OK),
        ({"stage": "Production", "archive_existing_versions": True}, OK),
        ({"stage": "Archived", "archive_existing_versions": True}, BAD),  # MLflow: 500
        ({"stage": "Nope"}, BAD),
        ({"stage": ""}, BAD),
        ({}, BAD),
        ({"stage": "Staging", "archive_existing_versions": "x"}, BAD),
        ({"stage": "Staging", "version": "99"}, MISSING),
    ],
)
def test_moving_a_version_to_a_stage(ask: Ask, body: Body, expected: tuple[int, str]) -> None:
    model(ask, versions=1)
    request = {"name": "m", "version": "1", **body}
    assert verdict(ask("POST", "model-versions/transition-stage", request)) == expected


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_latest_version_of_each_stage(ask: Ask, method: str) -> None:
    model(ask, versions=3)
    ask("POST", "model-versions/transition-stage", {"name": "m", "version": "1", "stage": "production"})

    def latest(**more: Any) -> list[tuple[str, str]]:
        answer = ask(method, "registered-models/get-latest-versions", {"name": "m", **more})[1]
        return [(item["version"], item["current_stage"]) for item in answer.get("model_versions", [])]

    assert latest() == latest(stages=[]) == [("1", "Production"), ("3", "None")]
    ask("POST", "model-versions/transition-stage", {"name": "m", "version": "2", "stage": "Staging"})
    ask("POST", "model-versions/create", {"name": "m", "source": "s3://bucket/m"})
    ask("POST", "model-versions/transition-stage", {"name": "m", "version": "4", "stage": "Production"})
    by_oldest = [("4", "Production"), ("2", "Staging"), ("3", "None")]
    assert latest() == by_oldest
    assert latest(stages=["None", "Staging"]) == by_oldest[1:]
    for version in ("2", "4"):
        ask("POST", "model-versions/transition-stage", {"name": "m", "version": version, "stage": "None"})
    assert latest(stages=["PRODUCTION", "Staging"]) == [("1", "Production")]
    assert latest(stages=["Staging"]) == []
    for body, expected in (({"name": "m", "stages": ["x"]}, BAD), ({"name": "no"}, MISSING), ({}, BAD)):
        assert verdict(ask(method, "registered-models/get-latest-versions", body)) == expected


def test_deleting_a_version_and_a_model(ask: Ask) -> None:
    model(ask, versions=2)
    for body, expected in (
        ({"name": "m", "version": "2"}, OK),
        ({"name": "m", "version": "2"}, MISSING),
        ({"name": "m", "version": "x"}, BAD),
        ({"name": "m"}, BAD),
        ({"name": "nobody", "version": "1"}, MISSING),
    ):
        assert verdict(ask("DELETE", "model-versions/delete", body)) == expected
    newest = ask("POST", "model-versions/create", {"name": "m", "source": "s3://b/x"})[1]["model_version"]
    assert newest["version"] == "3"  # a number is never given twice
    for body, expected in (({"name": "m"}, OK), ({"name": "m"}, MISSING), ({}, BAD)):
        assert verdict(ask("DELETE", "registered-models/delete", body)) == expected
    model(ask, versions=1)
    assert ask("GET", "model-versions/get", {"name": "m", "version": "1"})[0] == 200  # a new model begins at 1


def test_a_prompt_and_a_model_share_no_name(ask: Ask) -> None:
    is_prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    model(ask)
    status, answer = ask("POST", "registered-models/create", {"name": "m", "tags": is_prompt})
    assert (status, answer["error_code"]) == TAKEN
    assert answer["message"] == "the registered model 'm' exists already, so there can be no prompt of that name."
    source = {"name": "p", "source": "s3://x", "tags": is_prompt}
    ask("POST", "registered-models/create", {"name": "p", "tags": is_prompt})
    assert verdict(ask("POST", "model-versions/create", source)) == BAD
    assert verdict(ask("POST", "model-versions/create", {**source, "source": "dummy-source"})) == OK


def test_an_encoded_slash_stands_for_a_folder(ask: Ask) -> None:
    """MLflow's clients take URIs apart at slashes and refuse names with one: `models:/team%2Fchurn@champ` works."""
    model(ask, "team/churn", versions=1)
    ask("POST", "registered-models/alias", {"name": "team%2Fchurn", "alias": "champ", "version": "1"})
    found = ask("GET", "registered-models/alias", {"name": "team%2fchurn", "alias": "champ"})[1]["model_version"]
    assert (found["name"], found["version"], found["aliases"]) == ("team/churn", "1", ["champ"])
    for source in ("models:/team/churn/1", "models:/team%2Fchurn/1", "models:/team/churn@champ"):
        copied = ask("POST", "model-versions/create", {"name": "team%2Fchurn", "source": source})[1]["model_version"]
        assert copied["source"] == "models:/team/churn/1"


@pytest.mark.parametrize(
    ("filter_", "count"),
    [
        ("name = 'team%2Fchurn'", 1),
        ("name IN ('team%2fchurn', 'x')", 1),
        ("name != 'team%2Fchurn'", 0),
        ("name LIKE 'team%2Fchurn'", 0),  # any text, then 2Fchurn
        ("name LIKE 'team%churn'", 1),
    ],
)
def test_an_encoded_slash_in_a_filter_stands_for_a_folder(ask: Ask, filter_: str, count: int) -> None:
    model(ask, "team/churn", versions=1)
    for path, field in (("registered-models", "registered_models"), ("model-versions", "model_versions")):
        assert len(ask("GET", f"{path}/search", {"filter": filter_})[1].get(field, [])) == count


@pytest.mark.parametrize(
    ("path", "size", "expected"),
    [
        ("registered-models/search", 1000, OK),
        ("registered-models/search", 1001, BAD),
        ("registered-models/search", "x", BAD),
        ("registered-models/search", 0, BAD),  # MLflow: an empty page with a token that leads to the same again
        ("model-versions/search", 0, BAD),
        ("model-versions/search", 200_000, OK),
        ("model-versions/search", 200_001, BAD),
    ],
)
def test_pages_have_a_bound(ask: Ask, path: str, size: object, expected: tuple[int, str]) -> None:
    assert verdict(ask("GET", path, {"max_results": size})) == expected


@pytest.mark.parametrize(("path", "size"), [("registered-models/search", 1001), ("model-versions/search", 200_001)])
def test_a_page_beyond_its_bound_is_refused_in_words_of_mlflow(ask: Ask, path: str, size: int) -> None:
    """The hint is ours."""
    assert ask("GET", path, {"max_results": size})[1] == {
        "error_code": "INVALID_PARAMETER_VALUE",
        "message": f"Invalid value \"{size}\" for parameter 'max_results' supplied:  Hint: Value was of type 'str'. "
        "See the API docs for more information about request parameters.",
        "hint": f"ask for at most {size - 1}, and with the page token for those that follow",
        "sqlstate": "KAM00",
        "error_class": "INVALID_PARAMETER_VALUE",
    }


PROMPT = "mlflow.prompt.is_prompt"
EVERY_MODEL, EVERY_VERSION = "guess m no upper", "guess:1 m:1 m:2 no:1 no:2"


@pytest.fixture
def prompt_among_models(ask: Ask) -> None:
    """`p` is a prompt; the tag of the others says many things, and not that they are."""
    for name, tag, tags_of_versions in (
        ("m", "", ("", "")),
        ("no", "false", ("false", "")),
        ("upper", "True", ()),
        ("guess", "maybe", ("",)),
        ("p", "true", ("true", "true")),
    ):
        tags = [{"key": PROMPT, "value": tag}] if tag else []
        ask("POST", "registered-models/create", {"name": name, "tags": tags})
        for value in tags_of_versions:
            body = {"name": name, "source": "dummy-source" if value == "true" else "s3://b/x"}
            tags = [{"key": PROMPT, "value": value}] if value else []
            assert verdict(ask("POST", "model-versions/create", {**body, "tags": tags})) == OK


@pytest.fixture
def find(ask: Ask, prompt_among_models: None) -> Callable[..., str]:
    def search(path: str, filter_: str, order_by: tuple[str, ...]) -> str:
        request = {"filter": filter_.replace("PROMPT", f"tags.`{PROMPT}`"), "order_by": order_by}
        status, answer = ask("GET", path, request)
        if status != 200:
            return str(answer["error_code"])
        if path == "registered-models/search":
            return " ".join(found["name"] for found in answer.get("registered_models", ()))
        return " ".join(f"{found['name']}:{found['version']}" for found in answer.get("model_versions", ()))

    return search


@pytest.mark.parametrize(
    ("filter_", "models", "versions"),
    [
        ("", EVERY_MODEL, EVERY_VERSION),
        ("name = 'p'", "", ""),
        ("name LIKE '%'", EVERY_MODEL, EVERY_VERSION),
        ("PROMPT = 'true'", "p", "p:1 p:2"),
        ("name LIKE '%' AND PROMPT = 'true'", "p", "p:1 p:2"),
        ("PROMPT = 'True'", "upper", ""),  # asks in any case, and is then compared as it stands
        ("PROMPT = 'TRUE'", "", ""),
        ("PROMPT != 'false'", "guess p upper", "p:1 p:2"),
        ("PROMPT != 'FALSE'", "guess no p upper", "no:1 p:1 p:2"),
        ("PROMPT != 'true'", EVERY_MODEL, EVERY_VERSION),
        ("PROMPT = 'false'", EVERY_MODEL, EVERY_VERSION),
        ("PROMPT = 'maybe'", EVERY_MODEL, EVERY_VERSION),
        ("PROMPT != 'maybe'", EVERY_MODEL, EVERY_VERSION),
        ("PROMPT LIKE 'true'", EVERY_MODEL, EVERY_VERSION),
        ("PROMPT ILIKE 'x' AND name = 'm'", "m", "m:1 m:2"),
        ("PROMPT = 'true' AND PROMPT != 'true'", "", ""),
        ("PROMPT != 'true' AND PROMPT = 'true'", EVERY_MODEL, EVERY_VERSION),  # the first decides
        ("PROMPT = 5", "INVALID_PARAMETER_VALUE", "INVALID_PARAMETER_VALUE"),
        ("PROMPT > 'a'", "INVALID_PARAMETER_VALUE", "INVALID_PARAMETER_VALUE"),
    ],
)
def test_prompts_are_found_by_who_asks_for_them(
    find: Callable[..., str], filter_: str, models: str, versions: str
) -> None:
    assert find("registered-models/search", filter_, ()) == models
    assert find("model-versions/search", filter_, ("name", "version_number")) == versions


@pytest.mark.parametrize(
    ("filter_", "models", "versions"),
    [
        ("PROMPT IN ('true')", "p", "p:1 p:2"),
        ("PROMPT IS NOT NULL", "guess no p upper", "no:1 p:1 p:2"),
        ("PROMPT IS NULL", "m", "guess:1 m:1 m:2 no:2"),
        ("name = 'm' OR PROMPT = 'true'", "m p", "m:1 m:2 p:1 p:2"),
        ("name = 'm' OR PROMPT != 'true'", "guess m no upper", "m:1 m:2 no:1"),
        ("NOT PROMPT = 'true'", EVERY_MODEL, EVERY_VERSION),
        ("NOT PROMPT != 'true'", "m p", "guess:1 m:1 m:2 no:2 p:1 p:2"),
        ("name = 'm' OR name = 'p'", "m", "m:1 m:2"),
    ],
)
def test_what_only_our_filters_say_of_prompts_means_what_it_says(
    find: Callable[..., str], filter_: str, models: str, versions: str
) -> None:
    """MLflow refuses all of these."""
    assert find("registered-models/search", filter_, ()) == models
    assert find("model-versions/search", filter_, ("name", "version_number")) == versions


def test_one_version_with_the_tag_of_prompts_hides_all_of_its_name(ask: Ask, find: Callable[..., str]) -> None:
    ask("POST", "model-versions/set-tag", {"name": "m", "version": "2", "key": PROMPT, "value": "true"})
    assert find("model-versions/search", "", ("name", "version_number")) == "guess:1 no:1 no:2"
    assert find("registered-models/search", "", ()) == EVERY_MODEL


@pytest.mark.parametrize(
    ("order_by", "found"),
    [
        ((), "no:1 no:2 m:2 m:1"),  # the latest changed first
        (("last_updated_timestamp",), "m:1 m:2 no:2 no:1"),
        (("name",), "m:2 m:1 no:2 no:1"),
        (("name DESC",), "no:2 no:1 m:2 m:1"),
        (("name DESC", "version_number"), "no:1 no:2 m:1 m:2"),
        (("version_number",), "m:1 no:1 m:2 no:2"),
        (("version_number DESC",), "m:2 no:2 m:1 no:1"),
        (("version_number DESC", "name DESC"), "no:2 m:2 no:1 m:1"),
        (("description",), "INVALID_PARAMETER_VALUE"),
    ],
)
def test_order_of_versions(ask: Ask, find: Callable[..., str], order_by: tuple[str, ...], found: str) -> None:
    changed = 0
    for name, version in (("m", "1"), ("m", "2"), ("no", "2"), ("no", "1")):
        before, body = changed, {"name": name, "version": version, "description": "d"}
        while changed == before:  # the clock counts milliseconds, and equal times are no order
            changed = ask("PATCH", "model-versions/update", body)[1]["model_version"]["last_updated_timestamp"]
    assert find("model-versions/search", "name IN ('m', 'no')", order_by) == found


@pytest.mark.parametrize(
    ("order_by", "found"),
    [
        ((), "guess m no upper"),
        (("name DESC",), "upper no m guess"),
        (("timestamp",), "no upper guess m"),
        (("last_updated_timestamp DESC",), "m guess upper no"),
        (("name", "timestamp DESC"), "guess m no upper"),
    ],
)
def test_order_of_models(ask: Ask, find: Callable[..., str], order_by: tuple[str, ...], found: str) -> None:
    changed = 0
    for name in ("no", "upper", "guess", "m"):
        before, body = changed, {"name": name, "description": "d"}
        while changed == before:
            changed = ask("PATCH", "registered-models/update", body)[1]["registered_model"]["last_updated_timestamp"]
    assert find("registered-models/search", "", order_by) == found


@pytest.mark.parametrize(
    ("comparison", "found"),
    [
        ("= 1", "m:1 no:1"),
        ("= '1'", "m:1 no:1"),
        ('= "1"', "m:1 no:1"),
        ("= ' +01 '", "m:1 no:1"),
        ("!= '1'", "m:2 no:2"),
        (">= '2'", "m:2 no:2"),
        ("< 2", "m:1 no:1"),
        ("> -1", "m:1 m:2 no:1 no:2"),
        ("= 99999999999", ""),
        ("!= '99999999999'", "m:1 m:2 no:1 no:2"),
        ("= 1.0", "INVALID_PARAMETER_VALUE"),
        ("> 1.5", "INVALID_PARAMETER_VALUE"),
        ("< 1e3", "INVALID_PARAMETER_VALUE"),
        ("= '1.0'", "INVALID_PARAMETER_VALUE"),
        ("= 'x'", "INVALID_PARAMETER_VALUE"),
        ("= ''", "INVALID_PARAMETER_VALUE"),
        ("LIKE '1'", "INVALID_PARAMETER_VALUE"),
        ("= 99999999999999999999", "INVALID_PARAMETER_VALUE"),  # MLflow: 500
        ("= '99999999999999999999'", "INVALID_PARAMETER_VALUE"),  # MLflow: 500
        ("IN (1, '2')", "m:1 m:2 no:1 no:2"),  # MLflow has neither list nor range of numbers
        ("BETWEEN '2' AND 3", "m:2 no:2"),
        ("NOT IN (1.5)", "INVALID_PARAMETER_VALUE"),
    ],
)
def test_version_numbers_are_compared_with_whole_numbers(find: Callable[..., str], comparison: str, found: str) -> None:
    filter_ = f"name IN ('m', 'no') AND version_number {comparison}"
    assert find("model-versions/search", filter_, ("name", "version_number")) == found


def test_pages_of_versions_stay_right_while_versions_and_prompts_are_added(ask: Ask) -> None:
    """MLflow's pages begin at a count of rows, and would show the first version again."""
    model(ask, versions=3)
    request: Body = {"order_by": ["name", "version_number"], "max_results": 1}

    def page(token: str) -> tuple[list[str], str]:
        answer = ask("GET", "model-versions/search", {**request, "page_token": token})[1]
        found = [f"{item['name']}:{item['version']}" for item in answer.get("model_versions", ())]
        return found, answer.get("next_page_token", "")

    first, token = page("")
    model(ask, "a", versions=1)  # before the first page
    prompt = {"name": "mm", "tags": [{"key": PROMPT, "value": "true"}]}
    ask("POST", "registered-models/create", prompt)
    ask("POST", "model-versions/create", {**prompt, "source": "dummy-source"})  # after the last
    second, token = page(token)
    third, end = page(token)
    assert (first, second, third, end) == (["m:1"], ["m:2"], ["m:3"], "")
