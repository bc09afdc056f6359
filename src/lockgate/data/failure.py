"""A broken expectation of a data contract, as it is shown and kept."""

from lockgate.entities import Record, Scalar


class Offender(Record, frozen=True, kw_only=True):
    """One row that broke an expectation, and its value. Rows count from 1, without a header."""

    row: int
    value: Scalar


class Failure(Record, frozen=True, kw_only=True):
    """One broken expectation. `rows` is None where no row is to blame: a missing column, too few rows, drift."""

    expectation: str  # type, nullable, max_missing, min, max, categories, pattern, unique, required, drift, ...
    message: str
    column: str | None = None
    rows: int | None = None
    share: float | None = None
    examples: tuple[Offender, ...] = ()

    def __str__(self) -> str:
        if not self.examples:
            return self.message
        shown = ", ".join(f"row {item.row}: {item.value!r}" for item in self.examples)
        more = ", ..." if self.rows is not None and self.rows > len(self.examples) else ""
        return f"{self.message} ({shown}{more})"
