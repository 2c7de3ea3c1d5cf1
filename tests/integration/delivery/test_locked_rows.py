"""A row that another session has locked keeps nothing waiting but itself: no mark, no lease, no other outcome."""

import signal
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_stream import Streams

TTL_S = 2
Session = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def relay(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Relay:
    """A relay at work, whose leases are short."""
    streams.make("ORDERS", "orders.>")
    one = make_relay(outbox.dsn, streams.url, lease__ttl_s=str(TTL_S)).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    return one


@pytest.fixture
def session(outbox: Outbox) -> Iterator[Session]:
    """Another session, whose transaction ends with the test."""
    with psycopg.connect(outbox.dsn) as conn:
        yield conn
        conn.rollback()


def insert_locked(outbox: Outbox, relay: Relay, session: Session, topic: str) -> int:
    """Insert an event whose row is locked before the relay can have read it."""
    relay.signal(signal.SIGSTOP)
    seq = outbox.insert(topic, "locked", {"i": 1})
    session.execute("UPDATE outbox_events SET last_error = 'looked at' WHERE seq = %s", (seq,))
    relay.signal(signal.SIGCONT)
    return seq


def lease_holds(outbox: Outbox) -> bool:
    row = outbox.conn.execute("SELECT min(lease_until) > clock_timestamp() FROM outbox_shards").fetchone()
    return row is not None and bool(row[0])


def test_a_locked_row_keeps_no_other_mark_and_no_lease_waiting(
    outbox: Outbox, streams: Streams, relay: Relay, session: Session
) -> None:
    seq = insert_locked(outbox, relay, session, "orders.placed")
    relay.said("settle.locked")
    outbox.fill("orders.placed", 2000, keys=20)
    outbox.delivered(outbox.insert("orders.placed", "locked", {"i": 2}))
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL") == 1)
    holds_for(3 * TTL_S, "the leases are renewed", lambda: lease_holds(outbox))
    assert relay.get("/readyz") == (200, "ready: active\n")
    session.commit()
    outbox.delivered(seq)
    (line,) = relay.lines("settle.locked")
    assert (line["first_seq"], line["events"]) == (seq, 1)
    assert not relay.lines("lease.lost")
    assert not relay.lines("stream.lost")
    ids = [message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS")]
    assert len(ids) == len(set(ids)) == 2003


def test_a_locked_row_that_is_refused_keeps_no_other_outcome_waiting(
    outbox: Outbox, relay: Relay, session: Session
) -> None:
    seq = insert_locked(outbox, relay, session, "no subject")
    relay.said("event.dead")
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    outbox.dead(outbox.insert("no subject", "k", {"i": 2}))
    holds_for(2 * TTL_S, "the leases are renewed", lambda: lease_holds(outbox))
    assert outbox.row(seq)["dead_at"] is None
    session.commit()
    outbox.dead(seq)


def test_a_row_that_was_deleted_under_its_lock_is_forgotten(outbox: Outbox, relay: Relay, session: Session) -> None:
    insert_locked(outbox, relay, session, "orders.placed")
    relay.said("settle.locked")
    session.execute("DELETE FROM outbox_events WHERE last_error = 'looked at'")
    session.commit()
    newest = outbox.insert("orders.placed", "k", {"i": 1})

    def watermark() -> object:
        row = outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone()
        return row and row[0]

    wait_until("the watermark past it", lambda: watermark() == newest)


def test_a_lock_on_the_whole_table_costs_no_lease(outbox: Outbox, relay: Relay, session: Session) -> None:
    session.execute("LOCK TABLE outbox_events IN SHARE MODE")
    holds_for(3 * TTL_S, "the leases are renewed", lambda: lease_holds(outbox))
    session.commit()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    assert not relay.lines("lease.lost")


@pytest.mark.parametrize("mode", ["SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"])
def test_a_lock_on_what_is_kept_of_streams_holds_up_no_event(
    outbox: Outbox, streams: Streams, session: Session, make_relay: MakeRelay, mode: str
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(
        outbox.dsn,
        streams.url,
        lease__ttl_s="6",
        healing__check_every_s="1",
        postgres__statement_timeout_s="2",
    ).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    session.execute(f"LOCK TABLE outbox_streams IN {mode} MODE".encode())
    for i in range(30):
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": i}), timeout_s=10)
        holds_for(0.5, "the leases are renewed", lambda: lease_holds(outbox))
    assert relay.get("/readyz") == (200, "ready: active\n")
    session.commit()
    assert not relay.lines("lease.lost")


@pytest.mark.parametrize("table", ["outbox_shards", "outbox_members"])
def test_while_the_leases_are_locked_the_relay_is_not_ready_and_it_goes_on_afterwards(
    outbox: Outbox, relay: Relay, session: Session, table: str
) -> None:
    session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    wait_until("it says so", lambda: "the lease ran out" in relay.get("/readyz")[1])
    holds_for(2 * TTL_S, "it is not ready", lambda: relay.get("/readyz")[0] == 503)
    session.commit()
    outbox.delivered(seq)
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)
    assert relay.running
