import sys
from pathlib import Path

import pytest

from lockgate.pipelines.search_path import with_our_python

OURS = str(Path(sys.executable).parent)
needs_venv = pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="the tests do not run in a virtual environment")


@needs_venv
def test_python_is_the_one_that_lockgate_is_installed_in() -> None:
    assert with_our_python({"PATH": "/usr/bin", "A": "1"}) == {"PATH": f"{OURS}:/usr/bin", "A": "1"}
    assert with_our_python({}) == {"PATH": OURS}


@pytest.mark.parametrize(
    "environ", [{"PATH": "/x", "VIRTUAL_ENV": "/x"}, {"PATH": "/x", "CONDA_PREFIX": "/x"}, {"PATH": f"/x:{OURS}"}]
)
def test_an_environment_that_was_chosen_goes_first(environ: dict[str, str]) -> None:
    assert with_our_python(environ) == environ
