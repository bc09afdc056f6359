"""`lockgate status`: what would run and why, without running anything."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lockgate.clock import Clock
from lockgate.entities import Content, Record
from lockgate.errors import StorageFull
from lockgate.pipelines.definition import Node, nodes_of, read_stages
from lockgate.pipelines.graph import Graph, build_graph, check_dependencies
from lockgate.pipelines.lock_file import Lock, read_lock
from lockgate.pipelines.plan import Decision, State, decide, differences, join
from lockgate.pipelines.record import decode_record
from lockgate.pipelines.workspace import Workspace
from lockgate.project import Folder
from lockgate.store.actions import Actions
from lockgate.store.snapshot import snapshot
from lockgate.store.stat_cache import StatCache
from lockgate.store.store import Store


class Planned(Record, frozen=True, kw_only=True):
    """What a run would do with one stage."""

    stage: str
    state: State
    reason: str


class DataFile(Record, frozen=True, kw_only=True):
    """One data file of the project beside what the last run saw."""

    name: str
    path: str
    state: str  # unchanged, changed, new (no run has seen it), missing
    content: Content | None = None


class Status(Record, frozen=True, kw_only=True):
    """Stages in running order, and the data files."""

    stages: tuple[Planned, ...]
    data: tuple[DataFile, ...]


def pipeline_status(
    folder: Folder, *, store: Store, actions: Actions, clock: Clock, targets: Sequence[str] = (), force: bool = False
) -> Status:
    """What `lockgate run` would do now. Raises InvalidInput as it would."""
    stats = open_stats(folder.state, clock)
    lock = read_lock(folder.root)
    graph = build_graph(nodes_of(read_stages(folder)))
    names = graph.select(targets)
    check_dependencies(graph, names, folder.root)
    workspace = Workspace(folder.root, store=store, stats=stats)
    planned = plan(graph, names, lock=lock, workspace=workspace, store=store, actions=actions, force=force)
    data = tuple(_data_file(folder.root, name, item.path, lock, stats) for name, item in folder.project.data.items())
    if folder.state.is_dir():
        with suppress(OSError, StorageFull):  # whoever may only read looks at all files again next time
            stats.save()
    return Status(stages=tuple(planned), data=data)


def open_stats(state: Path, clock: Clock) -> StatCache:
    """The digests of files that a project's last looks have learned."""
    return StatCache(state / "stats.msgpack", clock=clock)


def plan(
    graph: Graph,
    names: Sequence[str],
    *,
    lock: Lock,
    workspace: Workspace,
    store: Store,
    actions: Actions,
    force: bool = False,
) -> list[Planned]:
    """The plan of a whole run. What a stage that runs will write is not known, so all that wait for it may run too."""
    planned: dict[str, Planned] = {}
    for name in names:
        node = graph.nodes[name]
        waits = [parent for parent in graph.parents[name] if parent in planned and planned[parent].state == "run"]
        if unknown := _unknown(node, waits, graph, workspace):
            reason = _partial_reason(node, lock, workspace, unknown)
            after = f"after {', '.join(waits)}" if waits else "after its dependencies are restored"
            planned[name] = Planned(stage=name, state="run", reason=f"{reason}, {after}" if reason else after)
            continue
        decision = decide_now(node, lock=lock, workspace=workspace, store=store, actions=actions, force=force)
        if decision.state == "restore" and decision.record is not None:
            workspace.expected.update({path: decision.record.outs[path] for path in decision.broken})
        planned[name] = Planned(stage=name, state=decision.state, reason=decision.reason)
    return list(planned.values())


def decide_now(
    node: Node, *, lock: Lock, workspace: Workspace, store: Store, actions: Actions, force: bool = False
) -> Decision:
    """The decision for one stage with what is on disk now."""
    return decide(
        node,
        workspace.inputs(node),
        locked=lock.stages.get(node.name),
        remembered=lambda key: decode_record(actions.get(key)),
        on_disk=workspace.on_disk,
        is_stored=store.has,
        force=force,
    )


def _unknown(node: Node, waits: Sequence[str], graph: Graph, workspace: Workspace) -> frozenset[str]:
    """The dependencies whose content is not known before other stages have run or been restored."""
    outs = [out.path for parent in waits for out in graph.nodes[parent].outs]
    unknown = {dep for dep in node.deps if any(_overlap(dep, out) for out in outs) or workspace.will_change(dep)}
    params = [use.path for use in node.params if any(_overlap(use.path, out) for out in outs)]
    return frozenset((*unknown, *params))


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/") or one == "."


def _partial_reason(node: Node, lock: Lock, workspace: Workspace, unknown: frozenset[str]) -> str:
    """What is known to have changed already, in words; empty where nothing has."""
    locked = lock.stages.get(node.name)
    if locked is None:
        return "never ran"
    if any(use.path in unknown for use in node.params):
        return ""
    now = workspace.inputs(node, skip=unknown)
    known = {path: content for path, content in locked.inputs.deps.items() if path not in unknown}
    before = type(now)(
        commands=locked.inputs.commands,
        wdir=locked.inputs.wdir,
        deps=known,
        params=locked.inputs.params,
        env=locked.inputs.env,
        outs=locked.inputs.outs,
    )
    return join(list(differences(before, now)))


def _data_file(root: Path, name: str, path: str, lock: Lock, stats: StatCache) -> DataFile:
    content = snapshot(root / path, stats)
    if content is None:
        state = "missing"
    elif name not in lock.data:
        state = "new"
    else:
        state = "unchanged" if lock.data[name] == content else "changed"
    return DataFile(name=name, path=path, state=state, content=content)
