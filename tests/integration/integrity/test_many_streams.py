"""Many streams cost as much as each alone: they are written down once, and what they lost goes back together."""

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

STREAMS, SHARDS = 20, 64


def fill(outbox: Outbox, events: int) -> None:
    """Insert events, each key in a stream of its own."""
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'orders.' || mod(i, %s) || '.x', 'k' || mod(i, %s), jsonb_build_object('i', i)"
        " FROM generate_series(1, %s) i",
        (STREAMS, STREAMS, events),
    )


def test_streams_that_begin_at_once_are_written_down_once_each(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    for number in range(STREAMS):
        streams.make(f"MANY{number}", f"orders.{number}.>")
    fill(outbox, 1000)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    assert relay.stop() == 0
    outbox.killed_relays_are_gone()
    writes = "SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'outbox_streams'"
    row = outbox.conn.execute(writes).fetchone()
    assert row is not None
    # Then a few times as their floors and marks rise.
    assert STREAMS * SHARDS <= row[0] <= 5 * STREAMS * SHARDS


def test_what_several_streams_have_lost_goes_back_in_one_term(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    names = [f"MANY{number}" for number in range(STREAMS)]
    for number, name in enumerate(names):
        streams.make(name, f"orders.{number}.>")
    fill(outbox, 1000)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    assert relay.stop() == 0
    lost = names[::3]
    for number, name in enumerate(names):
        if name in lost:
            streams.api(f"STREAM.DELETE.{name}")
            streams.make(name, f"orders.{number}.>")
    fill(outbox, 200)
    relay.start()
    outbox.drained()
    wait_until("all is stored", lambda: sum(map(streams.messages, names)) == 1200)
    assert sorted(line["stream"] for line in relay.lines("stream.lost")) == sorted(lost)
    assert len(relay.lines("relay.again")) == 1
    for name in names:
        assert_in_order(streams, name)


def assert_in_order(streams: Streams, name: str) -> None:
    """The first 50 events of the key come before the ten that were inserted later."""
    numbers = [message.i for message in streams.read(name)]
    assert numbers[:50] == sorted(numbers[:50])
    assert numbers[50:] == sorted(numbers[50:])
    assert len(numbers) == 60
