"""Webhooks: who is told of what happens."""

from collections.abc import Sequence

from lockgate.client.transport import Transport
from lockgate.wire import webhooks as wire
from lockgate.wire.mlflow.webhooks import OneWebhook, Tried


class Webhooks:
    """Addresses that the server tells of events."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add_webhook(
        self, name: str, url: str, events: Sequence[str], *, description: str = "", secret: str = ""
    ) -> wire.WebhookSummary:
        """The new webhook. Raises InvalidInput for an unknown event and an address that may not be sent to."""
        request = wire.AddWebhook(name=name, url=url, events=tuple(events), description=description, secret=secret)
        return self._transport.call(wire.ADD_WEBHOOK, request).webhook

    def update_webhook(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        secret: str | None = None,
        is_active: bool | None = None,
    ) -> wire.WebhookSummary:
        """Change what is not None. What waits is kept, and tried at once where URL, secret or being active changes.

        Raises NotFound, InvalidInput.
        """
        request = wire.UpdateWebhook(
            webhook_id=webhook_id,
            name=name,
            url=url,
            events=None if events is None else tuple(events),
            description=description,
            secret=secret,
            status=None if is_active is None else "ACTIVE" if is_active else "DISABLED",
        )
        return self._transport.call(wire.UPDATE_WEBHOOK, request).webhook

    def list_webhooks(self) -> list[wire.WebhookSummary]:
        """Newest first, each with what it has not been told yet."""
        page = self._transport.call(wire.LIST_WEBHOOKS, wire.ListWebhooks())
        found = list(page.webhooks)
        while page.next_page_token:
            page = self._transport.call(wire.LIST_WEBHOOKS, wire.ListWebhooks(page_token=page.next_page_token))
            found += page.webhooks
        return found

    def remove_webhook(self, webhook_id: str) -> None:
        """With what it has not been told yet. Raises NotFound."""
        self._transport.call(wire.REMOVE_WEBHOOK, OneWebhook(webhook_id=webhook_id))

    def test_webhook(self, webhook_id: str, event: str = "") -> Tried:
        """Send an example of an event (the first that it is told of) at once, and tell what came of it."""
        return self._transport.call(wire.TEST_WEBHOOK, wire.TryWebhook(webhook_id=webhook_id, event=event))
