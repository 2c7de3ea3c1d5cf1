"""What one publish costs beside the bare INSERT of the same driver: ``python client/bench/publish.py``.

The two are measured in turns on one connection, on a PostgreSQL of its own; the ratio is of medians. The bar: 1.3.
It also measures what importing the package takes, in a process that has loaded nothing else. The bar: 20 ms.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import psycopg
from relay.demo.servers import PostgresServer
from relay.postgres.migrate import migrate

from outbox_client import Event, Outbox

ROUNDS = 40
EVENTS = 250
PAYLOAD = {"order": 42, "lines": [{"article": f"a-{i}", "quantity": i} for i in range(6)]}
INSERT = "INSERT INTO outbox_events (id, topic, key, payload, headers) VALUES ({})"
# Of a core, which other work on the machine does not lengthen; on an idle machine it is the time on the clock.
IMPORT = "import time; t = time.process_time(); import outbox_client; print(time.process_time() - t)"


def _report(name: str, bare: list[float], published: list[float]) -> None:
    per_event = [statistics.median(times) / EVENTS * 1e6 for times in (bare, published)]
    print(
        f"{name:8} bare {per_event[0]:6.1f} us, publish {per_event[1]:6.1f} us, ratio {per_event[1] / per_event[0]:.2f}"
    )


def through_psycopg(dsn: str) -> None:
    """Measure psycopg."""
    outbox = Outbox()
    bare: list[float] = []
    published: list[float] = []
    statement = INSERT.format("%s, %s, %s, %s, %s")
    with psycopg.connect(dsn) as conn:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(EVENTS):
                conn.execute(statement, (str(uuid.uuid4()), "orders.placed", "42", json.dumps(PAYLOAD), None))
            between = time.perf_counter()
            for _ in range(EVENTS):
                outbox.publish(conn, Event("orders.placed", PAYLOAD, key="42"))
            published.append(time.perf_counter() - between)
            bare.append(between - began)
            conn.rollback()
    _report("psycopg", bare, published)


async def through_asyncpg(dsn: str) -> None:
    """Measure asyncpg."""
    outbox = Outbox()
    bare: list[float] = []
    published: list[float] = []
    statement = INSERT.format("$1, $2, $3, $4, $5")
    conn = await asyncpg.connect(dsn)

    async def insert() -> None:
        await conn.execute(statement, str(uuid.uuid4()), "orders.placed", "42", json.dumps(PAYLOAD), None)

    async def publish() -> None:
        await outbox.publish_async(conn, Event("orders.placed", PAYLOAD, key="42"))

    async def timed(step: Callable[[], Awaitable[None]]) -> float:
        began = time.perf_counter()
        for _ in range(EVENTS):
            await step()
        return time.perf_counter() - began

    for _ in range(ROUNDS):
        transaction = conn.transaction()
        await transaction.start()
        bare.append(await timed(insert))
        published.append(await timed(publish))
        await transaction.rollback()
    await conn.close()
    _report("asyncpg", bare, published)


def main() -> None:
    """Measure all, and print."""
    took = [
        float(subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True).stdout) for _ in range(9)
    ]
    print(f"import   {statistics.median(took) * 1000:.1f} ms")
    with tempfile.TemporaryDirectory() as directory, PostgresServer(Path(directory)) as server:
        with psycopg.connect(server.dsn()) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)
        through_psycopg(server.dsn())
        asyncio.run(through_asyncpg(server.dsn()))


if __name__ == "__main__":
    main()
