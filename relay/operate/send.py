"""Insert one event, and follow it into its stream."""

import json
import time
import uuid
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
    """Find out whether PostgreSQL accepts an event: it is inserted, and rolled back.

    Raises:
        Unacceptable: It does not.
    """
    _insert(changer, event, rolled_back=True)


def insert(changer: Changer, event: NewEvent) -> None:
    """Insert an event, in one transaction with its line in the audit table.

    Raises:
        Unacceptable: PostgreSQL does not accept it.
    """
    _insert(changer, event, rolled_back=False)


def _insert(changer: Changer, event: NewEvent, *, rolled_back: bool) -> None:
    value = event.payload.encode() if changer.tables.payload_type == "bytea" else event.payload
    headers = json.dumps(event.headers) if event.headers else None
    try:
        with changer.step(rolled_back=rolled_back):
            changer.run("cli_send", (event.id, event.topic, event.key, value, headers))
            # A deferred constraint is checked at the end, which a rollback never reaches.
            changer.cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            audit = changer.begin("send", {"topic": event.topic, "id": event.id}, 1)
            audit.add(1)
            audit.end()
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
