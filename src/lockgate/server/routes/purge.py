"""Deleting for good what was deleted before: rows, then folders."""

from sqlalchemy import Connection

from lockgate.errors import InvalidInput
from lockgate.metadata import purge as rows
from lockgate.metadata.audit import has_been_done
from lockgate.server.artifacts.folder import ArtifactFolder
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.files import UPLOAD
from lockgate.server.needs import admin
from lockgate.wire import purge as wire
from lockgate.wire.mlflow.artifacts import proxied_path

# A call stays short, and a write transaction shorter: others write meanwhile.
_ROWS, _FOLDERS = 50, 200


def purge(ctx: Context, request: wire.Purge) -> wire.Purged:
    with ctx.read() as connection:
        found = rows.count_purgeable(connection, before=request.before)
        if any(found[:3]) or rows.list_doomed(connection, limit=1):
            _require_files(ctx, connection)
    if request.dry_run:
        return wire.Purged(**found._asdict())
    assert ctx.act is not None
    with ctx.write() as tx:
        done, run_ids = rows.purge(tx, before=request.before, limit=_ROWS)
        counts = {"runs": done.runs, "logged_models": done.logged_models, "experiments": done.experiments}
        ctx.act.found = {**counts, "run_ids": " ".join(run_ids)}
    folders, elsewhere = _delete_folders(ctx)
    if folders:
        ctx.act.found = {"folders": folders}
        ctx.tell(ctx.act)
    with ctx.read() as connection:
        left = rows.count_purgeable(connection, before=request.before)
        more = any(left[:3]) or bool(rows.list_doomed(connection, limit=1))
    return wire.Purged(
        runs=done.runs,
        logged_models=done.logged_models,
        experiments=done.experiments,
        kept=left.kept,
        folders=folders,
        elsewhere=elsewhere,
        more=more,
    )


def _require_files(ctx: Context, connection: Connection) -> None:
    """Raises InvalidInput where files were uploaded and their folder is not there, so that it cannot be the right one.

    The records would go and the files stay for ever. The first upload makes the folder, and nothing of ours deletes it.
    """
    store = ctx.artifacts
    if isinstance(store, ArtifactFolder) and not store.root.is_dir() and has_been_done(connection, UPLOAD):
        raise InvalidInput(
            f"files of runs were uploaded, but there is no folder {store.root}: they would stay for ever.",
            hint="set LOCKGATE_ARTIFACTS as the server has it, or ask the server: lockgate --uri ADDRESS gc "
            f"--deleted-before DAYS; where they are gone already: mkdir {store.root}",
        )


def _delete_folders(ctx: Context) -> tuple[int, tuple[str, ...]]:
    """(deleted, kept elsewhere); also of an earlier call that was cut short."""
    with ctx.read() as connection:
        doomed = rows.list_doomed(connection, limit=_FOLDERS)
    deleted, elsewhere = 0, []
    for doomed_id, uri in doomed:
        path = proxied_path(uri)
        try:
            if not path:  # nor is the root itself ours to delete
                elsewhere.append(uri)
            elif ctx.artifacts.delete(path):
                deleted += 1
        except InvalidInput:  # no path that anything could have been kept at; the next folders must not wait for it
            elsewhere.append(uri)
        with ctx.write(decision=False) as tx:
            rows.strike_off(tx, doomed_id)
    return deleted, tuple(elsewhere)


ROUTES: tuple[AnyRoute, ...] = (Route(wire.PURGE, purge, admin()),)
