"""Trying a webhook: one message with made-up content, sent at once and not by way of the outbox."""

import uuid
from collections.abc import Mapping, Sequence

from lockgate.errors import InvalidInput, Unavailable
from lockgate.metadata import outbox, webhooks
from lockgate.server import courier
from lockgate.server.context import Context
from lockgate.wire.mlflow.webhooks import Tried

_TAG = {"key": "example_key", "value": "example_value"}
_MODEL = {"name": "example_model"}
_PROMPT = {"name": "example_prompt"}

# MLflow's own examples, so that a receiver is tried with the form that it will meet.
_EXAMPLES: Mapping[str, Mapping[str, object]] = {
    "registered_model.created": {
        **_MODEL,
        "tags": {"example_key": "example_value"},
        "description": "An example registered model",
    },
    "model_version.created": {
        **_MODEL,
        "version": "1",
        "source": "models:/123",
        "run_id": "abcd1234abcd5678",
        "tags": {"example_key": "example_value"},
        "description": "An example model version",
    },
    "model_version_tag.set": {**_MODEL, "version": "1", **_TAG},
    "model_version_tag.deleted": {**_MODEL, "version": "1", "key": "example_key"},
    "model_version_alias.created": {**_MODEL, "alias": "example_alias", "version": "1"},
    "model_version_alias.deleted": {**_MODEL, "alias": "example_alias"},
    "prompt.created": {**_PROMPT, "tags": {"example_key": "example_value"}, "description": "An example prompt"},
    "prompt_version.created": {
        **_PROMPT,
        "version": "1",
        "template": "Hello {{name}}!",
        "tags": {"example_key": "example_value"},
        "description": "An example prompt version",
    },
    "prompt_tag.set": {**_PROMPT, **_TAG},
    "prompt_tag.deleted": {**_PROMPT, "key": "example_key"},
    "prompt_version_tag.set": {**_PROMPT, "version": "1", **_TAG},
    "prompt_version_tag.deleted": {**_PROMPT, "version": "1", "key": "example_key"},
    "prompt_alias.created": {**_PROMPT, "alias": "example_alias", "version": "1"},
    "prompt_alias.deleted": {**_PROMPT, "alias": "example_alias"},
    "budget_policy.exceeded": {
        "budget_policy_id": "bp-abc123",
        "budget_unit": "USD",
        "budget_amount": 100.0,
        "current_spend": 105.50,
        "duration_unit": "MONTHS",
        "duration_value": 1,
        "target_scope": "ENDPOINT",
        "workspace": "default",
        "target_value": "ep-abc123",
        "window_start": 1704067200000,
    },
}
_OWN_EXAMPLE: Mapping[str, object] = {"subject": "example_model", "by": "somebody", "details": {"example": True}}


def by_entity(event: str) -> list[str]:
    """What MLflow's server sorts events by: `model_version.created` is before `model_version_tag.set`."""
    return event.split(".")


def try_webhook(ctx: Context, webhook_id: str, event: str, *, among: Sequence[str]) -> Tried:
    """What came of it; without an `event` the first by name.

    Raises NotFound for the webhook, InvalidInput for an event that is not `among` those allowed.
    """
    with ctx.read() as connection:
        row = webhooks.get_webhook(connection, webhook_id)
        told = [name for name in webhooks.events_of(connection, [webhook_id])[webhook_id] if name in among]
    if event and event not in among:
        raise InvalidInput(f"there is no event {event!r}; there are: {', '.join(among)}.")
    name = event or min(told, key=by_entity)
    delivery = outbox.Delivery(
        delivery_id=str(uuid.uuid4()),
        webhook_id=webhook_id,
        event=name,
        url=row["url"],
        secret=row["secret"],
        body=outbox.encode_body(name, _EXAMPLES.get(name, _OWN_EXAMPLE), at=ctx.clock.now_ms()),
    )
    try:
        answer = courier.send(ctx, delivery, reads_body=True)
    except (Unavailable, InvalidInput) as error:
        return Tried(success=False, error_message=error.message)
    problem = courier.refusal(answer)
    return Tried(
        success=problem is None, response_status=answer.status, response_body=answer.body, error_message=problem
    )
