"""The order of a search by columns of the rows themselves; missing values come last whatever the direction."""

from typing import Any

from sqlalchemy import ColumnElement, case, func

from lockgate.metadata.pages import Sort


def column_sorts(column: ColumnElement[Any], ascending: bool) -> list[Sort]:
    """How one column of text or whole numbers is ordered by."""
    type_ = column.type.python_type
    if not getattr(column, "nullable", True):
        return [Sort(column, ascending, type_)]
    return value_sorts(column, ascending, type_)


def value_sorts(value: ColumnElement[Any], ascending: bool, type_: type[Any]) -> list[Sort]:
    """How a value that may be missing is ordered by: whether it is there, then itself."""
    missing = case((value.is_(None), 1), else_=0)
    return [Sort(missing, True, int), Sort(func.coalesce(value, type_()), ascending, type_)]
