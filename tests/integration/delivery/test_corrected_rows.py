"""A row that waits in memory is sent as the table has it: corrected, marked or deleted by hand meanwhile."""

import re
from dataclasses import replace

import psycopg
import pytest

from relay.outcomes import Buried, FailureClass, Postponed
from relay.postgres.database import Database
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.postgres.tables import Tables
from relay.rules.reading.read_batch_size import Room
from tests.integration.delivery.test_unreadable_rows import damage
from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_stream import Streams

# So large that it is stored elsewhere, where the test takes it away.
DAMAGED = "(SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 500) i)"
# A hold that ends by itself would hide that nobody looks at the table.
LONG = {"failures__hold_base_s": "600", "failures__hold_max_s": "600"}


def held(outbox: Outbox, relay: Relay, seq: int) -> None:
    """Wait until an event waits in a hold."""
    relay.said("hold.opened")
    wait_until("it waits", lambda: outbox.row(seq)["last_error"] is not None)


def wait_for_waiting(relay: Relay, events: int) -> None:
    """Wait until so many events wait in memory."""
    wait_until(f"{events} wait", lambda: f"outbox_relay_waiting_events {events:.1f}\n" in relay.get("/metrics")[1])


@pytest.mark.parametrize("key", ["k", None])
def test_a_held_event_whose_topic_is_corrected_is_delivered_before_what_waits_behind_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, key: str | None
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **LONG).start()
    wrong = outbox.insert("nowhere.placed", key, {"i": 1})
    held(outbox, relay, wrong)
    behind = [outbox.insert("orders.placed", key, {"i": i}) for i in (2, 3)]
    outbox.conn.execute("UPDATE outbox_events SET topic = 'orders.placed' WHERE seq = %s", (wrong,))
    for seq in (wrong, *behind):
        outbox.delivered(seq)
    stored = [message.i for message in streams.read("ORDERS")]
    # Events without a key have no order: the others may have gone before it was corrected.
    assert (stored if key else sorted(stored)) == [1, 2, 3]
    holds = re.compile(r"^outbox_relay_holds{.*} [^0]", re.MULTILINE)
    wait_until("no hold is left", lambda: not holds.search(relay.get("/metrics")[1]))


def test_what_waits_behind_a_held_event_is_sent_with_the_key_and_payload_that_it_has_now(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **LONG).start()
    head = outbox.insert("nowhere.placed", "k", {"i": 0})
    held(outbox, relay, head)
    freed, changed, last = (outbox.insert("orders.placed", "k", {"i": i}) for i in (1, 2, 3))
    wait_for_waiting(relay, 4)
    outbox.conn.execute("UPDATE outbox_events SET key = 'free' WHERE seq = %s", (freed,))
    outbox.delivered(freed)
    wait_for_waiting(relay, 3)
    outbox.conn.execute("UPDATE outbox_events SET payload = '{\"i\": 20}' WHERE seq = %s", (changed,))
    relay.said("waiting.changed", 2)
    assert outbox.row(last)["delivered_at"] is None, "its key waits"
    streams.change("ORDERS", subjects=["orders.>", "nowhere.>"])
    outbox.conn.execute("UPDATE outbox_events SET topic = 'orders.placed' WHERE seq = %s", (head,))
    outbox.delivered(last)
    assert [message.i for message in streams.read("ORDERS")] == [1, 0, 20, 3]


@pytest.mark.parametrize("way", ["DELETE FROM outbox_events", "UPDATE outbox_events SET delivered_at = now()"])
def test_a_held_event_that_is_deleted_or_marked_is_not_waited_for(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, way: str
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **LONG).start()
    wrong = outbox.insert("nowhere.placed", "k", {"i": 1})
    held(outbox, relay, wrong)
    behind = outbox.insert("orders.placed", "k", {"i": 2})
    outbox.conn.execute(f"{way} WHERE seq = %s".encode(), (wrong,))
    outbox.delivered(behind)

    def watermark() -> object:
        row = outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone()
        return row and row[0]

    wait_until("the watermark past it", lambda: watermark() == behind)


def test_a_postponed_event_that_gets_another_key_frees_its_key(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    slowly = {"failures__backoff_base_s": "2", "failures__backoff_max_s": "2"}
    relay = make_relay(outbox.dsn, streams.url, **slowly).start()
    refusal = b'{"error":{"code":400,"err_code":19999,"description":"for no known reason"}}'
    with streams.subscriber("silent.>", refusal):
        postponed = outbox.insert("silent.x", "k", {"i": 0})
        relay.said("event.postponed")
        behind = outbox.insert("orders.placed", "k", {"i": 1})
        outbox.conn.execute("UPDATE outbox_events SET key = 'other', topic = 'orders.x' WHERE seq = %s", (postponed,))
        outbox.delivered(postponed)
        outbox.delivered(behind)


def test_a_row_that_is_too_large_to_be_read_waits_as_any_other(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, delivery__buffer_bytes=str(1 << 20), **LONG).start()
    head = outbox.insert("nowhere.placed", "k", {"i": 0})
    held(outbox, relay, head)
    large = outbox.insert("orders.placed", "k", {"i": "x" * (3 << 20)})
    grown = outbox.insert("orders.placed", "k", {"i": 1})
    wait_for_waiting(relay, 3)
    holds_for(11.0, "none is taken for changed", lambda: relay.lines("waiting.changed") == [])
    outbox.conn.execute("UPDATE outbox_events SET payload = to_json(repeat('x', 50000000)) WHERE seq = %s", (grown,))
    relay.said("waiting.changed")
    relay.said("hold.opened", 2)
    wait_for_waiting(relay, 3)
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq = %s", (large,))
    assert relay.said("waiting.changed", 2)["first_seq"] == large
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq = %s", (head,))
    wait_until("the one that grew is a dead letter", lambda: outbox.row(grown)["dead_at"] is not None)


@pytest.mark.parametrize(
    "refused",
    ["topic = 'bad..topic'", "headers = '[1]'", "payload = to_jsonb(repeat('x', 3000000))"],
    ids=["topic", "headers", "too large to be read"],
)
def test_a_row_that_is_corrected_before_its_death_is_written_is_sent_as_it_is(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, refused: str
) -> None:
    streams.make("ORDERS", "orders.>")
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    outbox.conn.execute(f"UPDATE outbox_events SET {refused} WHERE seq = %s".encode(), (seq,))
    relay = make_relay(outbox.dsn, streams.url, delivery__buffer_bytes=str(1 << 20))
    with psycopg.connect(outbox.dsn) as operator:
        operator.execute(
            "UPDATE outbox_events SET topic = 'orders.right', headers = NULL, payload = '{\"i\": 2}' WHERE seq = %s",
            (seq,),
        )
        relay.start()
        relay.said("event.dead")
        outbox.delivered(outbox.insert("orders.placed", "other", {"i": 3}))
    outbox.delivered(seq)
    assert relay.said("settle.changed")["seq"] == seq
    assert outbox.row(seq)["dead_at"] is None
    assert sorted(message.i for message in streams.read("ORDERS")) == [2, 3]


def test_a_dead_letter_that_is_corrected_before_it_is_written_bars_its_key_no_longer(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    seqs = [outbox.insert("bad..topic" if i == 1 else "orders.placed", "k", {"i": i}) for i in (1, 2, 3)]
    relay = make_relay(outbox.dsn, streams.url, failures__on_dead="block")
    with psycopg.connect(outbox.dsn) as operator:
        operator.execute("UPDATE outbox_events SET topic = 'orders.corrected' WHERE seq = %s", (seqs[0],))
        relay.start()
        relay.said("event.dead")
    for seq in seqs:
        outbox.delivered(seq)
    assert [message.i for message in streams.read("ORDERS")] == [1, 2, 3]


def test_a_row_that_is_corrected_before_its_retry_is_written_is_sent_at_once_before_what_waits_behind_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, failures__backoff_base_s="600", failures__backoff_max_s="600")
    refused = outbox.insert("silent.x", "k", {"i": 1})
    refusal = b'{"error":{"code":400,"err_code":19999,"description":"for no known reason"}}'
    with streams.subscriber("silent.>", refusal):
        with psycopg.connect(outbox.dsn) as operator:
            operator.execute("UPDATE outbox_events SET topic = 'orders.corrected' WHERE seq = %s", (refused,))
            relay.start()
            relay.said("event.postponed")
            behind = outbox.insert("orders.placed", "k", {"i": 2})
            wait_for_waiting(relay, 1)
        outbox.delivered(refused)
        outbox.delivered(behind)
    assert [message.i for message in streams.read("ORDERS")] == [1, 2]
    assert outbox.row(refused)["attempts"] == 0


async def test_a_death_is_written_only_to_the_row_as_it_was_read(outbox: Outbox) -> None:
    for payload in ("1", "2", "repeat('x', 9000)", DAMAGED, "3"):
        outbox.conn.execute(
            f"INSERT INTO outbox_events (topic, key, payload) VALUES ('t', 'k', to_jsonb({payload}))".encode()
        )
    damage(outbox.conn, 4)
    outbox.conn.execute("UPDATE outbox_shards SET owner = 'me', epoch = 1")
    changes = {
        1: "payload = '2'",
        2: "key = 'other'",
        3: "payload = to_jsonb(repeat('x', 9001))",
        5: "attempts = 8",
    }
    async with Database(outbox.dsn, "fetch", connect_timeout_s=5, statement_timeout_s=5) as database:
        reader, writer = OutboxReader(database, Tables(), None, 64), OutboxWriter(database, Tables(), ("me", 64))
        read = {event.seq: event for event in (await reader.fetch(0, 3, Room(9, 4000, 4000, careful=True))).events}
        read |= {event.seq: event for event in (await reader.fetch(3, 9, Room(9, 4000, 4000, careful=True))).events}
        read |= {event.seq: event for event in (await reader.fetch(4, 9, Room(9, 4000, 4000, careful=True))).events}
        crasher = (await reader.suspects(4, 9, 1))[0]
        outcomes = {seq: Buried(event, 1, "size", FailureClass.POISON, "why") for seq, event in read.items()}
        outcomes[5] = replace(outcomes[5], event=crasher.event, version=crasher.version)
        outcomes[6] = Buried(read[5]._replace(seq=4, id=read[4].id), 1, "size", FailureClass.POISON, "why")
        assert {seq: bool(one.event.unread) for seq, one in outcomes.items() if seq < 6} == {
            1: False, 2: False, 3: True, 4: True, 5: False
        }  # fmt: skip
        assert not await writer.bury(replace(outcomes[4], event=read[4]._replace(unread=7))), "it cannot be read now"
        assert not await writer.bury(outcomes[6]), "it could be read then"
        for seq, change in changes.items():
            assert await writer.is_as_read(outcomes[seq])
            (before,) = outbox.conn.execute(
                "SELECT (payload, key, attempts)::text FROM outbox_events WHERE seq = %s", (seq,)
            ).fetchone() or ("",)
            outbox.conn.execute(f"UPDATE outbox_events SET {change} WHERE seq = %s".encode(), (seq,))
            assert not await writer.bury(outcomes[seq]), f"{before} is another one now: {change}"
            assert not await writer.is_as_read(outcomes[seq])
            postponed = Postponed(outcomes[seq].event, 2, 0.0, FailureClass.UNKNOWN, "why")
            assert not await writer.postpone(postponed)
        assert outbox.count("dead_at IS NOT NULL OR retry_at IS NOT NULL") == 0
        assert await writer.bury(outcomes[4])
        again = (await reader.fetch(0, 1, Room(9, 4000, 4000, careful=True))).events[0]
        assert await writer.bury(replace(outcomes[1], event=again))
        assert outbox.count("dead_at IS NOT NULL") == 2
