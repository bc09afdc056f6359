"""Webhooks as MLflow's clients know them. Lockgate's own events have no name here and are not shown."""

from typing import Annotated, Literal

from msgspec import Meta

from lockgate.wire.mlflow.registry import Text
from lockgate.wire.operation import Empty, Message, mlflow

# Protobuf's JSON takes an enumeration's name or its number.
_ENTITIES = (
    "REGISTERED_MODEL",
    "MODEL_VERSION",
    "MODEL_VERSION_TAG",
    "MODEL_VERSION_ALIAS",
    "PROMPT",
    "PROMPT_VERSION",
    "PROMPT_TAG",
    "PROMPT_VERSION_TAG",
    "PROMPT_ALIAS",
    "BUDGET_POLICY",
)
_ACTIONS = ("CREATED", "UPDATED", "DELETED", "SET", "EXCEEDED")
_STATUSES = ("ACTIVE", "DISABLED")

Status = Literal["ACTIVE", "DISABLED"]


class WebhookEvent(Message, frozen=True, kw_only=True):
    """`REGISTERED_MODEL` `CREATED`, which is `registered_model.created` in what is sent."""

    entity: str | int
    action: str | int

    @property
    def name(self) -> str:
        """As what is sent names it; a number that MLflow does not have stays one, and is no event."""
        return f"{_named(self.entity, _ENTITIES)}.{_named(self.action, _ACTIONS)}".lower()

    @classmethod
    def of(cls, name: str) -> "WebhookEvent":
        entity, _, action = name.upper().partition(".")
        return cls(entity=entity, action=action)


class Webhook(Message, frozen=True, kw_only=True):
    """Without its secret, which is never told."""

    webhook_id: str
    name: str
    description: str = ""
    url: str
    events: tuple[WebhookEvent, ...]
    status: str
    creation_timestamp: int
    last_updated_timestamp: int


class WebhookMessage(Message, frozen=True, kw_only=True):
    webhook: Webhook


class CreateWebhook(Message, frozen=True, kw_only=True):
    name: Text
    url: Text
    events: tuple[WebhookEvent, ...]
    description: str = ""
    secret: str = ""
    status: str | int = "ACTIVE"


class ListWebhooks(Message, frozen=True, kw_only=True):
    """`max_results` 0 means the default."""

    max_results: Annotated[int, Meta(ge=0, le=1000)] = 100
    page_token: str = ""


class WebhookPage(Message, frozen=True, kw_only=True):
    webhooks: tuple[Webhook, ...] = ()
    next_page_token: str = ""


class OneWebhook(Message, frozen=True, kw_only=True):
    webhook_id: str


class UpdateWebhook(OneWebhook, frozen=True, kw_only=True):
    """What is empty stays as it is, except for `description` and `secret`: an empty one removes them."""

    name: str = ""
    url: str = ""
    events: tuple[WebhookEvent, ...] = ()
    description: str | None = None
    secret: str | None = None
    status: str | int | None = None


class TryWebhook(OneWebhook, frozen=True, kw_only=True):
    event: WebhookEvent | None = None


class Tried(Message, frozen=True, kw_only=True):
    """What the receiver answered, or why there was no answer."""

    success: bool
    response_status: int | None = None
    response_body: str | None = None
    error_message: str | None = None


class TriedMessage(Message, frozen=True, kw_only=True):
    result: Tried


def status_name(status: str | int) -> str:
    return _named(status, _STATUSES)


def _named(value: str | int, names: tuple[str, ...]) -> str:
    """Names are numbered from 1."""
    if isinstance(value, int) and 1 <= value <= len(names):
        return names[value - 1]
    return str(value)


CREATE_WEBHOOK = mlflow("webhooks", "POST", CreateWebhook, WebhookMessage)
LIST_WEBHOOKS = mlflow("webhooks", "GET", ListWebhooks, WebhookPage)
GET_WEBHOOK = mlflow("webhooks/{webhook_id}", "GET", OneWebhook, WebhookMessage)
UPDATE_WEBHOOK = mlflow("webhooks/{webhook_id}", "PATCH", UpdateWebhook, WebhookMessage)
DELETE_WEBHOOK = mlflow("webhooks/{webhook_id}", "DELETE", OneWebhook, Empty)
TEST_WEBHOOK = mlflow("webhooks/{webhook_id}/test", "POST", TryWebhook, TriedMessage)
