"""``OUTBOX_CLIENT`` of the settings: which outbox the application writes, and by which rules."""

import difflib
import functools
import json
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from outbox_client.rows import MAX_BYTES, Rows
from outbox_client.statements import insert_many, insert_one

_PLACES = ("%s",) * 5
_DEFAULTS: dict[str, Any] = {
    "table": "outbox_events",
    "payload": "jsonb",
    "dumps": json.dumps,
    "subject": "{topic}",
    "allow_nats": (),
    "max_bytes": MAX_BYTES,
}


class Configured:
    """The outbox that the settings describe.

    Args:
        table: See `outbox_client.Outbox`, as for the others.

    Raises:
        ValueError: A value is unusable.
    """

    def __init__(
        self, table: str, payload: str, dumps: Any, subject: str, allow_nats: Collection[str], max_bytes: int
    ) -> None:
        self.table = table
        self.payload = payload
        self.rows = Rows(payload, dumps, subject, allow_nats, max_bytes)
        self.one = insert_one(table, payload, _PLACES)
        self.many = insert_many(table, payload, _PLACES)


def read(given: object) -> Configured:
    """Make of a value of the setting what it describes.

    Raises:
        ImproperlyConfigured: It is wrong; the text says what is, in one line.
    """
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"OUTBOX_CLIENT is a dict, not {type(given).__name__}")
    for name in given:
        if name not in _DEFAULTS:
            close = difflib.get_close_matches(str(name), _DEFAULTS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(_DEFAULTS)}"
            raise ImproperlyConfigured(f"OUTBOX_CLIENT[{name!r}] is unknown: {hint}")
    for name, kind in (("table", str), ("payload", str), ("subject", str), ("max_bytes", int)):
        if name in given and not isinstance(given[name], kind):
            raise ImproperlyConfigured(
                f"OUTBOX_CLIENT[{name!r}] is of type {kind.__name__}, not {type(given[name]).__name__}"
            )
    if "dumps" in given and not callable(given["dumps"]):
        raise ImproperlyConfigured("OUTBOX_CLIENT['dumps'] is a function, such as json.dumps, and not its name")
    if isinstance(given.get("allow_nats"), str):
        raise ImproperlyConfigured("OUTBOX_CLIENT['allow_nats'] is a list of headers, not one text")
    try:
        return Configured(**(_DEFAULTS | given))
    except ValueError as error:
        raise ImproperlyConfigured(f"OUTBOX_CLIENT: {error}") from error


@functools.cache
def configured() -> Configured:
    """Return what the settings describe; they are read once.

    Raises:
        ImproperlyConfigured: See `read`.
    """
    return read(getattr(settings, "OUTBOX_CLIENT", {}))


def usable() -> Configured:
    """Return what the settings describe, or the defaults if they are wrong.

    For the model: its module is imported before Django's checks, whose one line names the fault, can run.
    """
    try:
        return configured()
    except ImproperlyConfigured:
        return read({})
