"""Numbers as people read them in reasons and reports."""


def number(value: float | None) -> str:
    """Four significant digits; a dash for nothing."""
    if value is None:
        return "–"
    text = f"{value:.4g}"
    return text if "e" not in text or abs(value) < 1e-4 else f"{value:,.0f}"


def signed(value: float | None) -> str:
    """With its sign, so that a difference reads as one."""
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:+.4g}"


def percent(share: float) -> str:
    return f"{share * 100:.4g} %"


def count(n: int, singular: str, plural: str | None = None) -> str:
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"
