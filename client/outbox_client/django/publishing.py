"""Publish in the transaction of a Django connection."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import router, transaction

from outbox_client.django.configured import configured
from outbox_client.errors import NotInTransaction
from outbox_client.event import Event
from outbox_client.statements import COLUMNS


def publish(
    topic: str,
    payload: Any,
    *,
    key: object = None,
    headers: Mapping[str, str | float | bool | None] | None = None,
    using: str | None = None,
) -> uuid.UUID:
    """Write an event inside ``transaction.atomic()``.

    Args:
        topic: See `Event`.
        payload: See `Event`.
        key: See `Event`; a primary key will do, its text is taken.
        headers: See `Event`.
        using: The alias of the database; None: where the router writes the outbox.

    Returns:
        The event's id.

    Raises:
        InvalidEvent: The relay could never send it. Nothing was written.
        NotInTransaction: There is no transaction. Nothing was written.
        TypeError: The payload cannot be encoded. Nothing was written.
        django.core.exceptions.ImproperlyConfigured: ``OUTBOX_CLIENT`` in the settings is wrong. Nothing was written.
        django.db.Error: PostgreSQL refused it; the transaction has failed.
    """
    event = Event(topic, payload, key=None if key is None else str(key), headers=headers)
    row = configured().rows.make(event)
    with connection_of(using, "publish").cursor() as cursor:
        cursor.execute(configured().one, row)
    return event.id


def publish_many(events: Iterable[Event], *, using: str | None = None) -> list[uuid.UUID]:
    """Write events in their order, by one statement. All are checked before any is written; see `publish`."""
    events = list(events)
    rows = [configured().rows.make(event) for event in events]
    connection = connection_of(using, "publish_many")
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(configured().many, [[row[at] for row in rows] for at in range(len(COLUMNS))])
    return [event.id for event in events]


def connection_of(using: str | None, call: str) -> Any:
    """Return the connection of a database that has a transaction; None: where the router writes the outbox.

    Args:
        using: The alias of the database.
        call: The function that needs it, for what is raised.

    Raises:
        NotInTransaction: It has none.
    """
    from outbox_client.django.models import OutboxEvent  # models can be imported when the apps are ready, not before

    connection = transaction.get_connection(router.db_for_write(OutboxEvent) if using is None else using)
    if not connection.in_atomic_block and connection.get_autocommit():
        raise NotInTransaction(call)
    return connection
