"""Releases as commands show them: one in full, two side by side. Pure functions of the records."""

from typing import Any

from lockgate.cli.output import format_time
from lockgate.entities import Check, Release, Scalar


def describe_release(release: Release) -> dict[str, Scalar]:
    """The facts of a release, one a line; None where it has none."""
    return {
        "model": release.model,
        "version": release.version,
        "verdict": verdict_word(release),
        "created": format_time(release.created_at),
        "created_by": release.created_by,
        "flavor": release.flavor,
        "content": release.content.digest,
        "size_bytes": release.content.size_bytes,
        "run_id": release.run_id or None,
        "commit": release.commit,
        "uncommitted": release.dirty_diff,
        "environment": release.environment,
        "profile": release.profile,
        "report": release.report,
    }


def verdict_word(release: Release | None) -> str:
    """`passed`, `refused`, `not judged`, or `no release` for a version that was registered from outside."""
    if release is None:
        return "no release"
    if release.verdict is None:
        return "not judged"
    return "passed" if release.verdict.passed else "refused"


def check_rows(release: Release) -> list[dict[str, object]]:
    """One row a gate."""
    checks: tuple[Check, ...] = release.verdict.checks if release.verdict else ()
    return [{"gate": item.gate, "status": item.status, "reason": item.reason} for item in checks]


def metrics_of(release: Release | None) -> dict[str, float]:
    """What the gates measured."""
    return release.verdict.metrics if release and release.verdict else {}


def compare_releases(a: Release, b: Release) -> dict[str, list[dict[str, Any]]]:
    """Rows under `facts`, `metrics`, `params` and `data`: name, a, b, and `difference` where they differ.

    The difference of numbers is b - a, of anything else `changed`, `added` or `removed`.
    """
    facts = ("verdict", "created", "flavor", "size_bytes", "commit", "environment", "content")
    left, right = describe_release(a), describe_release(b)
    return {
        "facts": _rows({name: left[name] for name in facts}, {name: right[name] for name in facts}),
        "metrics": _rows(metrics_of(a), metrics_of(b)),
        "params": _rows(a.params, b.params),
        "data": _rows(
            {name: content.digest for name, content in a.data.items()},
            {name: content.digest for name, content in b.data.items()},
        ),
    }


def _rows(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return [
        {"name": name, "a": a.get(name), "b": b.get(name), "difference": _difference(a.get(name), b.get(name))}
        for name in names
    ]


def _difference(a: Scalar, b: Scalar) -> Scalar:
    if a == b:
        return None
    if a is None or b is None:
        return "added" if a is None else "removed"
    if isinstance(a, str | bool) or isinstance(b, str | bool):
        return "changed"
    return b - a
