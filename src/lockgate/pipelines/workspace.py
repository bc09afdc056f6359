"""What a stage would read and what its outputs are, as they lie on disk now or as they will after a restore."""

from pathlib import Path

from lockgate.entities import Content
from lockgate.errors import InvalidInput
from lockgate.pipelines.definition import Node
from lockgate.pipelines.params import ParamsFiles
from lockgate.pipelines.record import Inputs
from lockgate.store.snapshot import snapshot, tree_content
from lockgate.store.stat_cache import StatCache
from lockgate.store.store import Store
from lockgate.store.tree import TreeEntry


class Workspace:
    """A project's folder. `expected` holds outputs that a plan will restore: their content counts, not the disk's."""

    def __init__(self, root: Path, *, store: Store, stats: StatCache) -> None:
        self.root = root
        self.params = ParamsFiles(root)
        self.expected: dict[str, Content] = {}
        self._store = store
        self._stats = stats

    def on_disk(self, path: str) -> Content | None:
        """The content of a file or folder; None where there is nothing."""
        return snapshot(self.root / path, self._stats)

    def content(self, path: str) -> Content | None:
        """The same, with what will be restored in place."""
        if not self.expected:
            return self.on_disk(path)
        if path in self.expected:
            return self.expected[path]
        above = next((out for out in self.expected if path.startswith(f"{out}/")), None)
        if above is not None:
            return self._inside(above, path.removeprefix(f"{above}/"))
        return self.on_disk(path)

    def will_change(self, path: str) -> bool:
        """Whether a folder holds outputs that will be restored, so that its content is not known yet."""
        return any(out.startswith(f"{path}/") or path == "." for out in self.expected)

    def inputs(self, node: Node, *, skip: frozenset[str] = frozenset()) -> Inputs:
        """All that the stage would read, without the dependencies `skip`.

        Raises InvalidInput for a dependency or parameter that is not there.
        """
        deps = {}
        for path in node.deps:
            if path in skip:
                continue
            content = self.content(path)
            if content is not None:
                deps[path] = content
            elif not node.frozen:
                raise InvalidInput(f"stage {node.name} needs {path!r}, which does not exist.")
        return Inputs(
            commands=node.commands,
            wdir=node.wdir,
            deps=deps,
            params=self.params.of_stage(node),
            env=node.env,
            outs=tuple(sorted(out.path for out in node.outs)),
        )

    def _inside(self, out: str, path: str) -> Content | None:
        """A part of an output that will be restored."""
        if self.expected[out].kind == "file":
            return None
        entries = self._store.read_tree(self.expected[out].digest)
        for entry in entries:
            if entry.path == path:
                return Content(kind="file", digest=entry.digest, size_bytes=entry.size_bytes)
        below = tuple(
            TreeEntry(
                path=entry.path.removeprefix(f"{path}/"),
                digest=entry.digest,
                size_bytes=entry.size_bytes,
                executable=entry.executable,
            )
            for entry in entries
            if entry.path.startswith(f"{path}/")
        )
        return tree_content(below) if below else None
