"""Rows that become visible behind the cursor: each is delivered, once, soon after its commit."""

import time
from collections.abc import Iterator

import psycopg
import pytest

from relay.migrate import migrate
from tests.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.fix_stream import Streams

INSERT = "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.placed', %s, %s) RETURNING seq"
# The promise is a second; the rest is for a machine that does other things meanwhile.
FOUND_WITHIN_S = 2.0


@pytest.fixture
def reader_stays_open(database: str) -> Iterator[None]:
    """A read-only transaction with a snapshot that stays open for the whole test."""
    with psycopg.connect(database) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        conn.execute("SELECT count(*) FROM outbox_events")
        yield


@pytest.fixture
def relay(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Relay:
    """A relay at work on the test's database."""
    streams.make("ORDERS", "orders.>")
    one = make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": -1}))
    return one


def insert(conn: psycopg.Connection[tuple[int]], key: str, number: int) -> int:
    row = conn.execute(INSERT, (key, f'{{"i": {number}}}')).fetchone()
    assert row is not None
    return row[0]


def watermark(outbox: Outbox) -> int:
    row = outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.usefixtures("reader_stays_open")
def test_rows_that_commit_in_reverse_order_are_each_delivered_once_and_soon(
    outbox: Outbox, streams: Streams, relay: Relay
) -> None:
    late = [psycopg.connect(outbox.dsn) for _ in range(5)]
    seqs = [insert(conn, f"late{at}", at) for at, conn in enumerate(late)]
    for batch in range(3):
        outbox.fill("orders.placed", 2000, keys=50)
        wait_until(
            f"batch {batch} past the open ones", lambda: outbox.count("delivered_at IS NULL AND dead_at IS NULL") == 0
        )
    for seq, conn in reversed(list(zip(seqs, late, strict=True))):
        assert watermark(outbox) < seq
        conn.commit()
        committed = time.monotonic()
        outbox.delivered(seq)
        assert time.monotonic() - committed < FOUND_WITHIN_S
        conn.close()
    ids = [message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS")]
    assert len(ids) == len(set(ids)) == 1 + 5 + 6000
    newest = outbox.insert("orders.placed", "end", {"i": 0})
    wait_until("the watermark at the end", lambda: watermark(outbox) == newest)
    assert not relay.lines("scrub.found")


@pytest.mark.usefixtures("reader_stays_open", "relay")
def test_a_gap_that_was_rolled_back_is_given_up(outbox: Outbox, streams: Streams) -> None:
    with psycopg.connect(outbox.dsn) as conn:
        insert(conn, "phantom", 666)
        after = outbox.insert("orders.placed", "k", {"i": 1})
        outbox.delivered(after)
        assert watermark(outbox) < after
        conn.rollback()
    wait_until("the watermark past the gap", lambda: watermark(outbox) == after)
    assert 666 not in [message.i for message in streams.read("ORDERS")]


@pytest.mark.usefixtures("reader_stays_open")
def test_a_row_that_commits_across_a_restart_is_delivered(outbox: Outbox, relay: Relay) -> None:
    with psycopg.connect(outbox.dsn) as conn:
        seq = insert(conn, "late", 1)
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 2}))
        assert relay.stop() == 0
        relay.start()
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 3}))
        conn.commit()
        committed = time.monotonic()
        outbox.delivered(seq)
        assert time.monotonic() - committed < FOUND_WITHIN_S


@pytest.mark.parametrize("restart", [False, True])
def test_a_prepared_transaction_is_waited_for_and_delivered(
    empty_database: str, streams: Streams, make_relay: MakeRelay, restart: bool
) -> None:
    with psycopg.connect(empty_database) as conn:
        migrate(conn, "outbox_events", "jsonb", bell=False)
    outbox = Outbox(empty_database)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(empty_database, streams.url, delivery__poll_max_s="0.2").start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    gid = f"late-{empty_database[-8:]}"
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("BEGIN")
        committed_later = insert(conn, "late", 1)
        # The gap is seen while its owner is an ordinary transaction, which then becomes a prepared one.
        after = outbox.insert("orders.placed", "k", {"i": 2})
        outbox.delivered(after)
        conn.execute(f"PREPARE TRANSACTION '{gid}'")
    if restart:
        relay.kill()
        outbox.conn.execute("UPDATE outbox_shards SET lease_until = '-infinity'")
        relay.start()
    for number in range(10):
        after = outbox.insert("orders.placed", "k", {"i": 3 + number})
        outbox.delivered(after)
        assert watermark(outbox) < committed_later
    outbox.conn.execute(f"COMMIT PREPARED '{gid}'")
    committed = time.monotonic()
    outbox.delivered(committed_later)
    assert time.monotonic() - committed < FOUND_WITHIN_S
    wait_until("the watermark at the end", lambda: watermark(outbox) == after)
    assert not relay.lines("scrub.found")
    outbox.conn.close()


def test_a_row_behind_the_cursor_that_no_gap_explains_is_found_by_the_scrub(
    outbox: Outbox, streams: Streams, relay: Relay
) -> None:
    with psycopg.connect(outbox.dsn) as conn:
        missing = insert(conn, "rolled back", 1)
        conn.rollback()
    last = outbox.insert("orders.placed", "k", {"i": 2})
    wait_until("the watermark past the gap", lambda: watermark(outbox) == last)
    # As from a cached sequence or a restored dump: a seq that was drawn, given up, and used after all.
    outbox.conn.execute(
        "INSERT INTO outbox_events (seq, topic, payload) OVERRIDING SYSTEM VALUE VALUES (%s, 'orders.placed', '{}')",
        (missing,),
    )
    outbox.delivered(missing)
    relay.said("scrub.found")
