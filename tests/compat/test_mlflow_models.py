"""The released mlflow client logs, registers, finds and loads models on our server, unchanged."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("pandas")
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from lockgate.entities import Release  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own warnings are not ours to fix


@pytest.fixture(scope="module")
def fitted():
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression

    x, y = make_classification(n_samples=60, n_features=4, random_state=0)
    return LogisticRegression().fit(x, y), x


def test_logged_model_is_loaded_by_run_and_by_model_id(client: MlflowClient, served, fitted) -> None:
    model, x = fitted
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
            input_example=x[:2],
        )
    loaded = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    assert list(loaded.predict(x)) == list(model.predict(x))
    assert list(mlflow.pyfunc.load_model(info.model_uri).predict(x)) == list(model.predict(x))
    logged = mlflow.get_logged_model(info.model_id)
    assert logged.status == "READY"
    assert logged.source_run_id == run.info.run_id
    assert [m.model_id for m in mlflow.search_logged_models(["0"], output_format="list")] == [info.model_id]
    assert client.get_run(run.info.run_id).outputs.model_outputs[0].model_id == info.model_id
    ours = served.client.tracking.list_logged_models(run.info.run_id)
    assert [m.info.model_id for m in ours] == [info.model_id]


OURS = """
import sys, lockgate, numpy as np
from sklearn.linear_model import LogisticRegression
x = np.random.default_rng(0).normal(size=(50, 3))
with lockgate.start_run() as run_id:
    lockgate.log_model(LogisticRegression().fit(x, x[:, 0] > 0), sys.argv[1], data=x[:5])
print(run_id)
"""


def test_model_that_our_own_client_logged_is_loaded_and_registered(
    client: MlflowClient, served, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OURS, str(tmp_path / "model")],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LOCKGATE_URI": served.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    uri = f"runs:/{done.stdout.strip()}/model"
    rows = np.array([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]])
    assert list(mlflow.pyfunc.load_model(uri).predict(rows)) == [True, False]
    version = mlflow.register_model(uri, "ours").version
    assert list(mlflow.pyfunc.load_model(f"models:/ours/{version}").predict(rows)) == [True, False]


def test_logged_model_is_downloaded_by_our_client(client: MlflowClient, served, fitted, tmp_path: Path) -> None:
    model, _ = fitted
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(
            model, name="model", serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
        )
    (logged,) = served.client.tracking.list_logged_models(run.info.run_id)
    served.client.tracking.download_logged_model(logged, tmp_path / "model")
    assert (tmp_path / "model" / "MLmodel").is_file()


def test_model_is_registered_aliased_and_loaded(client: MlflowClient, fitted) -> None:
    model, x = fitted
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
            registered_model_name="churn",
        )
        mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
            registered_model_name="churn",
        )
    client.set_registered_model_alias("churn", "champion", 1)
    assert client.get_model_version_by_alias("churn", "champion").version == "1"
    assert list(mlflow.pyfunc.load_model("models:/churn@champion").predict(x)) == list(model.predict(x))
    assert mlflow.pyfunc.load_model("models:/churn/2").metadata is not None
    assert client.get_model_version("churn", "1").run_id == run.info.run_id
    assert client.get_model_version_download_uri("churn", "1") == info.artifact_path
    assert client.get_registered_model("churn").aliases == {"champion": "1"}
    client.delete_registered_model_alias("churn", "champion")
    with pytest.raises(MlflowException):
        client.get_model_version_by_alias("churn", "champion")


def test_release_is_loaded_by_alias(client: MlflowClient, served, fitted, tmp_path: Path) -> None:
    model, x = fitted
    mlflow.sklearn.save_model(
        model, tmp_path / "model", serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
    )
    content = served.context.store.put_tree(tmp_path / "model")
    created = served.client.registry.create_release(
        Release(model="churn", version=0, content=content, run_id="", created_at=1, created_by="me", flavor="sklearn")
    )
    served.client.registry.set_alias("churn", "champion", created.version)
    loaded = mlflow.pyfunc.load_model("models:/churn@champion")
    assert list(loaded.predict(x)) == list(model.predict(x))


def test_registry_keeps_tags_descriptions_stages(client: MlflowClient) -> None:
    client.create_registered_model("m", tags={"a": "1"}, description="d")
    for i in range(3):
        client.create_model_version("m", source=f"s3://bucket/x{i}", tags={"i": str(i)}, description=f"v{i}")
    client.set_registered_model_tag("m", "b", "2")
    client.delete_registered_model_tag("m", "a")
    client.set_model_version_tag("m", "1", "k", "v")
    client.delete_model_version_tag("m", "1", "i")
    client.update_registered_model("m", description="new")
    client.update_model_version("m", "1", description="other")
    model = client.get_registered_model("m")
    assert (model.description, model.tags) == ("new", {"b": "2"})
    version = client.get_model_version("m", "1")
    assert (version.description, version.tags, version.status) == ("other", {"k": "v"}, "READY")
    assert client.get_model_version_download_uri("m", "2") == "s3://bucket/x1"
    assert [v.version for v in client.search_model_versions("name = 'm'", order_by=["version_number ASC"])] == [
        "1",
        "2",
        "3",
    ]
    assert [v.version for v in client.search_model_versions("name = 'm' and tags.i = '2'")] == ["3"]
    assert [m.name for m in client.search_registered_models("name LIKE 'm%'")] == ["m"]
    client.transition_model_version_stage("m", "2", "Production")
    assert [v.version for v in client.get_latest_versions("m", ["Production"])] == ["2"]
    client.delete_model_version("m", "3")
    assert client.create_model_version("m", source="s3://bucket/y").version == "4"  # never given twice
    client.rename_registered_model("m", "n")
    assert client.get_model_version("n", "1").tags == {"k": "v"}
    client.delete_registered_model("n")
    with pytest.raises(MlflowException) as missing:
        client.get_registered_model("n")
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_logged_model_has_params_tags_and_metrics(client: MlflowClient) -> None:
    with mlflow.start_run():
        logged = mlflow.initialize_logged_model(name="ext", params={"p": "1"}, tags={"t": "x"}, model_type="agent")
        mlflow.log_metric("auc", 0.9, model_id=logged.model_id)
        mlflow.finalize_logged_model(logged.model_id, "READY")
    client.set_logged_model_tags(logged.model_id, {"u": "y"})
    client.delete_logged_model_tag(logged.model_id, "t")
    found = mlflow.get_logged_model(logged.model_id)
    assert (found.params, found.tags["u"], found.model_type) == ({"p": "1"}, "y", "agent")
    assert "t" not in found.tags
    assert [(m.key, m.value) for m in found.metrics] == [("auc", 0.9)]
    by_metric = mlflow.search_logged_models(
        ["0"], "metrics.auc > 0.5", order_by=[{"field_name": "metrics.auc"}], output_format="list"
    )
    assert [m.model_id for m in by_metric] == [logged.model_id]


AUTOLOG = """
import warnings; warnings.simplefilter("ignore")
import mlflow
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
mlflow.autolog()
x, y = load_iris(return_X_y=True, as_frame=True)
with mlflow.start_run() as run:
    model = DecisionTreeClassifier(max_depth=2).fit(x, y)
    model.score(x, y)
print(run.info.run_id)
"""


def test_autolog_records_a_scikit_learn_run(client: MlflowClient, served) -> None:
    from sklearn.datasets import load_iris

    done = subprocess.run(
        [sys.executable, "-c", AUTOLOG],
        env={
            "PATH": "/usr/bin:/bin",
            "MLFLOW_TRACKING_URI": served.url,
            "HOME": "/tmp",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr or "Encountered unexpected error" not in done.stderr
    run_id = done.stdout.split()[-1]
    run = client.get_run(run_id)
    assert run.data.params["max_depth"] == "2"
    assert run.data.metrics["training_accuracy_score"] > 0.9
    assert run.inputs.dataset_inputs
    assert [m.info.name for m in served.client.tracking.list_logged_models(run_id)] == ["model"]
    assert {"training_confusion_matrix.png", "estimator.html"} <= {f.path for f in client.list_artifacts(run_id)}
    rows = load_iris(as_frame=True).data.head(2)
    assert len(mlflow.pyfunc.load_model(f"runs:/{run_id}/model").predict(rows)) == 2
