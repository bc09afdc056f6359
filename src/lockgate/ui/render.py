"""The template environment: everything is escaped, undefined names are errors, times are UTC."""

from functools import cache
from typing import TYPE_CHECKING

from lockgate import __version__
from lockgate.clock import format_utc

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """The page `templates/<template>` with these values."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lockgate.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"time": format_time, "number": format_number, "percent": format_percent, "short": shorten}
    environment.globals["lockgate_version"] = __version__
    return environment


def format_time(at_ms: int | None) -> str:
    return "–" if at_ms is None else format_utc(at_ms)


def format_number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.3e}"


def format_percent(share: float) -> str:
    return f"{share * 100:.4g} %"


def shorten(digest: str | None, length: int = 12) -> str:
    return "–" if not digest else digest[:length]
