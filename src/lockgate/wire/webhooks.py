"""Webhooks with every event that Lockgate knows: MLflow's and its own."""

from lockgate.wire.mlflow.webhooks import OneWebhook, Status, Tried
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
    given_up: int = 0  # events that could not be delivered in a day of trying
    last_error: str = ""  # of what is waiting or was given up


class WebhookMessage(Message, frozen=True, kw_only=True):
    webhook: WebhookSummary


class ListWebhooks(Message, frozen=True, kw_only=True):
    """One page of them."""

    page_token: str = ""


class WebhookList(Message, frozen=True, kw_only=True):
    webhooks: tuple[WebhookSummary, ...] = ()
    next_page_token: str = ""


class AddWebhook(Message, frozen=True, kw_only=True):
    """An empty `secret` means that deliveries are not signed."""

    name: str
    url: str
    events: tuple[str, ...]
    description: str = ""
    secret: str = ""


class UpdateWebhook(OneWebhook, frozen=True, kw_only=True):
    """What is None stays as it is. An empty `secret` means that deliveries are not signed any more."""

    name: str | None = None
    url: str | None = None
    events: tuple[str, ...] | None = None
    description: str | None = None
    secret: str | None = None
    status: Status | None = None


class TryWebhook(OneWebhook, frozen=True, kw_only=True):
    """`event` empty: the first one that the webhook is told of."""

    event: str = ""


ADD_WEBHOOK = own("webhooks", "add_webhook", AddWebhook, WebhookMessage)
UPDATE_WEBHOOK = own("webhooks", "update_webhook", UpdateWebhook, WebhookMessage)
LIST_WEBHOOKS = own("webhooks", "list_webhooks", ListWebhooks, WebhookList, method="GET")
REMOVE_WEBHOOK = own("webhooks", "remove_webhook", OneWebhook, Empty)
TEST_WEBHOOK = own("webhooks", "test_webhook", TryWebhook, Tried)
