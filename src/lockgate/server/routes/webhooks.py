"""Webhooks with every event: the command line's door."""

from sqlalchemy import Connection, RowMapping

from lockgate.metadata import outbox, webhooks
from lockgate.server.context import AnyRoute, Context, Route
from lockgate.server.needs import admin
from lockgate.server.outgoing import require_sendable
from lockgate.server.try_webhook import try_webhook
from lockgate.wire import webhooks as wire
from lockgate.wire.mlflow.webhooks import OneWebhook, Tried
from lockgate.wire.operation import Empty


def add_webhook(ctx: Context, request: wire.AddWebhook) -> wire.WebhookMessage:
    require_sendable(request.url, private_allowed=ctx.webhook_private_addresses)
    with ctx.write() as tx:
        webhook_id = webhooks.create_webhook(
            tx,
            name=request.name,
            url=request.url.strip(),
            events=request.events,
            description=request.description,
            secret=request.secret,
        )
        return _answer(tx.connection, webhook_id)


def update_webhook(ctx: Context, request: wire.UpdateWebhook) -> wire.WebhookMessage:
    if request.url is not None:
        require_sendable(request.url, private_allowed=ctx.webhook_private_addresses)
    with ctx.write() as tx:
        webhooks.update_webhook(
            tx,
            request.webhook_id,
            name=request.name,
            url=None if request.url is None else request.url.strip(),
            events=request.events,
            description=request.description,
            secret=request.secret,
            status=request.status,
        )
    with ctx.read() as connection:  # very much may wait, and counting it keeps nobody else waiting here
        return _answer(connection, request.webhook_id)


def list_webhooks(ctx: Context, request: wire.ListWebhooks) -> wire.WebhookList:
    with ctx.read() as connection:
        page = webhooks.list_webhooks(connection, page_token=request.page_token)
        return wire.WebhookList(webhooks=_summaries(connection, page.rows), next_page_token=page.next_token)


def remove_webhook(ctx: Context, request: OneWebhook) -> Empty:
    with ctx.write() as tx:
        webhooks.delete_webhook(tx, request.webhook_id)
    return Empty()


def test_webhook(ctx: Context, request: wire.TryWebhook) -> Tried:
    return try_webhook(ctx, request.webhook_id, request.event, among=webhooks.EVENTS)


def _answer(connection: Connection, webhook_id: str) -> wire.WebhookMessage:
    return wire.WebhookMessage(webhook=_summaries(connection, [webhooks.get_webhook(connection, webhook_id)])[0])


def _summaries(connection: Connection, rows: list[RowMapping]) -> tuple[wire.WebhookSummary, ...]:
    ids = [row["webhook_id"] for row in rows]
    events = webhooks.events_of(connection, ids)
    backlog = outbox.backlog(connection, ids)
    return tuple(
        wire.WebhookSummary(
            webhook_id=row["webhook_id"],
            name=row["name"],
            url=row["url"],
            events=events[row["webhook_id"]],
            description=row["description"],
            status=row["status"],
            is_signed=bool(row["secret"]),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            created_by=row["created_by"],
            waiting=backlog[row["webhook_id"]].waiting,
            given_up=backlog[row["webhook_id"]].given_up,
            last_error=backlog[row["webhook_id"]].last_error,
        )
        for row in rows
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(wire.ADD_WEBHOOK, add_webhook, admin()),
    Route(wire.UPDATE_WEBHOOK, update_webhook, admin()),
    Route(wire.LIST_WEBHOOKS, list_webhooks, admin()),
    Route(wire.REMOVE_WEBHOOK, remove_webhook, admin()),
    Route(wire.TEST_WEBHOOK, test_webhook, admin()),
)
