"""The walls of DESIGN.md, kept by import-linter, and no cycles inside a package."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("lockgate", cache_dir=None)


def test_layers_hold() -> None:
    # A process of its own: it silences every logger that is there already, and later tests read what is logged.
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_package_has_its_place_in_the_layers() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    placed = {name.strip() for layer in contracts[0]["layers"] for name in layer.split("|")}
    source = ROOT / "src" / "lockgate"
    there = {
        f"lockgate.{path.stem}" for path in source.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    # the command's entry point, and the package itself
    assert there - placed - {"lockgate.__init__", "lockgate.__main__"} == set()
    assert placed - there == set()


def test_modules_import_each_other_in_one_direction_only(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    cycle = find_cycle(imports)
    assert cycle is None, " -> ".join(cycle or ())


def find_cycle(imports: dict[str, set[str]]) -> list[str] | None:
    """A cycle of imports, if there is one: depth first, a module that is met again on its own way closes it."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str] | None:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return None
        for imported in sorted(imports.get(module, ())):
            if found := visit(imported, [*way, module]):
                return found
        done.add(module)
        return None

    for module in sorted(imports):
        if found := visit(module, []):
            return found
    return None


def test_cycle_is_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
