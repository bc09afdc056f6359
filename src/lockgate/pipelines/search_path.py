"""Which `python` a stage's command finds."""

import sys
from collections.abc import Mapping
from pathlib import Path

# Tools that give every command-line program an environment of its own, which is not where the user's libraries are.
_ISOLATED = ("/pipx/", "/uv/tools/")


def with_our_python(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which `python` is the one of the environment that lockgate is installed in.

    An environment that the user activated goes first, and one that holds lockgate alone (pipx, uv tool) is not used.
    """
    bin_folder = str(Path(sys.executable).parent)
    path = environ.get("PATH", "")
    is_ours = sys.prefix != sys.base_prefix and not any(part in bin_folder for part in _ISOLATED)
    is_chosen = "VIRTUAL_ENV" in environ or "CONDA_PREFIX" in environ or bin_folder in path.split(":")
    if not is_ours or is_chosen:
        return dict(environ)
    return {**environ, "PATH": f"{bin_folder}:{path}" if path else bin_folder}
