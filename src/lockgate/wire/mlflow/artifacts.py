"""Files of runs and models. Their bytes stream through the artifact proxy and are no messages."""

import re
from urllib.parse import unquote

from lockgate.wire.mlflow.runs import OfRun
from lockgate.wire.operation import Empty, Message, Operation, mlflow

SERVICE_PATH = "/api/2.0/mlflow-artifacts"
PROXY_PATH = f"{SERVICE_PATH}/artifacts"
PROXY_SCHEME = "mlflow-artifacts:/"
CONTENT_FOLDER = "content"  # below it lies released content, by digest
DIGEST_HEADER = "x-lockgate-digest"  # BLAKE3 of the whole file, 64 hexadecimal digits, in both directions

# MLflow's words: its client finds out by them that it must send a file through the server.
NO_PARTS = "Multipart upload is not supported for the current artifact repository"
NO_PRESIGNED_DOWNLOAD = "Multipart download is not supported for the current artifact repository"
_PROXIED = re.compile(r"mlflow-artifacts:(?://[^/]*|(?=/))/*", re.IGNORECASE)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def proxied_path(uri: str) -> str | None:
    """The path below the server's artifact root; None for a URI that does not lead through the server.

    >>> proxied_path("mlflow-artifacts:/0/files"), proxied_path("MLFLOW-ARTIFACTS://models:5000/0/files")
    ('0/files', '0/files')

    MLflow's client makes an address of it as it is, of which HTTP decodes the percents; a client encodes them before
    where one of them is no escape.

    >>> proxied_path("mlflow-artifacts:/team%20b/files"), proxied_path("mlflow-artifacts:/100%/team%20b")
    ('team b/files', '100%/team%20b')
    """
    found = _PROXIED.match(uri)
    return None if found is None else _decoded(uri[found.end() :].strip("/"))


def _decoded(path: str) -> str:
    return path if _STRAY_PERCENT.search(path) else unquote(path)


class FileInfo(Message, frozen=True, kw_only=True):
    """`path` is relative to what was listed. `is_dir` is always written: clients index it."""

    path: str
    is_dir: bool
    file_size: int | None = None


class ListArtifacts(OfRun, frozen=True, kw_only=True):
    path: str = ""
    page_token: str = ""


class RunArtifacts(Message, frozen=True, kw_only=True):
    """One page; `next_page_token` is empty on the last."""

    root_uri: str
    files: tuple[FileInfo, ...] = ()
    next_page_token: str = ""


class ListModelArtifacts(Message, frozen=True, kw_only=True):
    model_id: str
    artifact_directory_path: str = ""
    page_token: str = ""


class ListProxy(Message, frozen=True, kw_only=True):
    """MLflow knows no pages here, so all entries come at once unless `max_results` asks for fewer.

    MLflow's client names a folder as the URI does: here HTTP leaves the percents that it decodes in an address.

    >>> ListProxy(path="team%20b/files").folder, ListProxy(path="100%/team%20b").folder
    ('team b/files', '100%/team%20b')
    """

    path: str = ""
    max_results: int = 0
    page_token: str = ""

    @property
    def folder(self) -> str:
        """The path below the server's artifact root."""
        return _decoded(self.path)


def listed_as(folder: str) -> str:
    """The `path` of a `ListProxy` for a folder below the server's artifact root, whatever it is called."""
    return folder.replace("%", "%25")


class ProxyFiles(Message, frozen=True, kw_only=True):
    """Here `files` is always written, and each `path` is a bare name."""

    files: tuple[FileInfo, ...]
    next_page_token: str = ""


class OneArtifact(Message, frozen=True, kw_only=True):
    artifact_path: str


class DownloadUrl(Message, frozen=True, kw_only=True):
    """Without `file_size` MLflow's client leaves the URL alone and downloads through the server."""

    url: str
    headers: dict[str, str]
    file_size: int | None = None


class PresignDownload(OfRun, frozen=True, kw_only=True):
    path: str
    expiration: int = 300


class PresignUpload(Message, frozen=True, kw_only=True):
    """Into a run or a logged model, one of them."""

    run_id: str = ""
    model_id: str = ""
    path: str
    expiration: int = 900


class PresignedUrl(Message, frozen=True, kw_only=True):
    presigned_url: str
    file_size: int | None = None


class CreateParts(Message, frozen=True, kw_only=True):
    """The file becomes `artifact_path/<last name of path>`, as everywhere in MLflow's multipart protocol."""

    artifact_path: str
    path: str
    num_parts: int = 1


class PartCredential(Message, frozen=True, kw_only=True):
    url: str
    part_number: int
    headers: dict[str, str]


class CreatedParts(Message, frozen=True, kw_only=True):
    upload_id: str
    credentials: tuple[PartCredential, ...]


class SentPart(Message, frozen=True, kw_only=True):
    part_number: int
    etag: str


class CompleteParts(Message, frozen=True, kw_only=True):
    artifact_path: str
    path: str
    upload_id: str
    parts: tuple[SentPart, ...]


class AbortParts(Message, frozen=True, kw_only=True):
    artifact_path: str
    path: str
    upload_id: str


_AT = "{artifact_path:path}"

LIST_ARTIFACTS = mlflow("artifacts/list", "GET", ListArtifacts, RunArtifacts)
LIST_MODEL_ARTIFACTS = mlflow("logged-models/{model_id}/artifacts/directories", "GET", ListModelArtifacts, RunArtifacts)
PRESIGN_DOWNLOAD = mlflow("artifacts/presigned-download-url", "POST", PresignDownload, PresignedUrl)
PRESIGN_UPLOAD = mlflow("artifacts/presigned-upload-url", "POST", PresignUpload, PresignedUrl)
LIST_PROXY = Operation("mlflow-artifacts:list", "GET", PROXY_PATH, ListProxy, ProxyFiles)
DELETE_PROXY = Operation("mlflow-artifacts:delete", "DELETE", f"{PROXY_PATH}/{_AT}", OneArtifact, Empty)
GET_DOWNLOAD_URL = Operation(
    "mlflow-artifacts:presigned", "GET", f"{SERVICE_PATH}/presigned/{_AT}", OneArtifact, DownloadUrl
)
CREATE_PARTS = Operation(
    "mlflow-artifacts:mpu-create", "POST", f"{SERVICE_PATH}/mpu/create/{_AT}", CreateParts, CreatedParts
)
COMPLETE_PARTS = Operation(
    "mlflow-artifacts:mpu-complete", "POST", f"{SERVICE_PATH}/mpu/complete/{_AT}", CompleteParts, Empty
)
ABORT_PARTS = Operation("mlflow-artifacts:mpu-abort", "POST", f"{SERVICE_PATH}/mpu/abort/{_AT}", AbortParts, Empty)
