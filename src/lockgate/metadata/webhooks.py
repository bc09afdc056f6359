"""Webhooks: which address is told of which events. The secret that signs what is sent is written and never read out."""

import re
import uuid
from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, delete, exists, insert, select, update

from lockgate.errors import InvalidInput, NotFound
from lockgate.metadata.database import Tx
from lockgate.metadata.limits import DESCRIPTION_LENGTH, require_text
from lockgate.metadata.outbox import ACTIVE, DISABLED, MLFLOW_EVENTS, OWN_EVENTS, is_shown, remove, try_at_once
from lockgate.metadata.pages import Page, Sort, Stretch, fetch_page
from lockgate.metadata.tables import webhook_deliveries, webhook_events, webhooks

EVENTS = MLFLOW_EVENTS + OWN_EVENTS
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_MAX_URL = 2_000


def create_webhook(
    tx: Tx, *, name: str, url: str, events: Sequence[str], description: str = "", secret: str = "", status: str = ACTIVE
) -> str:
    """The new webhook's id. The caller has checked that we may send to `url`. Raises InvalidInput."""
    webhook_id = str(uuid.uuid4())
    row = _valid({"name": name, "url": url, "status": status})
    tx.connection.execute(
        insert(webhooks),
        {
            **row,
            "webhook_id": webhook_id,
            "description": require_text(description, DESCRIPTION_LENGTH, "description"),
            "secret": secret,
            "created_at": tx.at,
            "updated_at": tx.at,
            "created_by": tx.by,
        },
    )
    _subscribe(tx, webhook_id, events)
    return webhook_id


def update_webhook(
    tx: Tx,
    webhook_id: str,
    *,
    name: str | None = None,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    secret: str | None = None,
    status: str | None = None,
) -> None:
    """Change what is not None; another URL, secret or status is tried at once. Raises NotFound, InvalidInput.

    What waits of events that it is no longer told of is gone.
    """
    get_webhook(tx.connection, webhook_id)
    require_text(description or "", DESCRIPTION_LENGTH, "description")
    given = {"name": name, "url": url, "status": status, "description": description, "secret": secret}
    changed = _valid({key: value for key, value in given.items() if value is not None})
    tx.connection.execute(
        update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(updated_at=tx.at, **changed)
    )
    if changed.keys() & {"url", "secret", "status"}:
        try_at_once(tx, webhook_id)
    if events is not None:
        tx.connection.execute(delete(webhook_events).where(webhook_events.c.webhook_id == webhook_id))
        _subscribe(tx, webhook_id, events)
        t = webhook_deliveries.c
        unwanted = t.webhook_id == webhook_id, t.event.not_in(events), t.due_at.is_not(None)
        tx.connection.execute(delete(webhook_deliveries).where(*unwanted))


def delete_webhook(tx: Tx, webhook_id: str) -> None:
    """With everything that it has not been told yet. Raises NotFound."""
    get_webhook(tx.connection, webhook_id)
    remove(tx, webhook_id)


def get_webhook(connection: Connection, webhook_id: str) -> RowMapping:
    """Raises NotFound."""
    found = select(webhooks).where(webhooks.c.webhook_id == webhook_id, is_shown())
    row = connection.execute(found).mappings().first()
    if row is None:
        raise NotFound(f"Webhook with ID {webhook_id} not found.", hint="lockgate webhooks list")
    return row


def list_webhooks(
    connection: Connection, *, among: Sequence[str] = EVENTS, max_results: int = 1_000, page_token: str = ""
) -> Page:
    """Those that are told of any event in `among`, newest first."""
    asked = exists().where(webhook_events.c.webhook_id == webhooks.c.webhook_id, webhook_events.c.event.in_(among))
    sorts = (Sort(webhooks.c.created_at, False, int), Sort(webhooks.c.webhook_id, True, str))
    return fetch_page(
        connection,
        [Stretch(select(webhooks).where(asked), sorts)],
        max_results=max_results,
        token=page_token,
        question=("webhooks", *among),
    )


def events_of(connection: Connection, webhook_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What each webhook is told of, in the order of `EVENTS`."""
    t = webhook_events.c
    found: dict[str, set[str]] = {webhook_id: set() for webhook_id in webhook_ids}
    for webhook_id, event in connection.execute(select(t.webhook_id, t.event).where(t.webhook_id.in_(webhook_ids))):
        found[webhook_id].add(event)
    return {webhook_id: tuple(event for event in EVENTS if event in events) for webhook_id, events in found.items()}


def _subscribe(tx: Tx, webhook_id: str, events: Sequence[str]) -> None:
    if not events:
        raise InvalidInput("a webhook needs at least one event to be told of.", hint=f"events: {', '.join(EVENTS)}")
    unknown = [event for event in events if event not in EVENTS]
    if unknown:
        raise InvalidInput(f"there is no event {unknown[0]!r}; there are: {', '.join(EVENTS)}.")
    tx.connection.execute(
        insert(webhook_events), [{"webhook_id": webhook_id, "event": event} for event in dict.fromkeys(events)]
    )


def _valid(values: dict[str, str]) -> dict[str, str]:
    name, url, status = values.get("name"), values.get("url"), values.get("status")
    if name is not None and not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot name a webhook: 1 to 63 letters, digits, . _ and -, beginning and ending with a letter "
            "or digit."
        )
    if url is not None and len(url) > _MAX_URL:
        raise InvalidInput(f"the URL of a webhook has at most {_MAX_URL} characters, not {len(url)}.")
    if status is not None and status not in (ACTIVE, DISABLED):
        raise InvalidInput(f"a webhook is {ACTIVE} or {DISABLED}, not {status!r}.")
    return values
