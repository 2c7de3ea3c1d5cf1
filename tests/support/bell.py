"""Who holds the bell of an outbox, who stands in line for it, and what rings."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from tests.support.fix_relay import Outbox, wait_until

BELL_HOLDERS = """
    SELECT a.pid
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted
      AND a.datname = current_database() AND a.application_name = 'outbox-relay bell'
"""
STANDS_IN_LINE = """
    SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND NOT l.granted
      AND a.datname = current_database() AND a.application_name = 'outbox-relay bell-queue'
"""


def bell_holder(outbox: Outbox) -> int | None:
    """Return the backend that sleeps on the bell, None if the relay is awake."""
    row = outbox.conn.execute(BELL_HOLDERS.encode()).fetchone()
    return None if row is None else int(row[0])


def asleep(outbox: Outbox) -> int:
    """Wait until the relay sleeps; return the backend of its bell."""
    found: list[int | None] = [None]

    def holds() -> bool:
        found[0] = bell_holder(outbox)
        return found[0] is not None

    wait_until("the relay sleeps on the bell", holds)
    assert found[0] is not None
    return found[0]


def stands_in_line(outbox: Outbox) -> bool:
    """Report whether the relay stands in line for the bell."""
    return outbox.conn.execute(STANDS_IN_LINE.encode()).fetchone() is not None


def kept_awake(outbox: Outbox, producer: psycopg.Connection[tuple[int]]) -> None:
    """Leave a transaction of the producer open that began while the relay was awake, so that it cannot sleep."""

    def shares_the_lock() -> bool:
        outbox.fill("orders.placed", 200, keys=10)
        producer.rollback()
        producer.execute("INSERT INTO outbox_events (topic, payload) VALUES ('orders.placed', '{\"i\": 0}')")
        return (
            producer.execute(
                "SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND mode = 'ShareLock'"
            ).fetchone()
            is not None
        )

    wait_until("an insert while the relay is awake", shares_the_lock)


@contextmanager
def listening(dsn: str) -> Iterator[list[str]]:
    """Collect the rings that are heard meanwhile; complete once the block has ended."""
    heard: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute('LISTEN "outbox_events"')
            ready.set()
            for ring in conn.notifies():
                if ring.payload == "end of the test":
                    return
                # A relay tries its bell at start, late if the machine is busy.
                if ring.payload != "test":
                    heard.append(ring.payload)

    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(listen)
        try:
            assert ready.wait(10)
            yield heard
        finally:
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute("SELECT pg_notify('outbox_events', 'end of the test')")
            thread.result(10)
