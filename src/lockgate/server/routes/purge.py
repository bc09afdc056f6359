"""Deleting for good what was deleted before: rows, then folders and points, none of which keeps others waiting."""

from sqlalchemy import Connection

from lockgate.errors import InvalidInput, LockgateError, Unavailable
from lockgate.metadata import purge as rows
from lockgate.metadata.audit import has_been_done
from lockgate.metadata.chosen import Steps, list_chosen, steps_of
from lockgate.server.artifacts.folder import ArtifactFolder
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.files import UPLOAD
from lockgate.server.needs import admin
from lockgate.wire import purge as wire
from lockgate.wire.mlflow.artifacts import proxied_path

# A call stays short, and a write transaction shorter: others write meanwhile.
_ROWS, _FOLDERS, _FOLDERS_S, _POINTS_S = 50, 200, 20.0, 5.0


def purge(ctx: Context, request: wire.Purge) -> wire.Purged:
    with ctx.read() as connection:
        _require_files(ctx, connection, before=request.before)
        if request.dry_run:
            return wire.Purged(**rows.count_purgeable(connection, before=request.before)._asdict())
    assert ctx.act is not None
    ctx.act.is_decision = True  # whatever transaction comes first
    # First what earlier calls have left: no more rows go while their folders cannot.
    _delete_points(ctx)
    folders, elsewhere = _delete_folders(ctx)
    with ctx.write() as tx:
        done, run_ids, more = rows.purge(tx, before=request.before, limit=_ROWS)
        counts = {"runs": done.runs, "logged_models": done.logged_models, "experiments": done.experiments}
        ctx.act.found = {**counts, "run_ids": " ".join(run_ids)}
    more_folders, more_elsewhere = _delete_folders(ctx)
    with ctx.read() as connection:
        more = more or rows.has_points(connection) or bool(rows.list_doomed(connection, limit=1))
        # By the last call alone: a call is to cost what it deletes, and not what is left.
        kept = 0 if more else rows.count_kept(connection, before=request.before)
    return wire.Purged(
        runs=done.runs,
        logged_models=done.logged_models,
        experiments=done.experiments,
        kept=kept,
        folders=folders + more_folders,
        elsewhere=elsewhere + more_elsewhere,
        more=more,
    )


def _require_files(ctx: Context, connection: Connection, *, before: int) -> None:
    """Raises InvalidInput where files were uploaded and their folder is not there, so that it cannot be the right one.

    The records would go and the files stay for ever. The first upload makes the folder, and nothing of ours deletes it.
    """
    store = ctx.artifacts
    if not isinstance(store, ArtifactFolder) or store.root.is_dir() or not has_been_done(connection, UPLOAD):
        return
    if any(rows.count_purgeable(connection, before=before)[:3]) or rows.list_doomed(connection, limit=1):
        raise InvalidInput(
            f"files of runs were uploaded, but there is no folder {store.root}: they would stay for ever.",
            hint="set LOCKGATE_ARTIFACTS as the server has it, or ask the server: lockgate --uri ADDRESS gc "
            f"--deleted-before DAYS; where they are gone already: mkdir {store.root}",
        )


def _delete_folders(ctx: Context) -> tuple[int, tuple[str, ...]]:
    """(deleted, kept elsewhere) of what had rows once. Raises Unavailable where some cannot be deleted.

    Those are tried again the next time, after all others.
    """
    assert ctx.act is not None
    with ctx.read() as connection:
        doomed = rows.list_doomed(connection, limit=_FOLDERS)
        used = _used_folders(connection) if doomed else frozenset()
    until = ctx.clock.monotonic() + _FOLDERS_S
    deleted, elsewhere, failed = 0, list[str](), list[LockgateError]()
    for doomed_id, uri in doomed:
        path = proxied_path(uri)
        is_left = False
        try:
            if not path:  # nor is the root itself ours to delete
                elsewhere.append(uri)
            elif steps_of(path) not in used and ctx.artifacts.delete(path):
                deleted += 1
        except InvalidInput:  # no path that anything could have been kept at; the next folders must not wait for it
            elsewhere.append(uri)
        except LockgateError as error:
            failed.append(error)
            is_left = True
        with ctx.write(decision=False) as tx:
            rows.strike_off(tx, doomed_id)
            if is_left:  # behind all others
                rows.doom(tx, [uri])
        if ctx.clock.monotonic() > until:
            break
    if deleted:
        ctx.act.found = {"folders": deleted}
        ctx.tell(ctx.act)
    if failed:
        raise Unavailable(
            f"{len(failed)} folders of what was deleted for good cannot be deleted yet: {failed[0].message}",
            hint="mend what keeps them, and repeat",
        ) from failed[0]
    return deleted, tuple(elsewhere)


def _delete_points(ctx: Context) -> None:
    """Those of runs that are gone; a part of them where it takes long."""
    until = ctx.clock.monotonic() + _POINTS_S
    while ctx.clock.monotonic() < until:
        with ctx.read() as connection:
            if not rows.has_points(connection):
                break
        with ctx.write(decision=False) as tx:
            rows.delete_points(tx)


def _used_folders(connection: Connection) -> frozenset[Steps]:
    """Folders in which an experiment keeps its files because somebody chose so, and all above them."""
    return frozenset(steps[:count] for steps, _ in list_chosen(connection) for count in range(1, len(steps) + 1))


ROUTES: tuple[AnyRoute, ...] = (Route(wire.PURGE, purge, admin()),)
