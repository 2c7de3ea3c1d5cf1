"""Reads are bounded by bytes and by time before they are made, whatever the rows are."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest

from relay.postgres.database import Database
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.rows import NOTHING_DUE
from relay.postgres.tables import Tables
from relay.rules.reading.read_batch_size import Read, Room
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams

MB = 1_000_000
LARGE = (
    "INSERT INTO outbox_events (topic, key, payload)"
    " SELECT 'orders.large', 'l' || i, to_jsonb(repeat('a', %s)) FROM generate_series(1, %s) i"
)


def resident_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def test_many_large_rows_after_small_ones_take_no_more_memory_than_the_buffer(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 3000, keys=50)
    outbox.drained()
    before = resident_mb(relay.pid)
    outbox.conn.execute(LARGE, (MB - 1000, 200))
    outbox.drained(timeout_s=60)
    # 200 MB were read: what is in memory, what was just read, and their copies on the way out.
    assert resident_mb(relay.pid) - before < 130


def test_a_row_that_no_server_takes_is_not_read_and_keeps_nobody_waiting(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, delivery__buffer_bytes=str(4 * MB)).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    before = resident_mb(relay.pid)
    outbox.conn.execute(LARGE, (100 * MB, 1))
    behind = outbox.insert("orders.placed", "l1", {"i": 1})
    outbox.delivered(behind)
    (large,) = outbox.conn.execute("SELECT seq FROM outbox_events WHERE topic = 'orders.large'").fetchone() or (0,)
    assert "bytes: more than the relay reads" in outbox.dead(large)
    assert resident_mb(relay.pid) - before < 40


def test_a_read_that_is_too_slow_is_made_smaller_until_it_is_done(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: Callable[[int], Proxy]
) -> None:
    """At some 1 MB a second no read of more is done within a second."""
    streams.make("ORDERS", "orders.>")
    link = proxy(outbox.conn.info.port)
    dsn = psycopg.conninfo.make_conninfo(outbox.dsn, host="127.0.0.1", port=link.port)
    make_relay(dsn, streams.url, postgres__statement_timeout_s="1", lease__ttl_s="20").start()
    outbox.fill("orders.placed", 1000, keys=50)
    outbox.drained()
    link.delay_s = 0.02
    outbox.conn.execute(LARGE, (100_000, 40))
    outbox.drained(timeout_s=60)


@pytest.mark.parametrize("way", ["quick", "careful", "among", "gaps", "due"])
async def test_every_reader_shares_its_bytes_among_the_rows_and_ends_before_the_first_without_room(
    outbox: Outbox, way: str
) -> None:
    sizes = [10, 400, 400, 400, 9000, 10, 10]
    for size in sizes:
        outbox.conn.execute(
            "INSERT INTO outbox_events (topic, key, payload, retry_at)"
            " VALUES ('t', 'k', to_jsonb(repeat('a', %s)), %s)",
            (size, "2020-01-01" if way == "due" else None),
        )
    async with Database(outbox.dsn, "fetch", connect_timeout_s=5, statement_timeout_s=5) as database:
        shards = list(range(64)) if way == "among" else None
        reader = OutboxReader(database, Tables(), shards, 64)
        room = Room(100, 1000, 4000, careful=way != "quick")
        if way == "quick":
            room = Room(4, 10_000, 20_000, careful=False)
        position, after, reads = 0, NOTHING_DUE, []
        while True:
            if way == "among":
                read = await reader.fetch_among(position, 100, room)
            elif way == "gaps":
                read = await reader.reread([position + 1], [100], room)
            elif way == "due":
                read, after = await reader.due(after, room)
            else:
                read = await reader.fetch(position, 100, room)
            reads.append(read)
            if read.seqs:
                position = read.seqs[-1]
            if not read.is_cut:
                break
            if way == "quick" and read.is_crowded:
                room = room._replace(careful=True, payload_bytes=1000, row_bytes=4000)
    found = [event for read in reads for event in read.events]
    assert [event.seq for event in found] == list(range(1, len(sizes) + 1))
    assert [bool(event.unread) for event in found] == [size == 9000 for size in sizes]
    assert all(
        len(event.payload) == (0 if event.unread else size + 2) for event, size in zip(found, sizes, strict=True)
    )
    assert all(_bytes(read) <= 1000 for read in reads) or way == "quick"


def _bytes(read: Read) -> int:
    return sum(event.size for event in read.events)


@pytest.mark.parametrize("large", ["headers", "compressed headers", "key", "topic"])
def test_rows_that_are_large_beside_their_payload_take_no_memory(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, large: str
) -> None:
    """Headers that no server takes and keys that nobody means are not read: 24 rows of 9.6 MB, before 24 of 900 KB."""
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 3000, keys=50)
    outbox.drained()
    before = resident_mb(relay.pid)
    text = "repeat('a', {n} * 32)" if large == "compressed headers" else "repeat(md5(i::text), {n})"
    columns = {
        "key": "'orders.x', {text}, NULL",
        "topic": "{text}, 'k' || i, NULL",
    }.get(large, "'orders.x', 'k' || i, jsonb_build_object('a', {text})")
    for n in (300_000, 28_000):
        values = columns.format(text=text.format(n=n))
        outbox.conn.execute(
            "INSERT INTO outbox_events (topic, key, headers, payload)"
            f" SELECT {values}, '{{}}' FROM generate_series(1, 24) i".encode()
        )
    outbox.drained()
    outbox.delivered(outbox.insert("orders.placed", "k1", {"i": 0}))
    assert outbox.count("dead_at IS NOT NULL") == (24 if large == "key" else 48)
    # 230 MB were not read. Of the 22 MB that were, all may be in memory at once if marks are slow, and what was just
    # read some times over.
    assert resident_mb(relay.pid) - before < 100


def test_events_that_cannot_be_sent_leave_memory_with_their_mark(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """48 rows with headers of 900 KB are read, and refused for them: 4 MB at a time."""
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, delivery__buffer_bytes=str(4 * MB)).start()
    outbox.fill("orders.placed", 3000, keys=50)
    outbox.drained()
    before = resident_mb(relay.pid)
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, headers, payload)"
        " SELECT 'orders.x', 'k' || i, jsonb_build_object('a', repeat('a', 900000)), '{}' FROM generate_series(1, 48) i"
    )
    outbox.drained()
    assert outbox.count("dead_at IS NOT NULL") == 48
    assert resident_mb(relay.pid) - before < 30
