"""Files of runs and models. Their bytes stream through the artifact proxy and are no messages."""

from lockgate.wire.mlflow.runs import OfRun
from lockgate.wire.operation import Message, Operation, mlflow

PROXY_PATH = "/api/2.0/mlflow-artifacts/artifacts"
PROXY_SCHEME = "mlflow-artifacts:/"


class FileInfo(Message, frozen=True, kw_only=True):
    """`path` is relative to what was listed. `is_dir` is always written: clients index it."""

    path: str
    is_dir: bool
    file_size: int | None = None


class ListArtifacts(OfRun, frozen=True, kw_only=True):
    path: str = ""
    page_token: str = ""


class RunArtifacts(Message, frozen=True, kw_only=True):
    root_uri: str
    files: tuple[FileInfo, ...] = ()


class ListProxy(Message, frozen=True, kw_only=True):
    path: str = ""


class ProxyFiles(Message, frozen=True, kw_only=True):
    """Here `files` is always written, and each `path` is a bare name."""

    files: tuple[FileInfo, ...]


LIST_ARTIFACTS = mlflow("artifacts/list", "GET", ListArtifacts, RunArtifacts)
LIST_PROXY = Operation("mlflow-artifacts:list", "GET", PROXY_PATH, ListProxy, ProxyFiles)
