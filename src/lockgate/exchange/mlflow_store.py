"""MLflow's stores without a server, `sqlite:///mlflow.db` and `file:///mlruns`, read through mlflow's own client."""

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from lockgate.client.transport import Transport
from lockgate.errors import InvalidInput, LockgateError, NotFound
from lockgate.exchange import answers
from lockgate.exchange.address import without_login
from lockgate.exchange.damaged import read_one_by_one
from lockgate.exchange.files import OutsideFiles
from lockgate.metadata.schema import OURS
from lockgate.wire.mlflow import artifacts, experiments, logged_models, registry, runs
from lockgate.wire.operation import Operation, Req, Res

SCHEMES = ("", "file", "sqlite", "postgresql", "mysql", "mssql")
# Which every version of MLflow's databases has, and nobody else's: others have an alembic_version and experiments too.
_COLUMNS = {
    *("alembic_version.version_num", "experiments.experiment_id", "runs.run_uuid"),
    *("metrics.run_uuid", "params.run_uuid", "tags.run_uuid"),
}
_SQLITE_COLUMNS = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
_CONNECT_S = 10
_VIEWS = {"ACTIVE_ONLY": 1, "DELETED_ONLY": 2, "ALL": 3}  # the numbers of mlflow.entities.ViewType


class MlflowStore(Transport):
    """For reading only.

    Where the store was written by `mlflow server`, its records say `mlflow-artifacts:/...`; `artifacts_at` is the
    folder or address that the server kept these files at (its `--artifacts-destination`).
    """

    def __init__(self, uri: str, *, artifacts_at: str = "") -> None:
        """Raises NotFound or InvalidInput where there is no store of MLflow's or mlflow cannot read it."""
        _require_store(uri)
        # mlflow refuses folders since they are in maintenance; who moves away from one has to read it.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            from mlflow import MlflowClient, set_tracking_uri
            from mlflow.exceptions import MlflowException
            from mlflow.utils.proto_json_utils import message_to_json
        except ImportError as error:
            raise _unreadable(uri, "mlflow, which reads such a store, is not installed") from error
        self._uri = without_login(uri)
        self._artifacts_at = artifacts_at
        self._error, self._to_json = MlflowException, message_to_json
        try:
            set_tracking_uri(uri)  # where the client forgets whom it was made for, it makes a mlflow.db where we stand
            self._client = MlflowClient(uri, uri)
        except Exception as error:  # whatever mlflow and its database drivers raise for a store
            raise _unreadable(uri, str(error)) from error
        self._performers: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
            answers.SEARCH_EXPERIMENTS.name: self._search_experiments,
            answers.SEARCH_RUNS.name: self._search_runs,
            answers.GET_RUN.name: lambda request: {"run": self._plain(self._client.get_run(request.run_id))},
            runs.METRIC_HISTORY.name: self._metric_history,
            answers.SEARCH_LOGGED_MODELS.name: self._search_logged_models,
            answers.GET_LOGGED_MODEL.name: self._get_logged_model,
            answers.SEARCH_MODELS.name: self._search_models,
            answers.SEARCH_VERSIONS.name: self._search_versions,
            registry.VERSION_DOWNLOAD_URI.name: self._download_uri,
            answers.LIST_RUN_FILES.name: lambda request: {},  # a folder that is not here has no files
            answers.LIST_FILES.name: self._list_files,
        }

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        """Raises InvalidInput for what cannot be read: a damaged run of a folder only when it is asked for itself."""
        try:
            answer = self._performers[operation.name](request)
            return msgspec.convert(answer, operation.response, strict=False)
        except LockgateError:
            raise
        except Exception as error:  # whatever mlflow, YAML and the types make of what is damaged
            parts = urlsplit(self._uri)
            if isinstance(request, runs.SearchRuns) and parts.scheme in ("", "file"):
                answer = read_one_by_one(self, Path(unquote(parts.path)), request)
                return msgspec.convert(answer, operation.response, strict=False)
            kind = "" if isinstance(error, self._error) else f"{type(error).__name__}: "
            raise _unreadable(self._uri, f"{kind}{error}") from error

    def put_file(self, path: str, local: Path) -> None:
        raise InvalidInput(f"{self._uri} is only read.")

    def get_file(self, path: str, target: Path) -> None:
        folder, _, name = path.rpartition("/")
        self._proxied(folder).fetch(name, target)

    def close(self) -> None:
        """Nothing is held: mlflow keeps its connections itself."""

    def _search_experiments(self, request: experiments.SearchExperiments) -> Mapping[str, Any]:
        page = self._client.search_experiments(
            view_type=_VIEWS[request.view_type],
            max_results=request.max_results,
            order_by=list(request.order_by),
            page_token=request.page_token or None,
        )
        return self._page("experiments", page)

    def _search_runs(self, request: runs.SearchRuns) -> Mapping[str, Any]:
        page = self._client.search_runs(
            list(request.experiment_ids),
            run_view_type=_VIEWS[request.run_view_type],
            max_results=request.max_results,
            order_by=list(request.order_by),
            page_token=request.page_token or None,
        )
        return self._page("runs", page)

    def _metric_history(self, request: runs.MetricHistory) -> Mapping[str, Any]:
        """At once, and each value once: files may hold one twice."""
        found = self._client.get_metric_history(request.run_id, request.metric_key)
        values = dict.fromkeys((repr(metric.value), metric.timestamp, metric.step) for metric in found)
        metrics = [
            {"key": request.metric_key, "value": runs.number_out(float(value)), "timestamp": at, "step": step}
            for value, at, step in values
        ]
        return {"metrics": metrics}

    def _search_logged_models(self, request: logged_models.SearchLoggedModels) -> Mapping[str, Any]:
        order = [{"field_name": item.field_name, "ascending": item.ascending} for item in request.order_by]
        page = self._client.search_logged_models(
            list(request.experiment_ids),
            max_results=request.max_results,
            order_by=order,
            page_token=request.page_token or None,
        )
        return self._page("models", page)

    def _get_logged_model(self, request: logged_models.GetLoggedModel) -> Mapping[str, Any]:
        return {"model": self._plain(self._client.get_logged_model(request.model_id))}

    def _search_models(self, request: registry.Search) -> Mapping[str, Any]:
        page = self._client.search_registered_models(
            filter_string=request.filter or None,
            max_results=request.max_results,
            order_by=list(request.order_by),
            page_token=request.page_token or None,
        )
        return self._page("registered_models", page)

    def _search_versions(self, request: registry.SearchVersions) -> Mapping[str, Any]:
        page = self._client.search_model_versions(
            filter_string=request.filter, max_results=request.max_results, page_token=request.page_token or None
        )
        return self._page("model_versions", page)

    def _download_uri(self, request: registry.OneModelVersion) -> Mapping[str, Any]:
        return {"artifact_uri": self._client.get_model_version_download_uri(request.name, request.version)}

    def _list_files(self, request: artifacts.ListProxy) -> Mapping[str, Any]:
        return {
            "files": [
                {"path": path, "is_dir": False, "file_size": size}
                for path, size in self._proxied(request.folder).walk()
            ]
        }

    def _proxied(self, path: str) -> OutsideFiles:
        if not self._artifacts_at:
            raise InvalidInput(
                f"the files of {self._uri} are behind the server that wrote it (mlflow-artifacts:/{path}).",
                hint="say where that server keeps them: --artifacts FOLDER, or import from its address",
            )
        return OutsideFiles(f"{self._artifacts_at.rstrip('/')}/{path}")

    def _page(self, name: str, page: Any) -> Mapping[str, Any]:  # mlflow's PagedList
        token = page.token or ""
        if isinstance(token, bytes):  # as most of mlflow's searches give it
            token = token.decode()
        return {name: [self._plain(item) for item in page], "next_page_token": token}

    def _plain(self, entity: Any) -> Mapping[str, Any]:  # any entity of mlflow's
        """As its server would write it."""
        found: Mapping[str, Any] = msgspec.json.decode(self._to_json(entity.to_proto()))
        return found


def _require_store(uri: str) -> None:
    """mlflow would make an empty store of whatever else it is given, also of somebody's database or folder."""
    parts = urlsplit(uri)
    kind = parts.scheme.partition("+")[0]
    if kind in ("", "file"):
        folder = _existing(uri, unquote(parts.path))
        if not any(folder.glob("*/meta.yaml")) and not any(folder.glob(".trash/*/meta.yaml")):
            raise InvalidInput(
                f"{folder.absolute()} is no store of MLflow's: no folder in it has a meta.yaml, as experiments have.",
                hint="give the folder that MLflow writes into, most often mlruns: lockgate import mlflow ./mlruns",
            )
        return
    if kind == "sqlite":
        path = _existing(uri, uri.partition(":///")[2].partition("?")[0])
        columns = _sqlite_columns(uri, path)
    else:
        columns = _columns(uri)
    if columns >= _COLUMNS:
        return
    if {column.partition(".")[0] for column in columns}.issuperset(OURS):
        raise InvalidInput(
            f"{without_login(uri)} is a database of Lockgate's, and none of MLflow's.",
            hint="to copy another project's records, start a server in it and import from that: lockgate server; "
            "lockgate import mlflow http://HOST:PORT",
        )
    raise InvalidInput(
        f"{without_login(uri)} is no database of MLflow's: it has no column {min(_COLUMNS - columns)}.",
        hint="give what the MLflow server was given as --backend-store-uri",
    )


def _existing(uri: str, path: str) -> Path:
    if not path:
        raise InvalidInput(
            f"{uri!r} names no store.",
            hint="write http://HOST:PORT, sqlite:///mlflow.db or a folder: lockgate import mlflow ./mlruns",
        )
    found = Path(path)
    if not found.exists():
        raise NotFound(f"there is no store at {uri}: {found.absolute()} does not exist.")
    return found


def _sqlite_columns(uri: str, path: Path) -> set[str]:
    """As TABLE.COLUMN."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return {f"{table}.{column}" for table, column in connection.execute(_SQLITE_COLUMNS)}
    except sqlite3.Error as error:
        raise _unreadable(uri, str(error)) from error


def _columns(uri: str) -> set[str]:
    """As TABLE.COLUMN. Asked once: mlflow tries for minutes to reach a database that is not there."""
    try:
        from sqlalchemy import create_engine, inspect, make_url
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise _unreadable(uri, "mlflow, which reads such a store, is not installed") from error
    try:
        url = make_url(uri)
        knows_timeout = url.get_driver_name() in ("psycopg2", "psycopg", "pymysql", "mysqldb")
        engine = create_engine(url, connect_args={"connect_timeout": _CONNECT_S} if knows_timeout else {})
        try:
            found = inspect(engine).get_multi_columns()
            return {f"{table}.{column['name']}" for (_, table), columns in found.items() for column in columns}
        finally:
            engine.dispose()
    except (
        SQLAlchemyError,
        ImportError,
        ValueError,
        TypeError,
    ) as error:  # of an address, and of what drivers make of it
        raise _unreadable(uri, str(error)) from error


def _unreadable(uri: str, reason: str) -> InvalidInput:
    shown = without_login(uri)
    return InvalidInput(
        f"the store {shown} cannot be read: {reason.replace(uri, shown).rstrip('.')}.",
        hint=f"start a server on it and import from that: mlflow server --backend-store-uri {shown} --port 5001; "
        "lockgate import mlflow http://127.0.0.1:5001",
    )
