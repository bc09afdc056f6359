"""MLflow's webhooks. A webhook that is told of none of MLflow's events does not exist for its clients.

They know a fixed list of events and fail on any other, so what a webhook is told of beyond that list is neither shown
to them nor lost when they change it.
"""

from msgspec.structs import replace
from sqlalchemy import Connection, RowMapping

from lockgate.errors import NotFound
from lockgate.metadata import webhooks
from lockgate.metadata.outbox import MLFLOW_EVENTS, OWN_EVENTS
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import admin
from lockgate.server.outgoing import require_sendable
from lockgate.server.try_webhook import by_entity, try_webhook
from lockgate.wire.mlflow import webhooks as wire
from lockgate.wire.operation import Empty

_DEFAULT_PAGE = 100


def create_webhook(ctx: Context, request: wire.CreateWebhook) -> wire.WebhookMessage:
    require_sendable(request.url, private_allowed=ctx.webhook_private_addresses)
    with ctx.write() as tx:
        webhook_id = webhooks.create_webhook(
            tx,
            name=request.name,
            url=request.url.strip(),
            events=[event.name for event in request.events],
            description=request.description,
            secret=request.secret,
            status=request.status,
        )
        return _answer(tx.connection, webhook_id)


def list_webhooks(ctx: Context, request: wire.ListWebhooks) -> wire.WebhookPage:
    with ctx.read() as connection:
        page = webhooks.list_webhooks(
            connection,
            among=MLFLOW_EVENTS,
            max_results=request.max_results or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        rows = page.rows
        events = webhooks.events_of(connection, [row["webhook_id"] for row in rows])
        found = tuple(_webhook(row, events[row["webhook_id"]]) for row in rows)
        return wire.WebhookPage(webhooks=found, next_page_token=page.next_token)


def get_webhook(ctx: Context, request: wire.OneWebhook) -> wire.WebhookMessage:
    with ctx.read() as connection:
        return _answer(connection, request.webhook_id)


def update_webhook(ctx: Context, request: wire.UpdateWebhook) -> wire.WebhookMessage:
    if request.url:
        require_sendable(request.url, private_allowed=ctx.webhook_private_addresses)
    with ctx.write() as tx:
        before = _events(tx.connection, request.webhook_id)
        own = [event for event in before if event in OWN_EVENTS]
        asked = [event.name for event in request.events]
        webhooks.update_webhook(
            tx,
            request.webhook_id,
            name=request.name or None,
            url=request.url.strip() or None,
            events=[*asked, *own] if asked else None,
            description=request.description,
            secret=request.secret,
            status=request.status,
        )
        return _answer(tx.connection, request.webhook_id)


def delete_webhook(ctx: Context, request: wire.OneWebhook) -> Empty:
    with ctx.write() as tx:
        _events(tx.connection, request.webhook_id)
        webhooks.delete_webhook(tx, request.webhook_id)
    return Empty()


def test_webhook(ctx: Context, request: wire.TryWebhook) -> wire.TriedMessage:
    with ctx.read() as connection:
        _events(connection, request.webhook_id)
    event = request.event.name if request.event is not None else ""
    tried = try_webhook(ctx, request.webhook_id, event, among=MLFLOW_EVENTS)
    if tried.response_status is not None:  # MLflow's server gives no reason beside an answer
        tried = replace(tried, error_message=None)
    return wire.TriedMessage(result=tried)


def _events(connection: Connection, webhook_id: str) -> tuple[str, ...]:
    """Raises NotFound also for a webhook of Lockgate's own events alone."""
    webhooks.get_webhook(connection, webhook_id)
    events = webhooks.events_of(connection, [webhook_id])[webhook_id]
    if not any(event in MLFLOW_EVENTS for event in events):
        raise NotFound(f"Webhook with ID {webhook_id} not found.", hint="lockgate webhooks list shows all of them")
    return events


def _answer(connection: Connection, webhook_id: str) -> wire.WebhookMessage:
    events = _events(connection, webhook_id)
    return wire.WebhookMessage(webhook=_webhook(webhooks.get_webhook(connection, webhook_id), events))


def _webhook(row: RowMapping, events: tuple[str, ...]) -> wire.Webhook:
    return wire.Webhook(
        webhook_id=row["webhook_id"],
        name=row["name"],
        description=row["description"],
        url=row["url"],
        events=tuple(wire.WebhookEvent.of(event) for event in sorted(events, key=by_entity) if event in MLFLOW_EVENTS),
        status=row["status"],
        creation_timestamp=row["created_at"],
        last_updated_timestamp=row["updated_at"],
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.CREATE_WEBHOOK, create_webhook, admin()),
    Route(wire.LIST_WEBHOOKS, list_webhooks, admin()),
    Route(wire.GET_WEBHOOK, get_webhook, admin()),
    Route(wire.UPDATE_WEBHOOK, update_webhook, admin()),
    Route(wire.DELETE_WEBHOOK, delete_webhook, admin()),
    Route(wire.TEST_WEBHOOK, test_webhook, admin()),
)
