"""The INSERTs, for each style of placeholder. Nothing is returned: a producer may not be allowed to read the table."""

import re

COLUMNS = ("id", "topic", "key", "payload", "headers")

_PLAIN_NAME = re.compile(r"([a-z_][a-z0-9_]{0,47}\.)?[a-z_][a-z0-9_]{0,47}")


def insert_one(table: str, payload: str, places: tuple[str, ...]) -> str:
    """Insert one row.

    The values travel as texts, whatever codecs the connection has for jsonb and uuid; the server casts them.

    Args:
        table: A plain lower-case name, or ``schema.name``.
        payload: The type of the payload column.
        places: The five placeholders, in the order of `COLUMNS`.
    """
    identity, topic, key, body, headers = places
    sent = "bytea" if payload == "bytea" else "text"
    return (
        f"INSERT INTO {checked(table)} (id, topic, key, payload, headers) "  # noqa: S608 - the name is checked
        f"VALUES ({_cast(identity, 'text')}::uuid, {topic}, {key}, {_cast(body, sent)}::{payload}, "
        f"{_cast(headers, 'text')}::jsonb)"
    )


def insert_many(table: str, payload: str, places: tuple[str, ...]) -> str:
    """Insert rows from five arrays, in their order: the server draws seq after the sort."""
    sent = "bytea" if payload == "bytea" else "text"
    kinds = ("text[]", "text[]", "text[]", f"{sent}[]", "text[]")
    arrays = ", ".join(map(_cast, places, kinds))
    return (
        f"INSERT INTO {checked(table)} (id, topic, key, payload, headers) "  # noqa: S608 - the name is checked
        f"SELECT e.id::uuid, e.topic, e.key, e.payload::{payload}, e.headers::jsonb "
        f"FROM unnest({arrays}) WITH ORDINALITY AS e (id, topic, key, payload, headers, place) ORDER BY e.place"
    )


def checked(table: str) -> str:
    """Return the name of a table, if it needs no quotes.

    Raises:
        ValueError: It is no plain lower-case name, nor ``schema.name``.
    """
    if not _PLAIN_NAME.fullmatch(table):
        raise ValueError(f"table {table!r}: must be a plain lower-case name, or schema.name")
    return table


def _cast(place: str, kind: str) -> str:
    return f"CAST({place} AS {kind})"
