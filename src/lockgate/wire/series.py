"""Many values of metrics in columns: what our own client sends, a fraction of the bytes and work of MLflow's rows."""

from lockgate.wire.mlflow.runs import Int64, Number, OfRun
from lockgate.wire.operation import Empty, Message, own

# Keeps one request's write transaction in the tens of milliseconds, so that other writers get their turn.
VALUES_A_REQUEST = 10_000


class Series(Message, frozen=True, kw_only=True):
    """Values of one metric. The three columns are of one length; times are milliseconds."""

    key: str
    values: tuple[Number, ...]  # NaN and infinities as the strings of `number_out`
    timestamps: tuple[Int64, ...]
    steps: tuple[Int64, ...]


class LogSeries(OfRun, frozen=True, kw_only=True):
    """At most `VALUES_A_REQUEST` values in all; a value that is there already changes nothing."""

    series: tuple[Series, ...] = ()


LOG_SERIES = own("runs", "log_series", LogSeries, Empty)
