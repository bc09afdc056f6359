"""`lockgate gc`: delete stored content that nothing refers to, and for good what was deleted long enough ago."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.store.actions import Actions
    from lockgate.store.gc import Collected
    from lockgate.wire.purge import Purged

# Results of one stage that are kept: going back to the inputs of the last few runs stays free.
RESULTS_A_STAGE = 5
_DAY_MS = 86_400_000
_SHOWN = 20
_EXPERIMENTS_A_SEARCH = 100  # many of them have few runs


@click.command
@click.option(
    "--deleted-before",
    "days",
    type=click.FloatRange(0, 10_000),
    metavar="DAYS",
    help="Also delete for good runs, logged models and experiments that were deleted more than DAYS ago.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def gc(app: App, days: float | None, dry_run: bool, as_json: bool) -> None:
    """Delete stored content that nothing refers to.

    Kept is what releases, runs, monitor windows and lockgate.lock name, the last results of every stage, and everything
    written within the last hour, so it is safe while other commands work. Records that know nothing of this project
    are refused, and so is a token that does not see all of them.

    What `--deleted-before` deletes is gone with its metrics, params and files, and cannot be restored. Kept is what
    registered versions were made from. Runs of a server are deleted with its `--uri`, or on its machine with the very
    settings that it has, or their files are left for ever. With `--uri` and outside of a project nothing else
    is done.

    \b
    Example: lockgate gc --deleted-before 30 --dry-run
    """
    from lockgate.pipelines.status import open_stats
    from lockgate.store.actions import Actions
    from lockgate.store.gc import GRACE_S, digests_in
    from lockgate.store.gc import gc as collect

    has_project = days is None or app.folder_if_any is not None
    clients = _clients(app) if has_project else []
    purged = None
    if days is not None:
        before_ms = app.clock.now_ms() - round(days * _DAY_MS)
        # First: what these runs named is then named by nobody.
        purged = app.client.tracking.purge(before_ms=before_ms, dry_run=dry_run)
    if not has_project:
        _print_done(None, purged, results=0, dry_run=dry_run, as_json=as_json)
        return
    actions = Actions(app.store.root / "actions")
    # Whatever the records say: a release is for ever.
    keep = set(_registered(app, actions))
    youngest_ns = int((app.clock.now_ms() - GRACE_S * 1000) * 1_000_000)
    forgotten = _old_results(actions, youngest_ns)
    for document in _documents(app, clients, actions, forgotten):
        keep |= digests_in(document)
    done = collect(app.store, keep, clock=app.clock, dry_run=dry_run)
    if not dry_run:
        # After the content: a result without its content is one that must be built again, and nothing worse.
        for key in forgotten:
            actions.remove(key)
        stats = open_stats(app.folder.state, app.clock)
        stats.prune()
        stats.save()
    _print_done(done, purged, results=len(forgotten), dry_run=dry_run, as_json=as_json)
    if not dry_run:
        _clean_uploads(app)  # last: when the store fails, what was done has been said


def _print_done(
    done: "Collected | None", purged: "Purged | None", *, results: int, dry_run: bool, as_json: bool
) -> None:
    from lockgate.cli.output import print_json

    if as_json:
        print_json({"dry_run": dry_run, "results": results, "content": done, "purged": purged})
        return
    verb = "would be deleted" if dry_run else "deleted"
    if purged is not None:
        click.echo(
            f"{purged.runs} runs, {purged.logged_models} logged models and {purged.experiments} experiments {verb} for "
            f"good; {purged.kept} are kept because registered versions were made from them."
        )
        if purged.elsewhere:
            shown = "".join(f"\n  {uri}" for uri in purged.elsewhere[:_SHOWN])
            more = f"\n  and {hidden} more (--json)" if (hidden := len(purged.elsewhere) - _SHOWN) > 0 else ""
            click.echo(
                f"{len(purged.elsewhere)} folders are not kept by Lockgate and are yours to delete:{shown}{more}"
            )
    if done is not None:
        click.echo(
            f"{len(done.deleted)} objects ({done.deleted_bytes / 1e6:.1f} MB) and {results} old results {verb}; "
            f"{done.kept} objects ({done.kept_bytes / 1e6:.1f} MB) are kept."
        )


def _clean_uploads(app: App) -> None:
    """Remove what uploads of files to runs have left whose server was killed."""
    from lockgate.server.artifacts.open import DEFAULT_FOLDER, open_artifacts
    from lockgate.server.artifacts.store import ABANDONED_MS

    store = open_artifacts(app.settings.artifacts, default=app.folder.state / DEFAULT_FOLDER)
    store.clean(before_ms=app.clock.now_ms() - ABANDONED_MS)


def _registered(app: App, actions: "Actions") -> Iterator[str]:
    """The content, as far as it is stored, of every version that this project has registered of its model."""
    from lockgate.automation.judging import candidate_key

    for _, digest in app.store.iter_objects("trees"):
        if actions.get(candidate_key(app.folder.project.model, digest)) is not None:
            yield digest


def _clients(app: App) -> "list[Client]":
    """The records that are asked, and the project's own where these are others.

    Raises PermissionDenied where not all of one can be seen, and InvalidInput where there is content and none of them
    knows this project: it would all be nobody's.
    """
    import msgspec

    from lockgate.config import masked
    from lockgate.connect import connect
    from lockgate.errors import InvalidInput
    from lockgate.server.context import DATABASE_NAME

    state, settings, model = app.folder.state, app.settings, app.folder.project.model
    elsewhere = settings.uri or settings.database
    clients = [app.client]
    if elsewhere and (state / DATABASE_NAME).is_file():
        own = msgspec.structs.replace(settings, uri="", database="")
        clients.append(connect(own, state=state, user=app.user, clock=app.clock))
    for client in clients:
        _require_all_seen(client)
    if any((app.store.root / "files").glob("??/*")) and not any(_knows(client, model) for client in clients):
        asked = masked(elsewhere or str(state / DATABASE_NAME))
        raise InvalidInput(
            f"{asked} knows no run and no version of {model!r}; what {app.store.root} holds would be deleted.",
            hint="set LOCKGATE_URI or LOCKGATE_DATABASE to where they are recorded; lockgate config shows what is set",
        )
    return clients


def _require_all_seen(client: "Client") -> None:
    """What is hidden from the caller may name content as well: of the project's former name, of another project."""
    from lockgate.errors import PermissionDenied
    from lockgate.metadata.access import INSTALLATION

    user = client.access.who_am_i().user
    if user is not None and all(grant.pattern != INSTALLATION for grant in user.grants):
        raise PermissionDenied(
            f"{user.name!r} does not see all models and experiments; content that the others name would be deleted.",
            hint=f"an admin gives the role: lockgate users grant {user.name} viewer",
        )


def _knows(client: "Client", name: str) -> bool:
    """Whether there is an experiment or a model of that name; the first run of a project makes the one."""
    from lockgate.errors import NotFound
    from lockgate.wire.mlflow.experiments import GET_EXPERIMENT_BY_NAME, ExperimentName

    try:
        client.transport.call(GET_EXPERIMENT_BY_NAME, ExperimentName(experiment_name=name))
    except NotFound:
        return any(model.name == name for model in client.registry.list_models())
    return True


def _documents(app: App, clients: "list[Client]", actions: "Actions", forgotten: set[str]) -> Iterator[bytes]:
    """Every record that may name stored content."""
    import msgspec

    from lockgate.pipelines.definition import LOCK_FILE
    from lockgate.pipelines.record import decode_record

    lock = app.folder.root / LOCK_FILE
    if lock.exists():
        yield lock.read_bytes()
    for key, _ in actions.newest_first():
        data = actions.get(key)
        if key in forgotten or data is None:
            continue
        record = decode_record(data)
        # What a stage wrote is kept; what it read is somebody else's output, or the user's own file.
        yield data if record is None else msgspec.json.encode(record.outs)
    for client in clients:
        for model in client.registry.list_models():
            for release in client.registry.iter_releases(model.name):
                yield msgspec.json.encode(release)
            for window in client.monitoring.iter_windows(model.name):
                yield msgspec.json.encode(window)
        yield from _runs(client)


def _runs(client: "Client") -> Iterator[bytes]:
    """The tags of runs, also of those that can be restored: they name the environment and what was not committed."""
    import msgspec

    from lockgate.exchange.endpoint import Endpoint

    records = Endpoint(client.transport, "")
    experiment_ids = [experiment.experiment_id for experiment in records.iter_experiments()]
    for start in range(0, len(experiment_ids), _EXPERIMENTS_A_SEARCH):
        for page in records.iter_runs(*experiment_ids[start : start + _EXPERIMENTS_A_SEARCH]):
            for run in page:
                yield msgspec.json.encode(run.data.tags)


def _old_results(actions: "Actions", youngest_ns: int) -> set[str]:
    """Results of stages beyond the last few of each. A stage is known by the outputs that it writes.

    Other results (verdicts, data checks) are small, and some are the only word on their question: they stay.
    """
    from lockgate.pipelines.record import decode_record

    seen: Counter[tuple[str, ...]] = Counter()
    old = set()
    for key, written_ns in actions.newest_first():
        record = decode_record(actions.get(key))
        if record is None:
            continue
        seen[record.inputs.outs] += 1
        if seen[record.inputs.outs] > RESULTS_A_STAGE and written_ns < youngest_ns:
            old.add(key)
    return old
