"""Numbers that travel as text."""

from lockgate.errors import InvalidInput


def experiment_number(text: str) -> int:
    """Ids travel as strings. Raises InvalidInput for what is none."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidInput(f"{text!r} is not an experiment id.")
    return int(text)
