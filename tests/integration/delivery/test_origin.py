"""Outbox-Origin names with Outbox-Seq one event for ever, also after the table was restored."""

from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done


def test_seqs_that_are_drawn_after_a_new_origin_carry_it_and_older_ones_keep_theirs(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    settings = {"headers__seq": "true"}
    relay = make_relay(outbox.dsn, streams.url, **settings).start()
    first = outbox.insert("orders.placed", "k", {"i": 1})
    outbox.delivered(first)
    done(outbox.dsn, "migrate", "--new-origin", "--dry-run")
    done(outbox.dsn, "migrate", "--new-origin")
    relay.said("database.changed")
    second = outbox.insert("orders.placed", "k", {"i": 2})
    outbox.delivered(second)
    environment = {"RELAY_NATS__SERVERS": streams.url, "RELAY_HEADERS__SEQ": "true"}
    done(outbox.dsn, "replay", "--seq", f"{first}..{second}", "--yes", **environment)
    sent = [(int(one.headers["Outbox-Seq"]), one.headers["Outbox-Origin"]) for one in streams.read("ORDERS")]
    (told,) = outbox.conn.execute("SELECT array_agg(origin ORDER BY above) FROM outbox_origin").fetchone() or ([],)
    assert len(told) == 2
    assert sent == [(first, told[0]), (second, told[1])] * 2


def test_an_origin_of_seqs_that_will_be_drawn_again_is_forgotten(outbox: Outbox) -> None:
    for _ in range(3):
        outbox.insert("orders.placed", "k")
    done(outbox.dsn, "migrate", "--new-origin")
    outbox.conn.execute("TRUNCATE outbox_events RESTART IDENTITY")
    done(outbox.dsn, "migrate", "--new-origin")
    assert outbox.conn.execute("SELECT array_agg(above) FROM outbox_origin").fetchone() == ([0],)


def test_what_is_inserted_once_an_origin_was_begun_carries_it_whatever_the_relays_do(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, headers__seq="true").start()
    outbox.delivered(outbox.insert("orders.placed"))
    for _ in range(3):
        done(outbox.dsn, "migrate", "--new-origin")
        outbox.delivered(outbox.insert("orders.placed"))
    relay.kill()
    # Of one that is gone the lease is awaited.
    done(outbox.dsn, "migrate", "--new-origin")
    relay.start()
    outbox.delivered(outbox.insert("orders.placed"))
    (begun,) = outbox.conn.execute("SELECT array_agg(origin ORDER BY above) FROM outbox_origin").fetchone() or ([],)
    assert [one.headers["Outbox-Origin"] for one in streams.read("ORDERS")] == begun
    assert len(begun) == 5
