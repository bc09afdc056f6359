"""`lockgate webhooks`: addresses that the server tells of what happens."""

from typing import TYPE_CHECKING

import click

from lockgate.cli.app import App

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.wire.webhooks import WebhookSummary

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_NAMED = 20  # in a message
_WEBHOOK = click.argument("webhook", metavar="NAME|ID")


@click.group(invoke_without_command=True)
@click.pass_context
def webhooks(ctx: click.Context) -> None:
    """List, add, update, remove and test webhooks: addresses that are told of events by an HTTP request.

    A running `lockgate up` or `lockgate server` sends them. Nothing is lost while none runs.

    \b
    Example: lockgate webhooks add deploys https://ci.example.com/hook --event rollout.changed
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@webhooks.command("list")
@_JSON
@click.pass_obj
def list_(app: App, as_json: bool = False) -> None:
    """List webhooks with what they have not been told yet.

    \b
    Example: lockgate webhooks list --json
    """
    from lockgate.cli.output import print_json, print_table

    found = app.client.webhooks.list_webhooks()
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "name": item.name,
            "url": item.url,
            "events": ", ".join(item.events),
            "status": item.status,
            "waiting": item.waiting,
            "given up": item.given_up,
            "last error": item.last_error or None,
        }
        for item in found
    ]
    columns = ["name", "url", "events", "status", "waiting", "given up", "last error"]
    print_table(rows, columns, empty="no webhooks yet: lockgate webhooks add NAME URL --event EVENT")


@webhooks.command
@click.argument("name")
@click.argument("url")
@click.option("--event", "events", multiple=True, required=True, help="What to be told of; may be repeated.")
@click.option("--secret", default="", metavar="env:NAME|file:PATH", help="Sign what is sent with this secret.")
@click.option("--description", default="", help="Shown in lists.")
@_JSON
@click.pass_obj
def add(app: App, name: str, url: str, events: tuple[str, ...], secret: str, description: str, as_json: bool) -> None:
    """Tell URL of events. An unknown event is answered with all that there are.

    \b
    Example: lockgate webhooks add ci https://ci.example.com/hook --event gate.decided --secret env:HOOK_SECRET
    """
    from lockgate.cli.output import print_json

    value = _read_secret(secret)
    made = app.client.webhooks.add_webhook(name, url, events, description=description, secret=value)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made.name} ({made.webhook_id}) is told of {', '.join(made.events)}.")


@webhooks.command
@_WEBHOOK
@click.option("--url", help="Send to this address.")
@click.option("--event", "events", multiple=True, help="What to be told of, in place of what it was; may be repeated.")
@click.option("--secret", metavar="env:NAME|file:PATH", help="Sign what is sent with this secret; '' to sign no more.")
@click.option("--description", help="Shown in lists.")
@click.option("--enable/--disable", "is_active", default=None, help="Send to it, or let what it is told wait.")
@_JSON
@click.pass_obj
def update(
    app: App,
    webhook: str,
    url: str | None,
    events: tuple[str, ...],
    secret: str | None,
    description: str | None,
    is_active: bool | None,
    as_json: bool,
) -> None:
    """Change a webhook. What it has not been told yet is kept, and tried at once at another URL.

    \b
    Example: lockgate webhooks update ci --secret env:NEW_HOOK_SECRET
    """
    from lockgate.cli.output import print_json
    from lockgate.errors import InvalidInput

    if not events and all(value is None for value in (url, secret, description, is_active)):
        raise InvalidInput(
            "nothing to change was given.", hint="lockgate webhooks update --help lists what can be changed"
        )
    changed = app.client.webhooks.update_webhook(
        _resolve(app.client, webhook).webhook_id,
        url=url,
        events=events or None,
        description=description,
        secret=None if secret is None else _read_secret(secret),
        is_active=is_active,
    )
    if as_json:
        print_json(changed)
    else:
        click.echo(
            f"{changed.name} ({changed.webhook_id}) is {changed.status} and told of {', '.join(changed.events)}."
        )


@webhooks.command
@_WEBHOOK
@click.pass_obj
def remove(app: App, webhook: str) -> None:
    """Remove a webhook with what it has not been told yet.

    \b
    Example: lockgate webhooks remove ci
    """
    found = _resolve(app.client, webhook)
    app.client.webhooks.remove_webhook(found.webhook_id)
    click.echo(f"{found.name} ({found.webhook_id}) is removed.")


@webhooks.command
@_WEBHOOK
@click.option("--event", default="", help="Send an example of this event.  [default: its first]")
@_JSON
@click.pass_obj
def test(app: App, webhook: str, event: str, as_json: bool) -> None:
    """Send an example to a webhook now, and print what came of it.

    \b
    Example: lockgate webhooks test ci
    """
    from lockgate.cli.output import print_json
    from lockgate.errors import Unavailable

    found = _resolve(app.client, webhook)
    outcome = app.client.webhooks.test_webhook(found.webhook_id, event)
    if as_json:
        print_json(outcome)
    if not outcome.success:
        raise Unavailable(f"{found.name} was not reached: {outcome.error_message}")
    if not as_json:
        click.echo(f"{found.name} answered {outcome.response_status}.")


def _read_secret(reference: str) -> str:
    """Raises InvalidInput for a secret itself."""
    import os

    from lockgate.config import read_secret, require_reference

    require_reference(reference, "--secret", "secret", hint="put it into a variable, and give env: with its name")
    return read_secret(reference, environ=os.environ)


def _resolve(client: "Client", wanted: str) -> "WebhookSummary":
    """By id, or by name where only one has it. Raises NotFound, InvalidInput."""
    from lockgate.errors import InvalidInput, NotFound

    known = client.webhooks.list_webhooks()
    found = [item for item in known if wanted in (item.webhook_id, item.name)]
    if not found:
        names = ", ".join(item.name for item in known[:_NAMED]) or "none"
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        raise NotFound(f"there is no webhook {wanted!r}; there are: {names}{more}.", hint="lockgate webhooks list")
    if len(found) > 1:
        ids = ", ".join(item.webhook_id for item in found)
        raise InvalidInput(f"{len(found)} webhooks are called {wanted!r}; name one by its id: {ids}.")
    return found[0]
