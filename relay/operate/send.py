"""Insert one event, and follow it into its stream."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from relay.errors import Exit, RelayError
from relay.operate.changes import Changer
from relay.operate.events import EventName, ListedEvent, find_one

_LOOK_PAUSE_S = 0.05


class Undelivered(RelayError):
    """The event was inserted, and is not in the stream. It stays in the outbox."""


class Unacceptable(RelayError):
    """PostgreSQL does not accept this event. Nothing was inserted."""

    exit_code = Exit.CONFIG


@dataclass(frozen=True)
class NewEvent:
    """One event to be inserted.

    Attributes:
        payload: As the column takes it: JSON, or text.
    """

    topic: str
    key: str | None
    payload: str
    headers: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


def check(changer: Changer, event: NewEvent) -> None:
    """Find out whether PostgreSQL accepts an event: the rights and each value. Changes nothing, and takes no seq.

    Raises:
        Unacceptable: It does not.
        Denied: This role may not insert.
    """
    with _refusals():
        changer.check(("operate/send", _values(changer, event)), needs=_needs(changer))


def insert(changer: Changer, event: NewEvent) -> None:
    """Insert an event, in one transaction with its line in the audit table.

    Raises:
        Unacceptable: PostgreSQL does not accept it.
        Denied: This role may not insert. Nothing was inserted.
    """
    with _refusals(), changer.step(_needs(changer)):
        changer.run("operate/send", _values(changer, event))
        audit = changer.begin("send", {"topic": event.topic, "id": event.id}, 1)
        audit.add(1)
        audit.end()


def _needs(changer: Changer) -> str:
    """Return which roles sending takes, in words."""
    producer, relay = changer.tables.name("producer"), changer.tables.name("relay")
    return (
        f"sending takes the role {producer} to insert, and {relay} for the line in the audit table, which"
        " `relay migrate` makes for this table: GRANT both to this login"
    )


def _values(changer: Changer, event: NewEvent) -> tuple[object, ...]:
    payload = event.payload.encode() if changer.tables.payload_type == "bytea" else event.payload
    return event.id, event.topic, event.key, payload, json.dumps(event.headers) if event.headers else None


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise Unacceptable(f"PostgreSQL does not accept it: {_reason(error)}") from error


def _reason(error: psycopg.Error) -> str:
    """Return what is wrong, in one line; never the row, which the detail would show."""
    detail = error.diag.message_detail if isinstance(error, psycopg.DataError) else None
    return " ".join(" ".join(part for part in (error.diag.message_primary or str(error), detail) if part).split())


def follow(changer: Changer, event_id: str, wait_s: float) -> ListedEvent:
    """Wait until an event is delivered, at most `wait_s` seconds, and return it.

    Raises:
        Undelivered: It became a dead letter, or the time is over.
    """
    deadline = time.monotonic() + wait_s
    while True:
        with changer.step():
            event = find_one(changer, EventName(None, event_id)).listed
        if event.delivered_at is not None:
            return event
        if event.dead_at is not None:
            raise Undelivered(f"event {event.seq} became a dead letter: {event.last_error}")
        if time.monotonic() > deadline:
            why = f" ({event.last_error})" if event.last_error else ""
            raise Undelivered(f"event {event.seq} is pending after {wait_s:g} s{why}: relay explain {event.seq}")
        time.sleep(_LOOK_PAUSE_S)
