"""`lockgate gc`: delete stored content that nothing refers to, and for good what was deleted long enough ago."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.store.actions import Actions

# Results of one stage that are kept: going back to the inputs of the last few runs stays free.
RESULTS_A_STAGE = 5
_ALL = 2**31 - 1
_PAGE = 1000
_DAY_MS = 86_400_000
_SHOWN = 20


@click.command
@click.option(
    "--deleted-before",
    "days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Also delete for good runs, logged models and experiments that were deleted more than DAYS ago.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def gc(app: App, days: float | None, dry_run: bool, as_json: bool) -> None:
    """Delete stored content that nothing refers to.

    Kept is what releases, runs, monitor windows and lockgate.lock name, the last results of every stage, and everything
    written within the last hour, so it is safe while other commands work.

    What `--deleted-before` deletes is gone with its metrics, params and files, and cannot be restored. Kept is what
    registered versions were made from.

    \b
    Example: lockgate gc --deleted-before 30 --dry-run
    """
    from lockgate.cli.output import print_json
    from lockgate.pipelines.status import open_stats
    from lockgate.store.actions import Actions
    from lockgate.store.gc import GRACE_S
    from lockgate.store.gc import gc as collect

    purged = None
    if days is not None:
        before_ms = app.clock.now_ms() - round(days * _DAY_MS)
        # First: what these runs named is then named by nobody.
        purged = app.client.tracking.purge(before_ms=before_ms, dry_run=dry_run)
    actions = Actions(app.store.root / "actions")
    youngest_ns = int((app.clock.now_ms() - GRACE_S * 1000) * 1_000_000)
    forgotten = _old_results(actions, youngest_ns)
    keep = {digest for document in _documents(app, actions, forgotten) for digest in _digests(document)}
    done = collect(app.store, keep, clock=app.clock, dry_run=dry_run)
    if not dry_run:
        # After the content: a result without its content is one that must be built again, and nothing worse.
        for key in forgotten:
            actions.remove(key)
        stats = open_stats(app.folder.state, app.clock)
        stats.prune()
        stats.save()
        _clean_uploads(app)
    if as_json:
        print_json({"dry_run": dry_run, "results": len(forgotten), "content": done, "purged": purged})
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
    click.echo(
        f"{len(done.deleted)} objects ({done.deleted_bytes / 1e6:.1f} MB) and {len(forgotten)} old results {verb}; "
        f"{done.kept} objects ({done.kept_bytes / 1e6:.1f} MB) are kept."
    )


def _clean_uploads(app: App) -> None:
    """Remove what uploads of files to runs have left whose server was killed."""
    from lockgate.server.artifacts.open import DEFAULT_FOLDER, open_artifacts
    from lockgate.server.artifacts.store import ABANDONED_MS

    store = open_artifacts(app.settings.artifacts, default=app.folder.state / DEFAULT_FOLDER)
    store.clean(before_ms=app.clock.now_ms() - ABANDONED_MS)


def _digests(document: bytes) -> set[str]:
    from lockgate.store.gc import digests_in

    return digests_in(document)


def _documents(app: App, actions: "Actions", forgotten: set[str]) -> Iterator[bytes]:
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
    for model in app.client.registry.list_models():
        for release in app.client.registry.list_releases(model.name, limit=_ALL):
            yield msgspec.json.encode(release)
        for environment in app.folder.project.environments:
            for window in app.client.monitoring.list_windows(model.name, environment, limit=_ALL):
                yield msgspec.json.encode(window)
    yield from _runs(app)


def _runs(app: App) -> Iterator[bytes]:
    """The tags of runs: they name the environment and the difference to the commit."""
    import msgspec

    experiments = [experiment.experiment_id for experiment in app.client.tracking.list_experiments()]
    token: str | None = None
    while experiments and token != "":
        page = app.client.tracking.search_runs(experiments, max_results=_PAGE, page_token=token)
        for found in page.runs:
            yield msgspec.json.encode(found.data.tags)
        token = page.next_page_token


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
