"""Webhooks with every event that Lockgate knows: MLflow's and its own."""

from lockgate.wire.mlflow.webhooks import OneWebhook, Tried
from lockgate.wire.operation import Empty, Message, own


class WebhookSummary(Message, frozen=True, kw_only=True):
    """One webhook without its secret. `is_signed`: it has one."""

    webhook_id: str
    name: str
    url: str
    events: tuple[str, ...]
    description: str = ""
    status: str
    is_signed: bool = False
    created_at: int
    updated_at: int
    created_by: str = ""
    waiting: int = 0  # events that are still to be delivered
    given_up: int = 0  # events that could not be delivered for a day
    last_error: str = ""  # of what is waiting or was given up


class WebhookMessage(Message, frozen=True, kw_only=True):
    webhook: WebhookSummary


class WebhookList(Message, frozen=True, kw_only=True):
    webhooks: tuple[WebhookSummary, ...] = ()


class AddWebhook(Message, frozen=True, kw_only=True):
    """An empty `secret` means that deliveries are not signed."""

    name: str
    url: str
    events: tuple[str, ...]
    description: str = ""
    secret: str = ""


class TryWebhook(OneWebhook, frozen=True, kw_only=True):
    """`event` empty: the first one that the webhook is told of."""

    event: str = ""


ADD_WEBHOOK = own("webhooks", "add_webhook", AddWebhook, WebhookMessage)
LIST_WEBHOOKS = own("webhooks", "list_webhooks", Empty, WebhookList, method="GET")
REMOVE_WEBHOOK = own("webhooks", "remove_webhook", OneWebhook, Empty)
TEST_WEBHOOK = own("webhooks", "test_webhook", TryWebhook, Tried)
