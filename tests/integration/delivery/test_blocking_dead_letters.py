"""A dead letter that blocks its key and is changed by hand: its key goes on, and it is taken in as it is now."""

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_stream import Streams

BLOCK = {"failures__on_dead": "block"}


def insert_poison(outbox: Outbox, key: str | None, i: int) -> int:
    """Insert an event that can never be sent: its headers are a list."""
    seq = outbox.insert("orders.placed", key, {"i": i})
    outbox.conn.execute("UPDATE outbox_events SET headers = '[]' WHERE seq = %s", (seq,))
    return seq


def start(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> tuple[Relay, int, int]:
    """Start a relay with a dead letter of key k (i = 0) and an event behind it (i = 1); return their seqs."""
    streams.make("ORDERS", "orders.>")
    dead = insert_poison(outbox, "k", 0)
    behind = outbox.insert("orders.placed", "k", {"i": 1})
    relay = make_relay(outbox.dsn, streams.url, **BLOCK).start()
    outbox.dead(dead)
    holds_for(1.0, "its key waits", lambda: outbox.row(behind)["delivered_at"] is None)
    return relay, dead, behind


@pytest.mark.parametrize("key", ["other", None])
def test_a_dead_letter_that_gets_another_key_frees_the_one_that_it_had(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, key: str | None
) -> None:
    _, dead, behind = start(outbox, streams, make_relay)
    outbox.conn.execute("UPDATE outbox_events SET key = %s WHERE seq = %s", (key, dead))
    outbox.delivered(behind)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 2}))


def test_a_dead_letter_that_gets_another_key_blocks_that_one_until_it_is_discarded(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    _, dead, behind = start(outbox, streams, make_relay)
    outbox.conn.execute("UPDATE outbox_events SET key = NULL WHERE seq = %s", (dead,))
    outbox.delivered(behind)
    outbox.conn.execute("UPDATE outbox_events SET key = 'other' WHERE seq = %s", (dead,))
    marker = outbox.insert("orders.placed", "k", {"i": 2})
    outbox.delivered(marker)
    # The check has seen the new key within its 5 s.
    holds_for(6.0, "it is dead", lambda: outbox.row(dead)["dead_at"] is not None)
    waits = outbox.insert("orders.placed", "other", {"i": 3})
    holds_for(2.0, "the new key waits", lambda: outbox.row(waits)["delivered_at"] is None)
    outbox.conn.execute("UPDATE outbox_events SET discarded_at = now() WHERE seq = %s", (dead,))
    outbox.delivered(waits)


@pytest.mark.parametrize("key", ["k", "other", None])
@pytest.mark.parametrize("retry", [", retry_at = now()", ""], ids=["due", "without a retry time"])
def test_a_dead_letter_that_is_corrected_by_hand_is_sent_as_it_is_now(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, key: str | None, retry: str
) -> None:
    _, dead, behind = start(outbox, streams, make_relay)
    outbox.conn.execute(
        f"UPDATE outbox_events SET dead_at = NULL, headers = NULL, key = %s{retry} WHERE seq = %s".encode(), (key, dead)
    )
    outbox.delivered(behind, timeout_s=12)
    outbox.delivered(dead, timeout_s=12)
    if key == "k":
        assert [message.i for message in streams.read("ORDERS")] == [0, 1]
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 2}))
    assert sorted(message.i for message in streams.read("ORDERS")) == [0, 1, 2]


def test_a_corrected_event_waits_for_the_earlier_dead_letters_of_its_key(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    first, second = insert_poison(outbox, "k", 0), insert_poison(outbox, "m", 1)
    make_relay(outbox.dsn, streams.url, **BLOCK).start()
    outbox.dead(first)
    outbox.dead(second)
    outbox.conn.execute("UPDATE outbox_events SET dead_at = NULL, headers = NULL, key = 'k' WHERE seq = %s", (second,))
    holds_for(7.0, "it waits", lambda: outbox.row(second)["delivered_at"] is None)
    outbox.conn.execute("UPDATE outbox_events SET dead_at = NULL, headers = NULL WHERE seq = %s", (first,))
    outbox.delivered(second)
    assert [message.i for message in streams.read("ORDERS")] == [0, 1]


@pytest.mark.parametrize("way", ["DELETE FROM outbox_events", "UPDATE outbox_events SET delivered_at = now()"])
def test_a_dead_letter_that_is_deleted_or_marked_frees_its_key(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, way: str
) -> None:
    _, dead, behind = start(outbox, streams, make_relay)
    outbox.conn.execute(f"{way} WHERE seq = %s".encode(), (dead,))
    wait_until("the key goes on", lambda: outbox.row(behind)["delivered_at"] is not None)
