"""The table that remembers commands, and what its rows say; how it is reached is the drivers' business."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from outbox_client.errors import KeyReused

TABLE = "outbox_commands"

# One statement each: asyncpg prepares what SQLAlchemy and Alembic hand it, and prepares no two at once.
CREATE_TABLE = """
CREATE TABLE outbox_commands (
    key        text        PRIMARY KEY,
    request    text,
    result     jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
"""For a migration. Delete rows as soon as no client repeats its commands any more."""
CREATE_INDEX = "CREATE INDEX outbox_commands_created_at ON outbox_commands (created_at)"
"""For the same migration: it finds the old rows."""
DROP_TABLE = "DROP TABLE outbox_commands"
"""For the way back."""

# A statement that conflicts with a running transaction waits for its end. The SELECT is a statement of its own: the
# snapshot of the INSERT is older than the commit that it has waited for.
INSERT = "INSERT INTO {table} (key, request) VALUES ({key}, {request}) ON CONFLICT (key) DO NOTHING"
SELECT = "SELECT request, CAST(result AS text) FROM {table} WHERE key = {key}"
UPDATE = "UPDATE {table} SET result = CAST(CAST({result} AS text) AS jsonb) WHERE key = {key}"


class Earlier(NamedTuple):
    """A command that was carried out before.

    Attributes:
        result: What `remember` stored; None if it stored nothing.
    """

    result: Any


def digest_of(request: Any) -> str | None:
    """Return what is kept of a request, None for none.

    Raises:
        TypeError: It is neither bytes nor what `json.dumps` takes.
    """
    if request is None:
        return None
    raw = request if isinstance(request, bytes) else _json("request", request, sort_keys=True).encode()
    return hashlib.sha256(raw).hexdigest()


def as_json(result: Any) -> str:
    """Return a result as it is stored.

    Raises:
        TypeError: It is not what `json.dumps` takes.
    """
    return _json("result", result)


def earlier_of(key: str, digest: str | None, known: str | None, result: str | None) -> Earlier:
    """Return what came of a command.

    Args:
        key: Of the command.
        digest: Of the request that has come now.
        known: The digest that is stored.
        result: The result that is stored.

    Raises:
        KeyReused: It was another request.
    """
    if digest is not None and known is not None and digest != known:
        raise KeyReused(key)
    return Earlier(None if result is None else json.loads(result))


def _json(what: str, value: Any, *, sort_keys: bool = False) -> str:
    try:
        return json.dumps(value, sort_keys=sort_keys)
    except TypeError as error:
        raise TypeError(f"the {what} of a command: {error}: make a text of it first, such as by str()") from error
