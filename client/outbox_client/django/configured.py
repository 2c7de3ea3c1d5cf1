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
    "key_header": True,
    "databases": (),
}


class Configured:
    """The outbox that the settings describe.

    Args:
        table: See `outbox_client.Outbox`.
        payload: See there.
        databases: The aliases that ``using`` names, to be checked like the one that the router chooses.
        rules: The other arguments of `outbox_client.Outbox`.

    Raises:
        ValueError: A value is unusable.
    """

    def __init__(self, table: str, payload: str, databases: Collection[str], **rules: Any) -> None:
        self.table = table
        self.payload = payload
        self.databases = databases
        self.rows = Rows(payload, **rules)
        self.one = insert_one(table, payload, _PLACES)
        self.many = insert_many(table, payload, _PLACES)


def faults(given: object) -> list[str]:
    """Return what is wrong with a value of the setting, each in one line; empty if nothing is."""
    if not isinstance(given, dict):
        return [f"OUTBOX_CLIENT is a dict, not {type(given).__name__}"]
    return [said for name, value in given.items() for said in _faults(name, value)]


def _faults(name: object, value: object) -> list[str]:
    """Return what is wrong with one entry; none says anything of another."""
    entry = f"OUTBOX_CLIENT[{name!r}]"
    if name not in _DEFAULTS:
        close = difflib.get_close_matches(str(name), _DEFAULTS, 1)
        return [f"{entry} is unknown: {f'did you mean {close[0]!r}?' if close else 'it takes ' + ', '.join(_DEFAULTS)}"]
    kind = {"table": str, "payload": str, "subject": str, "max_bytes": int, "key_header": bool}.get(str(name))
    if kind is not None and not isinstance(value, kind):
        return [f"{entry} is of type {kind.__name__}, not {type(value).__name__}"]
    if name == "dumps" and not callable(value):
        return [f"{entry} is a function, such as json.dumps, and not its name"]
    if name == "allow_nats" and isinstance(value, str):
        return [f"{entry} is a list of headers, not one text"]
    if name == "databases":
        if isinstance(value, str) or not isinstance(value, Collection):
            return [f"{entry} is a list of aliases, not {type(value).__name__}"]
        return [f"{entry}: DATABASES has no {alias!r}" for alias in value if alias not in settings.DATABASES]
    try:
        Configured(**(_DEFAULTS | {str(name): value}))
    except ValueError as error:
        return [f"OUTBOX_CLIENT: {error}"]
    return []


def read(given: object) -> Configured:
    """Make of a value of the setting what it describes.

    Raises:
        ImproperlyConfigured: It is wrong; the text says all that is, in one line.
    """
    found = faults(given)
    if found or not isinstance(given, dict):
        raise ImproperlyConfigured("; ".join(found))
    return Configured(**(_DEFAULTS | given))


def given() -> object:
    """Return the setting as it stands; empty if there is none."""
    return getattr(settings, "OUTBOX_CLIENT", {})


@functools.cache
def configured() -> Configured:
    """Return what the settings describe; they are read once.

    Raises:
        ImproperlyConfigured: See `read`.
    """
    return read(given())


def usable() -> Configured:
    """Return what the settings describe, or the defaults if they are wrong.

    For the model: its module is imported before Django's checks, which name each fault, can run.
    """
    try:
        return configured()
    except ImproperlyConfigured:
        return read({})
