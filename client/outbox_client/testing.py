"""What a test has published, read in its own transaction: for tests that are rolled back.

In ``conftest.py``::

    pytest_plugins = ["outbox_client.testing"]

    @pytest.fixture
    def outbox_connection(session):  # the session, or the connection, that the test works with
        return session

Without pytest, as in Django's own tests, there are `recorded` and `recorded_async`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from outbox_client.drivers import is_asynchronous, name_of
from outbox_client.event import Event
from outbox_client.statements import of_table

# A row that this transaction sees and whose writer is still in progress is its own, or that of a savepoint of it. The
# column xmin holds the lower half of the writer's number; the upper half is that of the nearest number to the newest.
# It reads the whole table: meant for the databases of tests.
_OWN_EVENTS = """
SELECT CAST(e.id AS text), e.topic, e.key, CAST(pg_typeof(e.payload) AS text), CAST(e.payload AS text),
       CAST(e.headers AS text)
FROM {table} AS e
CROSS JOIN LATERAL (
    SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS newest,
           CAST(CAST(e.xmin AS text) AS bigint) AS low
) AS x
CROSS JOIN LATERAL (
    SELECT newest + mod(low - newest + 6442450944, 4294967296) - 2147483648 AS writer
) AS w
WHERE CASE WHEN low >= 3 AND writer >= 3 THEN pg_xact_status(CAST(CAST(writer AS text) AS xid8)) END
      = 'in progress'
ORDER BY e.seq
"""


def recorded(conn: Any, *, table: str = "outbox_events") -> list[Event]:
    """Read the events that the open transaction has written, in their order; those of its savepoints too.

    Nothing has to be committed. Reading needs SELECT on the table, so a test that logs in as a producer reads on
    another role.

    Args:
        conn: A connection of psycopg 3, a Session or Connection of SQLAlchemy, or Django's ``connection``.
        table: The outbox.

    Raises:
        TypeError: It is an asynchronous one.
    """
    if is_asynchronous(conn):
        raise TypeError(f"recorded takes a synchronous connection or session, not {name_of(conn)}: call recorded_async")
    if callable(getattr(conn, "cursor", None)):
        with conn.cursor() as cursor:
            cursor.execute(of_table(_OWN_EVENTS, table))
            return [_event(row) for row in cursor.fetchall()]
    import sqlalchemy

    return [_event(tuple(row)) for row in conn.execute(sqlalchemy.text(of_table(_OWN_EVENTS, table)))]


async def recorded_async(conn: Any, *, table: str = "outbox_events") -> list[Event]:
    """Read the same from an asynchronous connection of psycopg or asyncpg, AsyncSession or AsyncConnection."""
    if hasattr(conn, "fetch"):
        return [_event(tuple(row)) for row in await conn.fetch(of_table(_OWN_EVENTS, table))]
    if callable(getattr(conn, "cursor", None)):
        async with conn.cursor() as cursor:
            await cursor.execute(of_table(_OWN_EVENTS, table))
            return [_event(row) for row in await cursor.fetchall()]
    import sqlalchemy

    return [_event(tuple(row)) for row in await conn.execute(sqlalchemy.text(of_table(_OWN_EVENTS, table)))]


try:
    import pytest
except ModuleNotFoundError:
    pass
else:

    @pytest.fixture
    def outbox_connection() -> Any:
        """What the tests work with; `published` reads there. Define it in your own ``conftest.py``.

        Raises:
            NotImplementedError: It is not defined.
        """
        raise NotImplementedError("define a fixture outbox_connection that returns your test's session or connection")

    @pytest.fixture
    def published(outbox_connection: Any) -> Callable[[], list[Event]]:
        """Return the events that the test has published so far, each time it is called."""
        return lambda: recorded(outbox_connection)


def _event(row: Any) -> Event:
    identity, topic, key, kind, payload, headers = row.values() if isinstance(row, Mapping) else row
    decoded = payload
    if kind in ("jsonb", "json"):
        decoded = json.loads(payload)
    elif kind == "bytea":
        decoded = bytes.fromhex(payload.removeprefix("\\x"))
    found = None if headers is None else json.loads(headers)
    return Event(topic, decoded, key=key, headers=found, id=uuid.UUID(identity))
