"""`lockgate models`: registered models, their versions, and what people say of them."""

from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App
from lockgate.entities import HOW_TO_RELEASE

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.entities import Release

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_SHORT = 12
_NO_RELEASE = f"no release: the version was registered from outside. To get one, {HOW_TO_RELEASE}."


@click.group(invoke_without_command=True)
@_JSON
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List registered models with their newest version and aliases.

    \b
    Example: lockgate models show churn@champion
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)


@models.command("list")
@click.argument("prefix", default="")
@_JSON
@click.pass_obj
def list_(app: App, prefix: str, as_json: bool) -> None:
    """List the models whose name begins with PREFIX, or all of them.

    A name may hold folders: `team/churn` is the model churn of team.

    \b
    Example: lockgate models list team/
    """
    from lockgate.cli.output import format_time, print_json, print_table

    found = app.client.registry.list_models(prefix)
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "model": item.name,
            "versions": item.latest_version,
            "aliases": ", ".join(f"{alias}={version}" for alias, version in item.aliases.items()) or None,
            "changed": format_time(item.updated_at),
            "description": item.description or None,
        }
        for item in found
    ]
    columns = ["model", "versions", "aliases", "changed", "description"]
    nothing = f"no model begins with {prefix!r}." if prefix else "no models yet: lockgate run registers one."
    print_table(rows, columns, empty=nothing)


@models.command
@click.argument("reference", metavar="MODEL[@VERSION|@ALIAS]")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many versions.")
@_JSON
@click.pass_obj
def show(app: App, reference: str, limit: int, as_json: bool) -> None:
    """Print a model with its versions, or one version with its verdict and lineage.

    \b
    Example: lockgate models show churn@3
    """
    model, version = _resolve(app.client, reference)
    if version is None:
        _show_model(app.client, model, limit, as_json=as_json)
    else:
        _show_version(app.client, model, version, as_json=as_json)


@models.command
@click.argument("model")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@_JSON
@click.pass_obj
def compare(app: App, model: str, a: str, b: str, as_json: bool) -> None:
    """Print two versions side by side: facts, metrics, params and data, with what differs.

    A and B are version numbers or aliases.

    \b
    Example: lockgate models compare churn champion challenger
    """
    from lockgate.cli.output import print_json, print_table
    from lockgate.cli.release_view import compare_releases

    left, right = _release(app.client, model, a), _release(app.client, model, b)
    compared = compare_releases(left, right)
    if as_json:
        print_json({"a": left.version, "b": right.version, **compared})
        return
    names = (f"@{left.version}", f"@{right.version}")
    for title, rows in compared.items():
        click.echo(f"\n{title}")
        shown = [
            {
                "name": row["name"],
                names[0]: _short(row["a"]),
                names[1]: _short(row["b"]),
                "difference": row["difference"],
            }
            for row in rows
        ]
        print_table(shown, ["name", *dict.fromkeys(names), "difference"], empty="  none")


@models.command
@click.argument("model")
@click.argument("name", required=False)
@click.option("--version", "version", metavar="VERSION|ALIAS", help="Point the alias at this version.")
@click.option("--reason", default="", help="Kept in the history.")
@click.option("--history", is_flag=True, help="Print every move of the alias, or of all of them.")
@click.option("--delete", is_flag=True, help="Remove the alias.")
@_JSON
@click.pass_obj
def alias(
    app: App,
    model: str,
    name: str | None,
    version: str | None,
    reason: str,
    history: bool,
    delete: bool,
    as_json: bool,
) -> None:
    """Print, move or remove an alias of a model, or print how it has moved.

    The alias of an environment says what is to be there; traffic moves with `lockgate deploy` alone.

    \b
    Example: lockgate models alias churn shadow --version 3 --reason "to compare"
    """
    from lockgate.errors import InvalidInput

    if history + delete + (version is not None) > 1:
        raise InvalidInput("--version, --history and --delete exclude each other.")
    if name is None and (delete or version is not None):
        raise InvalidInput("name the alias.", hint=f"lockgate models alias {model} NAME --version N")
    registry = app.client.registry
    if history:
        _print_history(app.client, model, name, as_json=as_json)
    elif name is not None and delete:
        registry.get_model(model)
        registry.delete_alias(model, name, reason=reason)
        click.echo(f"{model} has no alias {name} any more.")
        _say_what_is_served(app.client, model, name, None)
    elif name is not None and version is not None:
        number = _number(app.client, model, version)
        registry.set_alias(model, name, number, reason=reason)
        click.echo(f"{model}@{name} is version {number}.")
        _say_what_is_served(app.client, model, name, number)
    else:
        _print_aliases(app.client, model, name, as_json=as_json)


@models.command
@click.argument("reference", metavar="MODEL[@VERSION|@ALIAS]")
@click.argument("key")
@click.argument("value", required=False)
@click.option("--delete", is_flag=True, help="Remove the tag.")
@click.pass_obj
def tag(app: App, reference: str, key: str, value: str | None, delete: bool) -> None:
    """Set or remove a tag of a model or of one version.

    \b
    Example: lockgate models tag churn@3 reviewed yes
    """
    from lockgate.errors import InvalidInput

    if delete == (value is not None):
        raise InvalidInput("give a value, or --delete.", hint=f"lockgate models tag {reference} {key} VALUE")
    model, version = _resolve(app.client, reference)
    if version is None:
        app.client.registry.set_model_tag(model, key, value)
    else:
        app.client.registry.set_version_tag(model, version, key, value)
    click.echo(f"{reference}: {key} removed." if delete else f"{reference}: {key} = {value}")


@models.command
@click.argument("reference", metavar="MODEL[@VERSION|@ALIAS]")
@click.argument("text")
@click.pass_obj
def describe(app: App, reference: str, text: str) -> None:
    """Write the description of a model or of one version.

    \b
    Example: lockgate models describe churn@3 "trained on the cleaned contracts"
    """
    model, version = _resolve(app.client, reference)
    if version is None:
        app.client.registry.set_model_description(model, text)
    else:
        app.client.registry.set_version_description(model, version, text)
    click.echo(f"{reference}: {text}")


def _show_model(client: "Client", model: str, limit: int, *, as_json: bool) -> None:
    from lockgate.cli.output import format_time, print_json, print_table
    from lockgate.cli.release_view import metrics_of, verdict_word

    summary = client.registry.get_model(model)
    versions = client.registry.list_versions(model, limit)
    releases = client.registry.list_releases(model, limit)
    if as_json:
        print_json({"model": summary, "versions": versions, "releases": releases})
        return
    click.echo(f"{summary.name}: {summary.description or 'no description'}")
    for key, value in summary.tags.items():
        click.echo(f"  {key} = {value}")
    released = {release.version: release for release in releases}
    rows = []
    for version in versions:
        release = released.get(version.version)
        metrics = list(metrics_of(release).items())[:3]
        rows.append(
            {
                "version": version.version,
                "aliases": ", ".join(version.aliases) or None,
                "verdict": verdict_word(release),
                "metrics": " ".join(f"{key}={value:.4g}" for key, value in metrics) or None,
                "created": format_time(version.created_at),
                "by": version.created_by,
                "commit": _short(release.commit) if release else None,
                "source": None if release else version.source,
            }
        )
    columns = [name for name in (rows[0] if rows else ()) if any(row[name] is not None for row in rows)]
    print_table(rows, columns, empty="no version yet: lockgate run makes one.")
    if any(version.version not in released for version in versions):
        click.echo(_NO_RELEASE)


def _show_version(client: "Client", model: str, version: int, *, as_json: bool) -> None:
    from lockgate.cli.output import print_json, print_table
    from lockgate.cli.release_view import check_rows, describe_release, metrics_of
    from lockgate.errors import NotFound

    known = client.registry.get_version(model, version)
    try:
        release: Release | None = client.registry.get_release(model, version)
    except NotFound:
        release = None  # registered from outside: MLflow's clients make versions without a release
    approvals = client.registry.list_approvals(model, version)
    if as_json:
        print_json({"version": known, "release": release, "approvals": approvals})
        return
    click.echo(f"{model}@{version}: {known.description or 'no description'}")
    facts = describe_release(release) if release else {"source": known.source, "run_id": known.run_id or None}
    for name, value in {**facts, "aliases": ", ".join(known.aliases) or None, **known.tags}.items():
        click.echo(f"  {name:<12} {'-' if value is None else value}")
    for given in approvals:
        click.echo(f"  approved for {given.environment} by {given.approver}{': ' * bool(given.comment)}{given.comment}")
    if release is None:
        click.echo(f"\n{_NO_RELEASE}")
        return
    click.echo("\ngates")
    print_table(check_rows(release), ["gate", "status", "reason"], empty="  none")
    for title, values in (
        ("metrics", metrics_of(release)),
        ("params", release.params),
        ("data", {name: content.digest for name, content in release.data.items()}),
    ):
        click.echo(f"\n{title}")
        print_table([{"name": k, "value": v} for k, v in values.items()], ["name", "value"], empty="  none")


def _print_aliases(client: "Client", model: str, name: str | None, *, as_json: bool) -> None:
    from lockgate.cli.output import print_json, print_table
    from lockgate.errors import NotFound

    known = client.registry.get_model(model).aliases
    if name is not None and name not in known:
        raise NotFound(
            f"model {model!r} has no alias {name!r}; it has: {', '.join(known) or 'none'}.",
            hint=f"lockgate models alias {model} {name} --version N",
        )
    wanted = known if name is None else {name: known[name]}
    if as_json:
        print_json(wanted)
        return
    rows = [{"alias": key, "version": value} for key, value in wanted.items()]
    print_table(rows, ["alias", "version"], empty=f"{model} has no aliases.")


def _say_what_is_served(client: "Client", model: str, environment: str, version: int | None) -> None:
    """Where an alias is that of an environment, and no longer what is served there."""
    traffic = client.delivery.get_traffic(model, environment)
    served = [share.version for share in traffic.shares] if traffic else []
    if served in ([], [version]):
        return
    click.echo(f"traffic has not moved: {environment} serves version {' and '.join(map(str, served))}.")
    if version is not None:
        click.echo(f"to move it: lockgate deploy {model}@{version} --to {environment}")


def _print_history(client: "Client", model: str, name: str | None, *, as_json: bool) -> None:
    from lockgate.cli.output import format_time, print_json, print_table

    client.registry.get_model(model)
    changes = [item for item in client.registry.alias_history(model) if name in (None, item.alias)]
    if as_json:
        print_json(changes)
        return
    rows = [
        {
            "at": format_time(item.changed_at),
            "alias": item.alias,
            "from": item.from_version,
            "to": item.to_version,
            "by": item.changed_by,
            "reason": item.reason or None,
        }
        for item in changes
    ]
    print_table(rows, ["at", "alias", "from", "to", "by", "reason"], empty="no moves yet.")


def _resolve(client: "Client", reference: str) -> tuple[str, int | None]:
    """The model, and the version where the reference names one. Raises NotFound."""
    model, at, wanted = reference.partition("@")
    client.registry.get_model(model)
    return model, _number(client, model, wanted) if at else None


def _number(client: "Client", model: str, wanted: str) -> int:
    from lockgate.errors import NotFound

    if wanted.isascii() and wanted.isdigit():
        return client.registry.get_version(model, int(wanted)).version
    aliases = client.registry.get_model(model).aliases
    if wanted not in aliases:
        known = ", ".join(aliases) or "none"
        raise NotFound(f"model {model!r} has no alias {wanted!r}; it has: {known}.", hint="lockgate models")
    return aliases[wanted]


def _release(client: "Client", model: str, wanted: str) -> "Release":
    return client.registry.get_release(model, _number(client, model, wanted))


def _short(value: object) -> object:
    """Digests are told apart by their beginning."""
    return value[:_SHORT] if isinstance(value, str) and len(value) > 2 * _SHORT else value
