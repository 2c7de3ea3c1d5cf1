"""The table that remembers commands, and what its rows say; how it is reached is the drivers' business."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

TABLE = "outbox_commands"

CREATE_TABLE = """
CREATE TABLE outbox_commands (
    key        text        PRIMARY KEY,
    request    text,
    result     jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON outbox_commands (created_at);
"""
"""For a migration. Delete rows as soon as no client repeats its commands any more: the index finds the old ones."""

# A statement that conflicts with a running transaction waits for its end. The SELECT is a statement of its own: the
# snapshot of the INSERT is older than the commit that it has waited for.
INSERT = "INSERT INTO {table} (key, request) VALUES ({key}, {request}) ON CONFLICT (key) DO NOTHING"
SELECT = "SELECT request, CAST(result AS text) FROM {table} WHERE key = {key}"
UPDATE = "UPDATE {table} SET result = CAST(CAST({result} AS text) AS jsonb) WHERE key = {key}"


class KeyReused(ValueError):
    """The key was used for another request. Nothing was changed."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key[:100]!r} was used for another request")


class Earlier(NamedTuple):
    """A command that was carried out before.

    Attributes:
        result: What `remember` stored; None if it stored nothing.
    """

    result: Any


class NotBegun(LookupError):
    """`once` has not begun the command. Nothing was stored."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no command was begun under the key {key[:100]!r}: call once first, in the same transaction")


def digest_of(request: Any) -> str | None:
    """Return what is kept of a request, None for none."""
    if request is None:
        return None
    raw = request if isinstance(request, bytes) else json.dumps(request, sort_keys=True).encode()
    return hashlib.sha256(raw).hexdigest()


def as_json(result: Any) -> str:
    """Return a result as it is stored."""
    return json.dumps(result)


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
