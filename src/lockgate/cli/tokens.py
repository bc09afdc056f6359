"""`lockgate tokens`: what programs log in with."""

import click

from lockgate.cli.app import App
from lockgate.entities import Grant

_DAY_MS = 86_400_000
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@click.option("--user", help="Only the tokens of this user. [default: everybody's for an admin, otherwise your own]")
@_JSON
@click.pass_context
def tokens(ctx: click.Context, user: str | None, as_json: bool) -> None:
    """List tokens, or make and revoke them.

    Whoever has a token may do what its user may. Programs find it in the variable MLFLOW_TRACKING_TOKEN, which mlflow
    and lockgate both read.

    \b
    Example: lockgate tokens create ci --days 30
    """
    if ctx.invoked_subcommand is not None:
        return
    from lockgate.cli.output import format_time, print_json, print_table

    app: App = ctx.obj
    me = app.client.access.who_am_i()
    sees_all = me.user is None or Grant(pattern="*", role="admin") in me.user.grants
    found = app.client.access.list_tokens(user if user or sees_all else me.name)
    if as_json:
        print_json(found)
        return
    now = app.clock.now_ms()
    rows = [
        {
            "token": token.token_id,
            "user": token.user,
            "note": token.note or None,
            "created": format_time(token.created_at),
            "by": token.created_by,
            "expires": _expiry(token.expires_at, now),
        }
        for token in found
    ]
    print_table(rows, ["token", "user", "note", "created", "by", "expires"], empty="no tokens.")


@tokens.command
@click.argument("user", required=False)
@click.option("--note", default="", help="What it is for.")
@click.option(
    "--days",
    type=click.IntRange(0, 36_500),
    default=90,
    show_default=True,
    help="Days until it expires; 0 means never.",
)
@_JSON
@click.pass_obj
def create(app: App, user: str | None, note: str, days: int, as_json: bool) -> None:
    """Make a token for USER, by default for yourself, and print it. It is shown once.

    \b
    Example: MLFLOW_TRACKING_TOKEN=$(lockgate tokens create ci --note "nightly training")
    """
    from lockgate.cli.output import format_time, print_json

    name = user or app.client.access.who_am_i().name
    expires_at = app.clock.now_ms() + days * _DAY_MS if days else None
    made = app.client.access.create_token(name, note=note, expires_at=expires_at)
    if as_json:
        print_json(made)
        return
    click.echo(made.text)
    until = f"until {format_time(expires_at)} UTC" if expires_at else "until it is revoked"
    click.echo(f"token {made.token.token_id} of {name}, {until}; it is not shown again.", err=True)


@tokens.command
@click.argument("token", metavar="TOKEN_ID")
@click.pass_obj
def revoke(app: App, token: str) -> None:
    """Revoke a token. Servers refuse it within a second. A whole token is taken for its id.

    \b
    Example: lockgate tokens revoke 3f9c0a51b2d4
    """
    from lockgate.server.bearer import id_of

    token_id = id_of(token)  # here: the server may be an older one, which would write a whole token down
    app.client.access.revoke_token(token_id)
    click.echo(f"revoked {token_id}.")


def _expiry(expires_at: int | None, now: int) -> str:
    from lockgate.cli.output import format_time

    if expires_at is None:
        return "never"
    return f"{format_time(expires_at)}{' (expired)' if expires_at <= now else ''}"
