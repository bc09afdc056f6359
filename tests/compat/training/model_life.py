"""Nested runs, files of every kind, a model that is logged, registered, loaded by its alias, evaluated and found."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.figure
import mlflow
import numpy
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

experiment = mlflow.set_experiment("life of a model")
x, y = load_iris(return_X_y=True, as_frame=True)
figure = matplotlib.figure.Figure()
figure.subplots().plot([1, 3, 2])

with mlflow.start_run(run_name="parent", tags={"team": "flowers"}) as parent:
    children = []
    for depth in (1, 2, 3):
        with mlflow.start_run(run_name=f"depth {depth}", nested=True) as child:
            mlflow.log_param("max_depth", depth)
            tree = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(x, y)
            mlflow.log_metric("accuracy", tree.score(x, y), step=depth)
            children.append(child.info.run_id)

    mlflow.log_dict({"classes": ["setosa", "versicolor", "virginica"]}, "classes.json")
    mlflow.log_dict({"depths": [1, 2, 3]}, "depths.yaml")
    mlflow.log_text("Grüße\n", "notes/hello.txt")
    mlflow.log_figure(figure, "plots/line.png")
    mlflow.log_figure(figure, "plots/line.svg")
    mlflow.log_image(numpy.zeros((4, 4, 3), dtype=numpy.uint8), "plots/black.png")
    mlflow.log_image(numpy.zeros((4, 4, 3), dtype=numpy.uint8), key="frame", step=3)
    mlflow.log_table({"question": ["a"], "answer": [1]}, "tables/answers.json")
    mlflow.log_table({"question": ["b"], "answer": [2]}, "tables/answers.json")
    with TemporaryDirectory() as folder:
        (Path(folder) / "deep" / "er").mkdir(parents=True)
        (Path(folder) / "deep" / "er" / "bytes.bin").write_bytes(bytes(range(256)) * 1024)
        (Path(folder) / "empty").touch()
        mlflow.log_artifacts(folder, "raw")

    logged = mlflow.sklearn.log_model(
        tree,
        name="tree",
        signature=infer_signature(x, tree.predict(x)),
        input_example=x.head(3),
        skops_trusted_types=["sklearn.tree._tree.Tree"],
        params={"max_depth": 3},
        registered_model_name="iris",
    )

client = mlflow.MlflowClient()
client.set_registered_model_alias("iris", "best", 1)
loaded = mlflow.pyfunc.load_model("models:/iris@best")
again = mlflow.register_model(logged.model_uri, "iris", tags={"again": "yes"})

data = mlflow.data.from_pandas(x.assign(target=y), targets="target", name="iris")
with mlflow.start_run(run_name="evaluation") as evaluation:
    result = mlflow.models.evaluate("models:/iris@best", data, model_type="classifier", evaluators="default")

runs = mlflow.search_runs([experiment.experiment_id], "tags.mlflow.parentRunId != ''", order_by=["params.max_depth"])
best = mlflow.search_logged_models(
    [experiment.experiment_id], "name = 'tree' AND params.max_depth = '3'", output_format="pandas"
)
with TemporaryDirectory() as folder:
    bytes_back = Path(mlflow.artifacts.download_artifacts(f"runs:/{parent.info.run_id}/raw", dst_path=folder))
    bytes_are_the_same = (bytes_back / "deep" / "er" / "bytes.bin").read_bytes() == bytes(range(256)) * 1024

print(
    json.dumps(
        {
            "parent": parent.info.run_id,
            "children": children,
            "accuracy": list(runs["metrics.accuracy"]),
            "model_id": logged.model_id,
            "found": list(best["model_id"]),
            "predicts_the_same": loaded.predict(x).tolist() == tree.predict(x).tolist(),
            "second_version": again.version,
            "evaluation": evaluation.info.run_id,
            "evaluated": {name: float(value) for name, value in result.metrics.items()},
            "table": mlflow.load_table("tables/answers.json", run_ids=[parent.info.run_id])["answer"].tolist(),
            "bytes_are_the_same": bytes_are_the_same,
        }
    )
)
