"""A projection that folds events into its tables, so that order, repeats and gaps show; and what it should hold."""

import json
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from nats.aio.client import Client

from relay.projection.definition import Definition, Handler
from relay.projection.rules.grouping import Mode
from relay.projection.sql_text import statement
from tests.support.fix_relay import wait_until
from tests.support.fix_stream import Streams

STREAM = "ORDERS"
# When the event of seq 0 was created, and each later one a millisecond later: a repeat has the same time.
_BEGAN = datetime.now(UTC)

# The list of a key's numbers: any event that is missed, applied twice or out of order shows.
TABLES = "CREATE TABLE trail (key text PRIMARY KEY, numbers bigint[] NOT NULL)"
APPEND = """
INSERT INTO trail (key, numbers) SELECT key, ARRAY[(data->>'i')::bigint] FROM event
ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers
"""
FOLD = """
INSERT INTO trail (key, numbers)
SELECT key, array_agg((data->>'i')::bigint ORDER BY stream_seq) FROM event GROUP BY key
ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers
"""


def definition(name: str = "trail", mode: Mode = Mode.EACH, **fields: Any) -> Definition:
    """Make the projection of the tests."""
    known: dict[str, Any] = {"subjects": ("orders.>",), "version": 1, "tables": TABLES, "stream": STREAM}
    sql = FOLD if mode is Mode.FOLD else APPEND
    known["handlers"] = (Handler("orders.>", None, mode, sql=statement(sql)),)
    return Definition(name=name, **{**known, **fields})


class Events:
    """The stream, filled as the relay fills it."""

    def __init__(self, streams: Streams, url: str) -> None:
        self.streams = streams
        self.url = url
        self.sent: list[tuple[int, str, int]] = []  # seq, key, number

    def make(self, **config: Any) -> None:
        """Make the stream."""
        self.streams.make(STREAM, "orders.>", **config)

    def send(
        self, *events: tuple[int, str], payload: object = None, topic: str = "orders.placed", **own: str | None
    ) -> None:
        """Store events, each a seq and a key, with the headers of the relay; the number in each is its seq.

        Other values for headers may be given; one that is None is left out.
        """
        self.sent += [(seq, key, seq) for seq, key in events]
        self.store(
            [(topic, {"i": seq} if payload is None else payload, headers_of(seq, key) | own) for seq, key in events]
        )

    def store(self, messages: Sequence[tuple[str, object, Mapping[str, str | None]]]) -> None:
        """Store messages, each a subject, a payload and headers, of which those that are None are left out.

        A payload of bytes is sent as it is.
        """

        async def store(client: Client) -> None:
            js = client.jetstream(publish_async_max_pending=256)
            waiting = []
            for topic, payload, headers in messages:
                given = {name: value for name, value in headers.items() if value is not None}
                data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                waiting.append(await js.publish_async(topic, data, headers=given))
            for one in waiting:
                await one

        self.streams._with(store)

    def fill(self, first: int, count: int, keys: int = 7) -> None:
        """Store so many events from a seq on."""
        self.send(*((seq, f"k{seq % keys}") for seq in range(first, first + count)))


def headers_of(seq: int, key: str) -> dict[str, str | None]:
    """Return what the relay sends; the id is another one each time, so that the stream itself drops nothing."""
    return {
        "Nats-Msg-Id": uuid.uuid4().hex,
        "Outbox-Key": key,
        "Outbox-Seq": str(seq),
        "Outbox-Created-At": (_BEGAN + timedelta(milliseconds=seq)).isoformat(),
    }


def trail(dsn: str, name: str = "trail") -> dict[str, list[int]]:
    """Return what the read model holds; empty if it is not there yet."""
    with psycopg.connect(dsn) as conn:
        if conn.execute("SELECT to_regclass(%s)", (f"{name}.trail",)).fetchone() == (None,):
            return {}
        return dict(conn.execute(f"SELECT key, numbers FROM {name}.trail".encode()).fetchall())


def fold(*seqs: tuple[int, str]) -> dict[str, list[int]]:
    """Return what the read model must hold after these events, each a seq and a key."""
    found: dict[str, list[int]] = defaultdict(list)
    for seq, key in seqs:
        found[key].append(seq)
    return dict(found)


def filled(first: int, count: int, keys: int = 7) -> dict[str, list[int]]:
    """Return the fold of `Events.fill`."""
    return fold(*((seq, f"k{seq % keys}") for seq in range(first, first + count)))


def state(dsn: str, name: str = "trail") -> dict[str, Any]:
    """Return the row of state of partition 0; empty if there is none yet."""
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as conn:
        if conn.execute("SELECT to_regclass('projection.state') AS found").fetchone() == {"found": None}:
            return {}
        query = "SELECT owner, epoch, position, position_time_ns, applied, repeats, status, error, gap_last, paused"
        query += " FROM projection.state WHERE name = %s AND partition = 0"
        return conn.execute(query, (name,)).fetchone() or {}


def waits(dsn: str, name: str = "trail") -> str:
    """Wait until partition 0 waits; return for what, by the same look: it runs for a moment at each try."""
    seen: list[str] = []

    def it_waits() -> bool:
        row = state(dsn, name)
        seen[:] = [str(row.get("error"))]
        return row.get("status") == "waiting"

    wait_until(f"{name} waits", it_waits)
    return seen[0]


def run_sql(dsn: str, query: str, *params: object) -> list[tuple[Any, ...]]:
    """Run a statement as an administrator."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(query.encode(), params)
        return cursor.fetchall() if cursor.description else []
