"""The bytes that released clients and servers exchange: a change here breaks somebody."""

import msgspec
import pytest

from lockgate.entities import Content, Release
from lockgate.server.decode import decode_request
from lockgate.wire import registry
from lockgate.wire.mlflow import artifacts, logged_models, runs
from lockgate.wire.mlflow import registry as mlflow
from lockgate.wire.mlflow.experiments import Tag


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            runs.RunMessage(
                run=runs.Run(
                    info=runs.RunInfo(
                        run_id="a",
                        run_uuid="a",
                        run_name="n",
                        experiment_id="0",
                        user_id="u",
                        status="RUNNING",
                        start_time=1,
                        artifact_uri="mlflow-artifacts:/0/a/artifacts",
                        lifecycle_stage="active",
                    ),
                    data=runs.RunData(
                        metrics=(runs.Metric(key="m", value="NaN", timestamp=1, step=0),), tags=(Tag(key="t"),)
                    ),
                )
            ),
            b'{"run":{"info":{"run_id":"a","run_uuid":"a","run_name":"n","experiment_id":"0","user_id":"u",'
            b'"status":"RUNNING","start_time":1,"artifact_uri":"mlflow-artifacts:/0/a/artifacts",'
            b'"lifecycle_stage":"active"},"data":{"metrics":[{"key":"m","value":"NaN","timestamp":1,"step":0}],'
            b'"tags":[{"key":"t","value":""}]}}}',
        ),
        (
            artifacts.ProxyFiles(files=(artifacts.FileInfo(path="d", is_dir=True),)),
            b'{"files":[{"path":"d","is_dir":true}]}',
        ),
        (artifacts.ProxyFiles(files=()), b'{"files":[]}'),
        (
            registry.ReleaseMessage(
                release=Release(
                    model="m",
                    version=1,
                    content=Content(kind="tree", digest="d", size_bytes=2),
                    run_id="r",
                    created_at=3,
                    created_by="u",
                    flavor="f",
                )
            ),
            b'{"release":{"model":"m","version":1,"content":{"kind":"tree","digest":"d","size_bytes":2},'
            b'"run_id":"r","created_at":3,"created_by":"u","flavor":"f"}}',
        ),
        (registry.SetAlias(model="m", alias="a", version=1), b'{"model":"m","alias":"a","version":1}'),
    ],
)
def test_message_is_encoded_as_ever(message: msgspec.Struct, expected: bytes) -> None:
    assert msgspec.json.encode(message) == expected


# As mlflow-skinny 3.17 sends them.
def test_requests_of_the_released_client_are_read() -> None:
    body = b'{"run_uuid": "a", "run_id": "a", "key": "m", "value": 0.5, "timestamp": 17, "step": 0}'
    metric = decode_request(runs.LOG_METRIC, query=b"", body=body, path_params={})
    assert metric == runs.LogMetric(run_id="a", run_uuid="a", key="m", value=0.5, timestamp=17, step=0)
    query = b"filter=name%3D%27m%27&max_results=100&order_by=name&order_by=version_number+DESC"
    search = decode_request(mlflow.SEARCH_VERSIONS, query=query, body=b"", path_params={})
    assert search == mlflow.SearchVersions(filter="name='m'", max_results=100, order_by=("name", "version_number DESC"))
    bare = decode_request(mlflow.SEARCH_VERSIONS, query=b"", body=b"", path_params={})
    assert bare.max_results == 200_000  # MLflow's default, for who reads no second page
    tag = decode_request(
        logged_models.DELETE_LOGGED_MODEL_TAG, query=b"", body=b"", path_params={"model_id": "m-1", "tag_key": "k"}
    )
    assert tag == logged_models.DeleteLoggedModelTag(model_id="m-1", tag_key="k")


def test_field_of_a_newer_client_is_ignored_and_nothing_else() -> None:
    body = (
        b'{"release":{"model":"m","version":1,"content":{"kind":"tree","digest":"d","size_bytes":2,"newInside":{}},'
        b'"run_id":"r","created_at":3,"created_by":"u","flavor":"f","params":{"max_depth":null,"n":3}},"newOne":[1]}'
    )
    request = decode_request(registry.CREATE_RELEASE, query=b"", body=body, path_params={})
    assert request.release.params == {"max_depth": None, "n": 3}
    body = b'{"run_id":"a","metrics":[{"key":"m","value":1.5,"timestamp":2,"newInside":1}],"newOne":{"a":null}}'
    batch = decode_request(runs.LOG_BATCH, query=b"", body=body, path_params={})
    assert batch == runs.LogBatch(run_id="a", metrics=(runs.Metric(key="m", value=1.5, timestamp=2),))
