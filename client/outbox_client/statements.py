"""The INSERTs, for each style of placeholder. Nothing is returned: a producer may not be allowed to read the table."""

import re

COLUMNS = ("id", "topic", "key", "payload", "headers")

_PLAIN_NAME = re.compile(r"([a-z_][a-z0-9_]{0,47}\.)?[a-z_][a-z0-9_]{0,47}")


# The values travel as texts, whatever codecs the connection has for jsonb and uuid; the server casts them.
_INSERT_ONE = """
INSERT INTO {table} (id, topic, key, payload, headers)
VALUES (CAST({id} AS text)::uuid, {topic}, {key}, CAST({body} AS {sent})::{payload}, CAST({headers} AS text)::jsonb)
"""
# In their order: the server draws seq after the sort.
_INSERT_MANY = """
INSERT INTO {table} (id, topic, key, payload, headers)
SELECT e.id::uuid, e.topic, e.key, e.payload::{payload}, e.headers::jsonb
FROM unnest(CAST({id} AS text[]), CAST({topic} AS text[]), CAST({key} AS text[]), CAST({body} AS {sent}[]),
            CAST({headers} AS text[])) WITH ORDINALITY AS e (id, topic, key, payload, headers, place)
ORDER BY e.place
"""


def insert_one(table: str, payload: str, places: tuple[str, ...]) -> str:
    """Insert one row.

    Args:
        table: A plain lower-case name, or ``schema.name``.
        payload: The type of the payload column.
        places: The five placeholders, in the order of `COLUMNS`.
    """
    return _insert(_INSERT_ONE, table, payload, places)


def insert_many(table: str, payload: str, places: tuple[str, ...]) -> str:
    """Insert rows from five arrays, in their order; the arguments are those of `insert_one`."""
    return _insert(_INSERT_MANY, table, payload, places)


def _insert(template: str, table: str, payload: str, places: tuple[str, ...]) -> str:
    identity, topic, key, body, headers = places
    sent = "bytea" if payload == "bytea" else "text"
    return of_table(
        template, table, id=identity, topic=topic, key=key, body=body, headers=headers, sent=sent, payload=payload
    )


def of_table(template: str, table: str, **places: str) -> str:
    """Return a statement for a table.

    Args:
        template: Has ``{table}`` where the name stands, and a name in braces for each placeholder.
        table: The only part that comes from outside; see `checked`.
        places: The placeholders.

    Raises:
        ValueError: See `checked`.
    """
    return template.format(table=checked(table), **places)


def checked(table: str) -> str:
    """Return the name of a table, if it needs no quotes.

    Raises:
        ValueError: It is no plain lower-case name, nor ``schema.name``.
    """
    if not _PLAIN_NAME.fullmatch(table):
        raise ValueError(f"table {table!r}: must be a plain lower-case name, or schema.name")
    return table
