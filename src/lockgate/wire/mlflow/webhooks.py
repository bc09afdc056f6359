"""Webhooks as MLflow's clients know them. Lockgate's own events have no name here and are not shown."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lockgate.wire.mlflow.experiments import Text
from lockgate.wire.operation import Empty, Message, mlflow

Entity = Literal[
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
]
Action = Literal["CREATED", "UPDATED", "DELETED", "SET", "EXCEEDED"]
Status = Literal["ACTIVE", "DISABLED"]


class WebhookEvent(Message, frozen=True, kw_only=True):
    """`REGISTERED_MODEL` `CREATED`, which is `registered_model.created` in what is sent."""

    entity: Entity
    action: Action

    @property
    def name(self) -> str:
        """As what is sent names it."""
        return f"{self.entity}.{self.action}".lower()

    @classmethod
    def of(cls, name: str) -> "WebhookEvent":
        entity, _, action = name.upper().partition(".")
        return msgspec.convert({"entity": entity, "action": action}, cls)


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
    status: Status = "ACTIVE"


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
    status: Status | None = None


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


CREATE_WEBHOOK = mlflow("webhooks", "POST", CreateWebhook, WebhookMessage)
LIST_WEBHOOKS = mlflow("webhooks", "GET", ListWebhooks, WebhookPage)
GET_WEBHOOK = mlflow("webhooks/{webhook_id}", "GET", OneWebhook, WebhookMessage)
UPDATE_WEBHOOK = mlflow("webhooks/{webhook_id}", "PATCH", UpdateWebhook, WebhookMessage)
DELETE_WEBHOOK = mlflow("webhooks/{webhook_id}", "DELETE", OneWebhook, Empty)
TEST_WEBHOOK = mlflow("webhooks/{webhook_id}/test", "POST", TryWebhook, TriedMessage)
