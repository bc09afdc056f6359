"""Stages and who waits for whom.

A stage waits for another when one of its dependencies is an output of the other, lies inside one, or contains one.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice, takewhile
from pathlib import Path

import msgspec

from lockgate.errors import InvalidInput
from lockgate.pipelines.definition import Node


class Graph(msgspec.Struct, frozen=True):
    """Stages in an order in which they can run; `parents` are the stages that one waits for."""

    nodes: dict[str, Node]
    parents: dict[str, tuple[str, ...]]

    def children(self, name: str) -> list[str]:
        return [other for other, parents in self.parents.items() if name in parents]

    def descendants(self, name: str) -> set[str]:
        """Every stage that waits for `name`, directly or not."""
        found: set[str] = set()
        todo = [name]
        while todo:
            for child in self.children(todo.pop()):
                if child not in found:
                    found.add(child)
                    todo.append(child)
        return found

    def select(self, targets: Sequence[str]) -> list[str]:
        """The targets and all that they wait for, in running order; everything without targets.

        Raises InvalidInput for a name that is not a stage.
        """
        for target in targets:
            if target not in self.nodes:
                nearest = get_close_matches(target, self.nodes, n=1)
                raise InvalidInput(
                    f"there is no stage {target!r}.",
                    hint=f"did you mean {nearest[0]!r}?" if nearest else f"the stages are: {', '.join(self.nodes)}",
                )
        wanted = set(targets or self.nodes)
        for name in reversed(self.nodes):
            if name in wanted:
                wanted.update(self.parents[name])
        return [name for name in self.nodes if name in wanted]


def build_graph(nodes: Iterable[Node]) -> Graph:
    """Order the stages. Raises InvalidInput for cycles, outputs that two stages write, and outputs inside outputs."""
    by_name = {node.name: node for node in nodes}
    owners = _owners(by_name.values())
    # A frozen stage never looks at its dependencies, so it waits for nobody.
    outs = sorted(owners)
    parents = {name: () if node.frozen else _parents(node, owners, outs) for name, node in by_name.items()}
    order = _order(parents)
    return Graph({name: by_name[name] for name in order}, {name: parents[name] for name in order})


def check_dependencies(graph: Graph, names: Iterable[str], root: Path) -> None:
    """Raises InvalidInput naming every dependency that is neither on disk nor an output, and who needs it."""
    owners = _owners(graph.nodes.values())
    lost = [
        (path, name)
        for name in names
        if not graph.nodes[name].frozen
        for path in graph.nodes[name].deps
        if not _is_written(path, owners) and not (root / path).exists()
    ]
    if not lost:
        return
    path, name = lost[0]
    others = "".join(f"; stage {other} needs {missing!r}" for missing, other in lost[1:])
    tracked = (root / f"{path}.dvc").is_file()
    raise InvalidInput(
        f"stage {name} needs {path!r}, which is neither a file nor an output of a stage{others}.",
        hint=f"dvc pull {path}.dvc" if tracked else f"put the file there, or correct `deps` of stage {name}",
    )


def _owners(nodes: Iterable[Node]) -> dict[str, str]:
    """Each output with the stage that writes it."""
    owners: dict[str, str] = {}
    for node in nodes:
        for out in node.outs:
            if out.path in owners:
                raise InvalidInput(f"two stages write {out.path!r}: {owners[out.path]} and {node.name}.")
            owners[out.path] = node.name
    for path, name in owners.items():
        for above in _ancestors(path):
            if above in owners:
                raise InvalidInput(
                    f"the output {path!r} of stage {name} lies inside the output {above!r} of stage {owners[above]}.",
                    hint="name one of the two, or let the stages write to folders of their own",
                )
    return owners


def _parents(node: Node, owners: dict[str, str], outs: list[str]) -> tuple[str, ...]:
    """The stages whose outputs (`outs`, sorted) are what `node` reads, or lie around or inside it."""
    found: dict[str, None] = {}
    for dep in (*node.deps, *(use.path for use in node.params)):
        read = [path for path in (dep, *_ancestors(dep)) if path in owners] + _inside(dep, outs)
        found.update(dict.fromkeys(owners[path] for path in read))
    return tuple(found)


def _inside(folder: str, outs: list[str]) -> list[str]:
    if folder == ".":
        return outs
    start = bisect_left(outs, f"{folder}/")
    return list(takewhile(lambda path: path.startswith(f"{folder}/"), islice(outs, start, None)))


def _is_written(path: str, owners: dict[str, str]) -> bool:
    return any(part in owners for part in (path, *_ancestors(path))) or any(
        out.startswith(f"{path}/") for out in owners
    )


def _ancestors(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        yield path


def _order(parents: dict[str, tuple[str, ...]]) -> list[str]:
    """Parents first, otherwise in the order of the file; iterative, because graphs can be deep."""
    order: list[str] = []
    done: set[str] = set()
    for start in parents:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = [(start, iter(parents[start]))] if start not in done else []
        path.extend(name for name, _ in stack)
        while stack:
            name, rest = stack[-1]
            parent = next((one for one in rest if one not in done), None)
            if parent is None:
                stack.pop()
                path.pop()
                done.add(name)
                order.append(name)
            elif parent in path:
                raise _cycle([*path[path.index(parent) :], parent])
            else:
                stack.append((parent, iter(parents[parent])))
                path.append(parent)
    return order


def _cycle(names: list[str]) -> InvalidInput:
    if len(names) == 2:
        return InvalidInput(f"stage {names[0]} depends on its own output.")
    return InvalidInput(
        f"the stages wait for each other in a circle: {' -> '.join(names)} (each needs an output of the next).",
        hint="remove one of these dependencies",
    )
