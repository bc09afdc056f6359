"""The stages of a project in the form that the engine works on: every path relative to the project's root.

In the file, the paths of a stage are relative to its `wdir`, as in dvc.yaml. Stages come from lockgate.yaml, or from
dvc.yaml where lockgate.yaml has none.
"""

import posixpath
from collections.abc import Callable, Mapping

import msgspec

from lockgate.errors import InvalidInput
from lockgate.pipelines.dvc_file import read_dvc_stages
from lockgate.project import FILE_NAME, STATE_FOLDER, Folder, Stage, duration_s, output_paths

PARAMS_FILE = "params.yaml"
LOCK_FILE = "lockgate.lock"
_OURS = (FILE_NAME, LOCK_FILE, STATE_FOLDER, "dvc.yaml", ".git")


class Out(msgspec.Struct, frozen=True):
    """One output. With `cache` off it stays on disk only; with `persist` it is there when the stage starts again."""

    path: str
    cache: bool = True
    persist: bool = False


class ParamsUse(msgspec.Struct, frozen=True):
    """The parameters that a stage reads from one file; `names` is None where it reads them all."""

    path: str
    names: tuple[str, ...] | None


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One stage, ready to be compared with what is on disk."""

    name: str
    commands: tuple[str, ...]
    wdir: str = "."
    deps: tuple[str, ...] = ()
    outs: tuple[Out, ...] = ()
    params: tuple[ParamsUse, ...] = ()
    metrics: tuple[str, ...] = ()
    model: str | None = None
    env: dict[str, str] = {}
    timeout_s: float | None = None
    retries: int = 0
    frozen: bool = False
    always_changed: bool = False


def read_stages(folder: Folder) -> Mapping[str, Stage]:
    """The project's stages by name; those of dvc.yaml where lockgate.yaml has none. Raises InvalidInput."""
    if folder.project.stages or not (folder.root / "dvc.yaml").is_file():
        return folder.project.stages
    return read_dvc_stages(folder.root / "dvc.yaml")


def nodes_of(stages: Mapping[str, Stage]) -> tuple[Node, ...]:
    """Every stage with its paths resolved. Raises InvalidInput for outputs outside the project."""
    return tuple(_node(name, stage) for name, stage in stages.items())


def _node(name: str, stage: Stage) -> Node:
    def resolve(path: str) -> str:
        return posixpath.normpath(posixpath.join(stage.wdir, path))

    outs: dict[str, Out] = {}
    for path, options in output_paths(stage):
        out = Out(resolve(path), cache=options.cache, persist=options.persist)
        outs.setdefault(_checked_output(name, out).path, out)
    metrics = (path for item in stage.metrics for path in ([item] if isinstance(item, str) else item))
    return Node(
        name=name,
        commands=(stage.cmd,) if isinstance(stage.cmd, str) else tuple(stage.cmd),
        wdir=posixpath.normpath(stage.wdir),
        deps=tuple(dict.fromkeys(map(resolve, stage.deps))),
        outs=tuple(outs.values()),
        params=_params(stage, resolve(PARAMS_FILE), resolve),
        metrics=tuple(map(resolve, metrics)),
        model=resolve(stage.model) if stage.model else None,
        env=stage.env,
        timeout_s=duration_s(stage.timeout) if stage.timeout else None,
        retries=stage.retries,
        frozen=stage.frozen,
        always_changed=stage.always_changed,
    )


def _checked_output(stage: str, out: Out) -> Out:
    """An output is deleted before its stage runs, so it must be the project's own and nothing of ours."""
    first = out.path.split("/", 1)[0]
    if out.path == "." or first == ".." or out.path.startswith("/"):
        raise InvalidInput(f"stage {stage} writes {out.path!r}, which is not inside the project's folder.")
    if first in _OURS:
        raise InvalidInput(f"stage {stage} writes {out.path!r}, which belongs to lockgate or git.")
    return out


def _params(stage: Stage, default: str, resolve: Callable[[str], str]) -> tuple[ParamsUse, ...]:
    uses: dict[str, list[str] | None] = {}
    for item in stage.params:
        wanted = {default: [item]} if isinstance(item, str) else {resolve(path): keys for path, keys in item.items()}
        for path, keys in wanted.items():
            known = uses.setdefault(path, [])
            uses[path] = None if keys is None or known is None else [*known, *keys]
    return tuple(ParamsUse(path, None if names is None else tuple(names)) for path, names in uses.items())
