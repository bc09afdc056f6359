"""What a server tells newest first, asked for a page at a time."""

from collections.abc import Callable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Place = TypeVar("Place", int, str)


def newest_first(
    ask: Callable[[Place | None], list[Item]], place: Callable[[Item], Place], *, size: int
) -> Iterator[Item]:
    """All of them; `ask` gives the at most `size` before a place, the newest for None."""
    page = ask(None)
    while page:
        yield from page
        page = ask(place(page[-1])) if len(page) == size else []
