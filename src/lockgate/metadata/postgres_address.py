"""The address of a PostgreSQL database. Apart from its engine, whose dialect takes a tenth of a second to import."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from lockgate.errors import InvalidInput


def parse_address(text: str) -> URL:
    """What the setting `database` says. Raises InvalidInput, which does not repeat the text: it may hold a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in ("postgresql", "postgres", "postgresql+psycopg") or not url.database:
        given = f"an address of {url.drivername}" if url is not None else "no address"
        raise InvalidInput(
            f"the setting database is {given}; expected postgresql://USER:PASSWORD@HOST/DATABASE.",
            hint="leave it empty for SQLite, or keep the address elsewhere: env:NAME, file:PATH",
        )
    return url.set(drivername="postgresql+psycopg")


def describe(url: URL) -> str:
    """The address without its password and options."""
    return url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)
