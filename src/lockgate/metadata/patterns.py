"""What grants are made on: one name or, with a `*` at the end, all names that begin so. Capitals count."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, false, func, or_, true


def fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def fits_any(patterns: Sequence[str] | None, column: ColumnElement[str]) -> ColumnElement[bool]:
    """The same in SQL, of a column of names and several patterns; None is everything."""
    if patterns is None:
        return true()
    exact = [pattern for pattern in patterns if not pattern.endswith("*")]
    beginnings = [pattern[:-1] for pattern in patterns if pattern.endswith("*")]
    # not LIKE, to which `_` is any character and in SQLite `A` is `a`
    begins = [func.substr(column, 1, len(beginning)) == beginning for beginning in beginnings]
    return or_(column.in_(exact) if exact else false(), *begins)
