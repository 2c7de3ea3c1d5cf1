"""The clock of the database was set back: what was stored with its times lies in the future and holds nothing up."""

from datetime import datetime

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay as command


def now(outbox: Outbox) -> datetime:
    [(at,)] = outbox.conn.execute("SELECT clock_timestamp()").fetchall()
    assert isinstance(at, datetime)
    return at


def test_a_time_that_was_called_complete_is_taken_back_once_it_lies_in_the_future(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute("UPDATE outbox_shards SET watermark_at = now() + interval '1 hour'")
    doctor = command(outbox.dsn, "doctor", RELAY_NATS__SERVERS=streams.url)
    assert "in the future" in doctor.stdout
    make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    delivered_at = now(outbox)

    def complete() -> bool:
        [(first, last)] = outbox.conn.execute(
            "SELECT min(watermark_at), max(watermark_at) FROM outbox_shards"
        ).fetchall()
        return first is not None and delivered_at < first <= last <= now(outbox)

    wait_until("all is complete up to a time that has been", complete)


def test_a_lease_of_an_owner_that_is_gone_runs_for_an_hour_at_most(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    outbox.conn.execute(
        "UPDATE outbox_shards SET owner = 'ghost', epoch = 1, lease_until = now() + interval '1 year' WHERE shard < 32"
    )
    outbox.conn.execute("INSERT INTO outbox_members VALUES ('ghost', now() + interval '1 year')")
    doctor = command(outbox.dsn, "doctor", RELAY_NATS__SERVERS=streams.url)
    assert "its shards wait as long" in doctor.stdout
    make_relay(outbox.dsn, streams.url).start()

    def bounded() -> bool:
        longest = "SELECT max(lease_until) <= now() + interval '1 hour' FROM {}"
        tables = ("outbox_shards", "outbox_members")
        return all(outbox.conn.execute(longest.format(table)).fetchall() == [(True,)] for table in tables)

    wait_until("no lease runs for longer", bounded)


def test_an_outbox_without_shards_is_not_ready_and_says_so(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.conn.execute("DELETE FROM outbox_shards")
    seq = outbox.insert("orders.placed", "k", {"i": 0})
    wait_until(
        "it is not ready",
        lambda: relay.get("/readyz") == (503, "outbox_shards is empty: nobody can own anything of the outbox\n"),
    )
    assert relay.said("shards.none")
    explained = command(outbox.dsn, "explain", str(seq), RELAY_NATS__SERVERS=streams.url)
    assert explained.exit_code == 0, explained.stderr
    doctor = command(outbox.dsn, "doctor", RELAY_NATS__SERVERS=streams.url)
    assert "0 of 64" in doctor.stdout
    outbox.conn.execute("INSERT INTO outbox_shards (shard) SELECT generate_series(0, 63) ON CONFLICT DO NOTHING")
    outbox.delivered(seq)
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)


def test_shards_that_cannot_be_claimed_are_no_standby(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute(
        "CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        " CREATE TRIGGER kept BEFORE UPDATE ON outbox_shards FOR EACH ROW EXECUTE FUNCTION kept()"
    )
    relay = make_relay(outbox.dsn, streams.url).start()
    relay.said("shards.unclaimed")
    wait_until("it says why", lambda: "claiming them changes nothing" in relay.get("/readyz")[1])
    assert relay.get("/readyz")[0] == 503
    outbox.conn.execute("DROP TRIGGER kept ON outbox_shards")
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)
