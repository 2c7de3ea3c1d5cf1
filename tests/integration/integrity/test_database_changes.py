"""The database goes back, is another one, or draws its seqs again: what was read from it before counts no more."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from relay.demo.servers import NatsServer, PostgresServer
from relay.postgres.migrate import new_origin
from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import SHORTEST_WINDOW, Streams, ids, ids_are_forgotten


@pytest.fixture
def own_outbox(own_postgres: PostgresServer) -> Iterator[Outbox]:
    """The outbox in a PostgreSQL of the test's own."""
    one = Outbox(own_postgres.dsn())
    yield one
    one.conn.close()


@contextmanager
def failover(postgres: PostgresServer, outbox: Outbox, standby: Path) -> Iterator[None]:
    """Promote a standby that has nothing of what is committed in the block."""
    postgres.stop()
    shutil.copytree(postgres.data, standby)
    postgres.start()
    outbox.reconnect()
    yield
    postgres.kill()
    shutil.rmtree(postgres.data)
    shutil.move(standby, postgres.data)
    postgres.start()
    outbox.reconnect()


def delivered_ids(outbox: Outbox, topic: str) -> set[str]:
    rows = outbox.conn.execute(
        "SELECT id::text FROM outbox_events WHERE topic = %s AND delivered_at IS NOT NULL", (topic,)
    )
    return {row[0] for row in rows}


def test_new_rows_with_the_seqs_of_lost_ones_are_delivered(
    own_postgres: PostgresServer, own_outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(own_postgres.dsn(), own_nats.url).start()
    own_outbox.fill("orders.first", 10, keys=5)
    own_outbox.drained()
    with failover(own_postgres, own_outbox, tmp_path / "standby"):
        own_outbox.delivered(own_outbox.insert("orders.lost", "k0", {"i": 0}))
        own_nats.pause()
        own_outbox.fill("orders.lost", 200, keys=5)
        wait_until("the rows are in memory", lambda: "outbox_relay_backlog_events 200.0" in relay.get("/metrics")[1])
    own_outbox.fill("orders.new", 200, keys=5)
    own_nats.resume()
    own_outbox.drained(timeout_s=60)
    stored = set(ids(streams.read("ORDERS")).values())
    new = delivered_ids(own_outbox, "orders.new")
    assert len(new) == 200
    assert new <= stored, "marked delivered, and in no stream"


def test_marks_that_a_failover_took_back_do_not_send_events_again(
    own_postgres: PostgresServer, own_outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", duplicate_window=200_000_000)
    make_relay(own_postgres.dsn(), own_nats.url).start()
    own_outbox.fill("orders.first", 10, keys=5)
    own_outbox.drained()
    own_nats.stop()
    own_outbox.fill("orders.second", 50, keys=5)
    with failover(own_postgres, own_outbox, tmp_path / "standby"):
        own_nats.start()
        own_outbox.drained()
        time.sleep(0.5)  # longer than the duplicate window
    assert own_outbox.count("delivered_at IS NULL") == 50
    own_outbox.drained(timeout_s=60)
    assert streams.messages("ORDERS") == 60


@pytest.mark.parametrize("in_batches", [True, False], ids=["read in batches", "read one by one"])
def test_seqs_that_a_failover_lets_be_drawn_again_are_reported_until_they_have_another_origin(
    own_postgres: PostgresServer,
    own_outbox: Outbox,
    own_nats: NatsServer,
    make_relay: MakeRelay,
    tmp_path: Path,
    in_batches: bool,
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=in_batches)
    relay = make_relay(own_postgres.dsn(), own_nats.url, headers__seq="true").start()
    own_outbox.fill("orders.first", 10, keys=5)
    own_outbox.drained()
    with failover(own_postgres, own_outbox, tmp_path / "standby"):
        own_outbox.fill("orders.lost", 20, keys=5)
        own_outbox.drained()
    seq = own_outbox.insert("orders.new", "k0", {"i": 0})
    own_outbox.delivered(seq)
    said = relay.said("seqs.again")
    assert (said["stream"], said["events"], said["seq"]) == ("ORDERS", 20, 11)
    assert said["drawn_already"] in (0, 1), "the new row may have been there already"
    # The term that the failover ended may have met them as well.
    counted = re.search(r"^outbox_relay_seq_reused_events_total (\d+)", relay.get("/metrics")[1], re.MULTILINE)
    assert counted is not None
    assert int(counted[1]) == sum(line["events"] for line in relay.lines("seqs.again")) in (20, 40)
    with psycopg.connect(own_postgres.dsn()) as conn:
        new_origin(conn, "outbox_events")
    own_outbox.fill("orders.new", 5, keys=5)
    own_outbox.drained()
    relay.stop()
    reported = len(relay.lines("seqs.again"))
    own_outbox.conn.execute("UPDATE outbox_streams SET floor = 0")
    relay.start()
    own_outbox.delivered(own_outbox.insert("orders.new", "k1", {"i": 1}))
    left = [line["events"] for line in relay.lines("seqs.again")[reported:]]
    assert left == [1], "only the row that was sent before it had another origin is left"


def test_what_was_deleted_or_written_far_ahead_is_no_seq_that_is_drawn_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", allow_direct=True)
    relay = make_relay(outbox.dsn, streams.url, headers__seq="true").start()
    outbox.fill("orders.placed", 20, keys=5)
    outbox.conn.execute(
        "INSERT INTO outbox_events (seq, topic, payload) OVERRIDING SYSTEM VALUE VALUES (5000, 'orders.ahead', '{}')"
    )
    outbox.drained()
    relay.stop()
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq % 2 = 0 AND seq < 100")
    outbox.conn.execute("UPDATE outbox_streams SET floor = 0")
    relay.start()
    outbox.delivered(outbox.insert("orders.placed", "k0", {"i": 0}))
    assert relay.said("tail.read")["messages"] == 21
    assert relay.lines("seqs.again") == []
    assert "outbox_relay_seq_reused_events_total 0.0" in relay.get("/metrics")[1]


def test_a_watermark_is_not_written_into_a_database_that_went_back(
    own_postgres: PostgresServer, own_outbox: Outbox, streams: Streams, make_relay: MakeRelay, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(own_postgres.dsn(), streams.url).start()
    own_outbox.delivered(own_outbox.insert("orders.placed", None, {"i": 0}))
    with failover(own_postgres, own_outbox, tmp_path / "standby"):
        own_outbox.fill("orders.lost", 100, keys=5)
        own_outbox.drained()
        wait_until(
            "the watermark", lambda: own_outbox.count("seq <= (SELECT min(watermark) FROM outbox_shards)") == 101
        )
    (newest,) = own_outbox.conn.execute("SELECT last_value FROM outbox_events_seq_seq").fetchone() or (0,)
    relay.said("database.changed")
    relay.said("relay.active", times=2)
    holds_for(
        2.5,
        "no watermark above what was drawn",
        lambda: not own_outbox.conn.execute("SELECT FROM outbox_shards WHERE watermark > %s", (newest,)).fetchall(),
    )


def test_a_crash_of_the_server_ends_what_was_in_memory(
    own_postgres: PostgresServer, own_outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """With synchronous_commit = off a crash loses the newest commits, and the postmaster goes on as before."""
    streams.make("ORDERS", "orders.>")
    relay = make_relay(own_postgres.dsn(), streams.url).start()
    own_outbox.delivered(own_outbox.insert("orders.placed", None, {"i": 0}))
    relay.said("relay.active")
    os.kill(own_outbox.conn.info.backend_pid, signal.SIGKILL)
    relay.said("database.changed")
    own_outbox.reconnect()
    own_outbox.delivered(own_outbox.insert("orders.placed", None, {"i": 1}))


SET_BACK = {
    "truncated": "TRUNCATE outbox_events RESTART IDENTITY",
    "set by hand": "ALTER TABLE outbox_events ALTER COLUMN seq RESTART WITH 1",
}


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is down"])
def test_a_table_that_is_restored_without_its_companions_has_nothing_sent_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, running: bool
) -> None:
    """What was pending in the copy lies in the stream below the floor that the companions still have."""
    streams.make("ORDERS", "orders.>", duplicate_window=SHORTEST_WINDOW, allow_direct=True)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 40, keys=5)
    outbox.drained()
    outbox.conn.execute("CREATE TABLE copy AS SELECT * FROM outbox_events")
    outbox.conn.execute("UPDATE copy SET delivered_at = NULL, stream = NULL, stream_seq = NULL WHERE seq > 30")
    outbox.fill("orders.later", 50, keys=5)
    outbox.drained()
    query = "SELECT count(*) FROM outbox_streams WHERE floor >= 90"
    wait_until("the floor is written down", lambda: outbox.conn.execute(query).fetchall() != [(0,)])
    ids_are_forgotten()
    if not running:
        assert relay.stop() == 0
    with outbox.conn.transaction():
        outbox.conn.execute("TRUNCATE outbox_events")
        outbox.conn.execute("INSERT INTO outbox_events OVERRIDING SYSTEM VALUE SELECT * FROM copy")
        outbox.conn.execute("SELECT setval(pg_get_serial_sequence('outbox_events', 'seq'), 40)")
    if not running:
        relay.start()
    outbox.drained()
    outbox.delivered(outbox.insert("orders.new", "k", {"i": 0}))
    stored = streams.read("ORDERS")
    assert len(stored) == len(set(ids(stored).values())) == 91
    assert outbox.marks() == {seq: event_id for seq, event_id in ids(stored).items() if not 40 < seq <= 90}


@pytest.mark.parametrize("statement", SET_BACK.values(), ids=SET_BACK.keys())
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is away"])
def test_rows_of_a_sequence_that_was_set_back_are_found_at_once(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, statement: str, running: bool
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 300, keys=5)
    outbox.drained()
    wait_until("the watermark", lambda: outbox.count("seq <= (SELECT min(watermark) FROM outbox_shards)") == 300)
    if not running:
        relay.stop()
    outbox.conn.execute(statement.encode())
    if statement.startswith("ALTER"):
        outbox.conn.execute("DELETE FROM outbox_events WHERE seq <= 20")
    if not running:
        relay.start()
        relay.said("seqs.again")
    seqs = [outbox.insert("orders.again", "k", {"i": i}) for i in range(10)]
    assert max(seqs) <= 20
    for seq in seqs:
        outbox.delivered(seq)
    assert_never_covered(outbox)


def test_a_row_far_ahead_does_not_hide_those_that_the_sequence_draws(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(
        "INSERT INTO outbox_events (seq, topic, key, payload) OVERRIDING SYSTEM VALUE"
        " VALUES (1000000000000, 'orders.ahead', 'k', '{}')"
    )
    outbox.delivered(1_000_000_000_000)
    for i in range(30):
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": i}), timeout_s=10)
        time.sleep(0.1)  # over several beats
    assert_never_covered(outbox)


def test_a_watermark_never_passes_the_sequence(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    far = 1_000_000
    outbox.conn.execute(
        "INSERT INTO outbox_events (seq, topic, key, payload) OVERRIDING SYSTEM VALUE"
        " VALUES (%s, 'orders.placed', 'k', '{}')",
        (far,),
    )
    outbox.delivered(far)
    passed = "SELECT 1 FROM outbox_shards WHERE watermark > 1"
    holds_for(3, "the watermark stands at what was drawn", lambda: not outbox.conn.execute(passed).fetchall())
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 2}))
    # What is yet to be drawn below it commits later: the time up to which all is settled goes on.
    [(now,)] = outbox.conn.execute("SELECT clock_timestamp()").fetchall()
    settled_at = "SELECT min(watermark_at) FROM outbox_shards"
    wait_until("all is settled up to now", lambda: outbox.conn.execute(settled_at).fetchall()[0][0] > now, 10)


def test_the_watermark_waits_for_what_is_drawn_below_a_row_far_ahead_before_any_beat_has_noticed_that(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))

    def waits_for(seq: int) -> bool:
        return not outbox.conn.execute("SELECT 1 FROM outbox_shards WHERE watermark >= %s", (seq,)).fetchall()

    for far in range(1_000_000, 1_000_005):
        outbox.conn.execute(
            "INSERT INTO outbox_events (seq, topic, key, payload) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, 'orders.placed', 'k', '{}')",
            (far,),
        )
        outbox.delivered(far)
        time.sleep(0.6)  # what lies between is looked at twice, and a beat may come before or after
        with psycopg.connect(outbox.dsn) as late:
            row = late.execute(
                "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.placed', 'k', '{}') RETURNING seq"
            ).fetchone()
            assert row is not None
            holds_for(1.5, f"the watermark waits for seq {row[0]}", partial(waits_for, row[0]))
        outbox.delivered(row[0])


def test_the_first_delivery_costs_rows_and_not_the_span_of_their_seqs(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute("ALTER TABLE outbox_events ALTER COLUMN seq RESTART WITH 1000000000000")
    seq = outbox.insert("orders.placed", "k", {"i": 0})
    make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(seq, timeout_s=10)


@pytest.mark.parametrize("seq", [0, -5, -(10**15)])
def test_a_row_with_a_seq_below_those_that_are_drawn_is_found(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, seq: int
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute("ALTER TABLE outbox_events ALTER COLUMN seq RESTART WITH 1000000000000")
    make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(
        "INSERT INTO outbox_events (seq, topic, key, payload) OVERRIDING SYSTEM VALUE"
        " VALUES (%s, 'orders.low', 'k', '{}'), (500000000000, 'orders.low', 'k', '{}')",
        (seq,),
    )
    outbox.delivered(seq, timeout_s=20)
    outbox.delivered(500_000_000_000, timeout_s=20)


def test_a_row_with_a_negative_seq_is_healed_and_deleted_as_all_others(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, healing__check_every_s="1", retention__delivered_age_s="15").start()
    outbox.conn.execute(
        "INSERT INTO outbox_events (seq, topic, key, payload) OVERRIDING SYSTEM VALUE"
        " VALUES (-100000, 'orders.low', 'k', '{}')"
    )
    outbox.delivered(-100_000, timeout_s=20)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    marked = "SELECT 1 FROM outbox_streams WHERE mark_seq = 2"
    wait_until("the mark is written down", lambda: outbox.conn.execute(marked).fetchone())
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    relay.said("stream.lost")
    wait_until("both are sent again", lambda: streams.messages("ORDERS") == 2)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    wait_until("it is deleted", lambda: outbox.count("seq < 0") == 0, 60)


def assert_never_covered(outbox: Outbox) -> None:
    """No pending row lies at or below the watermark."""
    assert (
        outbox.count("delivered_at IS NULL AND dead_at IS NULL AND seq <= (SELECT max(watermark) FROM outbox_shards)")
        == 0
    )
