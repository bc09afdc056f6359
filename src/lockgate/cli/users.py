"""`lockgate users`: who may log in to this installation, and what they may do there."""

import shlex
import sys

import click

from lockgate.cli.app import App
from lockgate.entities import Grant, Role

_ROLES: tuple[Role, ...] = ("viewer", "contributor", "approver", "admin")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_ROLE = click.Choice(_ROLES)
_MODEL = click.option(
    "--model",
    "pattern",
    default="*",
    metavar="NAME|PREFIX*",
    help="Only on the models and experiments of this name, or whose names begin like this. [default: all]",
)


@click.group(invoke_without_command=True)
@_JSON
@click.pass_context
def users(ctx: click.Context, as_json: bool) -> None:
    """List users with their roles, or change them.

    From the first user on everybody logs in, on this machine too, and a server may listen on an address that others can
    reach. A viewer reads; a contributor logs runs and registers models; an approver approves, deploys and moves the
    aliases of environments; an admin manages users. Each may do what the ones before it may.

    \b
    Example: lockgate users add ada --role admin
    """
    if ctx.invoked_subcommand is not None:
        return
    from lockgate.cli.output import format_time, print_json, print_table

    app: App = ctx.obj
    found = app.client.access.list_users()
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "user": user.name,
            "roles": ", ".join(_words(grant) for grant in user.grants) or None,
            "password": user.has_password,
            "created": format_time(user.created_at),
            "by": user.created_by,
        }
        for user in found
    ]
    print_table(
        rows,
        ["user", "roles", "password", "created", "by"],
        empty="no users: nobody logs in, and servers listen on this machine only.",
    )


@users.command
@click.argument("name")
@click.option("--role", type=_ROLE, default="viewer", show_default=True, help="What the user may do.")
@_MODEL
@click.option("--no-password", is_flag=True, help="The user only has tokens: for CI and other programs.")
@click.pass_obj
def add(app: App, name: str, role: Role, pattern: str, no_password: bool) -> None:
    """Add a user. The password is asked for, or is the first line of standard input; it has at least 12 characters.

    The first user must be an admin.

    \b
    Example: lockgate users add ci --role contributor --no-password
    """
    password = "" if no_password else _read_new_password(name)
    user = app.client.access.add_user(name, password=password, role=role, pattern=pattern)
    click.echo(f"added {user.name}: {', '.join(_words(grant) for grant in user.grants)}.")
    if no_password:
        click.echo(f"next: lockgate tokens create {shlex.quote(name)}")


@users.command
@click.argument("name")
@click.pass_obj
def remove(app: App, name: str) -> None:
    """Remove a user with all tokens. What the user did stays recorded under the name.

    \b
    Example: lockgate users remove bob
    """
    app.client.access.remove_user(name)
    click.echo(f"removed {name}.")


@users.command
@click.argument("name")
@click.argument("role", type=_ROLE)
@_MODEL
@click.pass_obj
def grant(app: App, name: str, role: Role, pattern: str) -> None:
    """Give a user a role, in place of the one on the same models.

    \b
    Example: lockgate users grant bob approver --model 'team/*'
    """
    user = app.client.access.grant_role(name, role, pattern=pattern)
    click.echo(f"{user.name}: {', '.join(_words(given) for given in user.grants)}.")


@users.command
@click.argument("name")
@_MODEL
@click.pass_obj
def revoke(app: App, name: str, pattern: str) -> None:
    """Take a user's role away, on exactly the models that it was given on.

    \b
    Example: lockgate users revoke bob --model 'team/*'
    """
    user = app.client.access.revoke_role(name, pattern=pattern)
    click.echo(f"{user.name}: {', '.join(_words(given) for given in user.grants) or 'no role left'}.")


@users.command
@click.argument("name")
@click.pass_obj
def password(app: App, name: str) -> None:
    """Set a password. It is asked for, or is the first line of standard input; it has at least 12 characters.

    Changing your own on a server needs the current one, on a first line of its own.

    \b
    Example: lockgate users password ada
    """
    me = app.client.access.who_am_i()
    needs_current = me.user is not None and me.user.name == name and me.user.has_password
    current = _read_password("Current password", confirm=False) if needs_current else ""
    app.client.access.set_password(name, _read_new_password(name), current=current)
    click.echo(f"{name} has a new password.")


def _words(grant: Grant) -> str:
    return grant.role if grant.pattern == "*" else f"{grant.role} on {grant.pattern}"


def _read_new_password(name: str) -> str:
    return _read_password(f"Password of {name}", confirm=True)


def _read_password(prompt: str, *, confirm: bool) -> str:
    """From a terminal without showing it, otherwise a line of standard input; never from the command line."""
    from lockgate.errors import InvalidInput

    if sys.stdin.isatty():
        answer: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm)
        return answer
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise InvalidInput("standard input has no password.", hint="type it at the prompt, or pipe it in as one line")
    return line
