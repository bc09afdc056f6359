"""Import a library without an optional companion that it would only look for.

`import scikit-learn` tries `import pandas` for one helper, and pandas brings pyarrow: 60 MB that a replica whose model
takes numbers never uses. Inside the block that import fails, for this thread alone, as if pandas were not installed;
afterwards it works as ever, and scikit-learn looks again wherever it is handed a frame.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Refusal(MetaPathFinder):
    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self._name and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"the import of {fullname} is deferred", name=fullname)
        return None


@contextmanager
def deferred_import(name: str) -> Iterator[None]:
    """`import name` fails in the block, unless it is imported already."""
    refusal = _Refusal(name)
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)
