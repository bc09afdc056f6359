"""Numbers that travel as text."""

import re

from lockgate.errors import InvalidInput

_WHOLE = re.compile(r"\s*[-+]?[0-9]{1,18}\s*", re.ASCII)


def experiment_number(text: str) -> int:
    """Ids travel as strings; no experiment has a negative one. Raises InvalidInput for what is no whole number."""
    if not _WHOLE.fullmatch(text):
        raise InvalidInput(f"{text!r} is not an experiment id.")
    return int(text)
