"""Which stages would run, and why: a pure decision on what is known of the inputs, the memory and the disk.

cached    the outputs on disk are what these inputs gave before
restore   they were changed or deleted, and the store has them
run       these inputs are new, or what they gave is lost
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from lockgate.entities import Content, Record
from lockgate.pipelines.definition import Node, Out
from lockgate.pipelines.record import Inputs, StageRecord

State = Literal["cached", "restore", "run"]
_REASONS_SHOWN = 3


class Decision(Record, frozen=True, kw_only=True):
    """What to do with one stage. `record` is what it gave before, `broken` the outputs that must be restored."""

    stage: str
    state: State
    reason: str
    record: StageRecord | None = None
    broken: tuple[str, ...] = ()


def decide(
    node: Node,
    inputs: Inputs,
    *,
    locked: StageRecord | None,
    remembered: Callable[[str], StageRecord | None],
    on_disk: Callable[[str], Content | None],
    is_stored: Callable[[Content], bool],
    force: bool = False,
) -> Decision:
    """The decision for one stage whose inputs are all known.

    `locked` is its entry in the lock file, `remembered` looks a cache key up among all results, `on_disk` tells an
    output's present content and `is_stored` whether the store has a content whole.
    """
    if always := _always(node, force=force):
        return Decision(stage=node.name, state="run", reason=always)
    record = _find(node, inputs, locked, remembered)
    if record is None:
        return Decision(stage=node.name, state="run", reason=explain(locked, inputs))
    return _with_outputs(node, record, on_disk, is_stored, known=record is locked)


def _always(node: Node, *, force: bool) -> str | None:
    if force:
        return "forced"
    if node.always_changed:
        return "always_changed is set"
    if not node.deps and not node.outs and not node.params:
        return "it has neither dependencies nor outputs, so it always runs"
    return None


def _find(
    node: Node, inputs: Inputs, locked: StageRecord | None, remembered: Callable[[str], StageRecord | None]
) -> StageRecord | None:
    if locked is not None and _covers(locked, node) and (node.frozen or locked.inputs.key == inputs.key):
        return locked
    found = remembered(inputs.key)
    return found if found is not None and _covers(found, node) else None


def _covers(record: StageRecord, node: Node) -> bool:
    return all(out.path in record.outs for out in node.outs)


def _with_outputs(
    node: Node,
    record: StageRecord,
    on_disk: Callable[[str], Content | None],
    is_stored: Callable[[Content], bool],
    *,
    known: bool,
) -> Decision:
    """The inputs have been seen: is what they gave still there?"""
    broken = {out.path: found for out in node.outs if (found := on_disk(out.path)) != record.outs[out.path]}
    if not broken:
        reason = ("frozen" if node.frozen else "nothing changed") if known else "ran before with the same inputs"
        return Decision(stage=node.name, state="cached", reason=reason, record=record)
    lost = [out for out in node.outs if out.path in broken and not _is_restorable(out, record, is_stored)]
    words = [f"output {path} {'missing' if found is None else 'changed'}" for path, found in broken.items()]
    if lost:
        where = "not in the store" if any(out.cache for out in lost) else "kept on disk only"
        return Decision(stage=node.name, state="run", reason=f"{join(words)}, {where}")
    reason = f"{join(words)}, in the store" if known else "ran before with the same inputs, outputs in the store"
    return Decision(stage=node.name, state="restore", reason=reason, record=record, broken=tuple(broken))


def _is_restorable(out: Out, record: StageRecord, is_stored: Callable[[Content], bool]) -> bool:
    return out.cache and is_stored(record.outs[out.path])


def explain(locked: StageRecord | None, inputs: Inputs) -> str:
    """Why the inputs are not those of the last time, in words."""
    if locked is None:
        return "never ran"
    return join(list(differences(locked.inputs, inputs))) or "its result is no longer known"


def differences(before: Inputs, now: Inputs) -> Iterator[str]:
    """Each difference between two inputs, in words."""
    if before.commands != now.commands:
        yield "command changed"
    if before.wdir != now.wdir:
        yield f"working directory {before.wdir} -> {now.wdir}"
    old_deps = {path: content.digest for path, content in before.deps.items()}
    yield from _changes("dependency", old_deps, {path: content.digest for path, content in now.deps.items()})
    for name in sorted(before.params.keys() | now.params.keys()):
        if name not in now.params or name not in before.params:
            yield f"parameter {name} {'added' if name in now.params else 'removed'}"
        elif _text(before.params[name]) != _text(now.params[name]):
            yield f"parameter {name} {_text(before.params[name])} -> {_text(now.params[name])}"
    yield from _changes("environment variable", before.env, now.env)
    yield from _changes("output", dict.fromkeys(before.outs, ""), dict.fromkeys(now.outs, ""))


def _changes(kind: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        if name not in before:
            yield f"{kind} {name} added"
        elif name not in now:
            yield f"{kind} {name} removed"
        elif before[name] != now[name]:
            yield f"{kind} {name} changed"


def join(reasons: list[str]) -> str:
    """The first few reasons; a stage with a hundred changed dependencies fits a line too."""
    more = len(reasons) - _REASONS_SHOWN
    return ", ".join(reasons[:_REASONS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _text(value: Any) -> str:  # a value of YAML
    if isinstance(value, str | float):
        return str(value)
    return msgspec.json.encode(value).decode()
