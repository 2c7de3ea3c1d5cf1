"""`relay verify` tells what became of delivered events, and has sent again what is lost."""

import asyncio
import json
from typing import Any

import pytest
from click.testing import Result

from relay.config.settings import load
from relay.demo.servers import NatsServer
from relay.errors import Exit
from relay.operate.changes import changing
from relay.operate.verify import Scope, redeliver
from relay.operate.verify import verify as compare_all
from relay.rules.stream.stream_loss import Fate
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_rights import NATS_USER
from tests.support.fix_stream import Streams, assert_once_and_in_order, restrict
from tests.support.relay_cli import done, relay

EVENTS = 300
KEYS = 20


@pytest.fixture
def delivered(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Outbox:
    """An outbox whose events are delivered, and no relay."""
    streams.make("ORDERS", "orders.>", allow_direct=True, duplicate_window=10**9)
    running = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", EVENTS, keys=KEYS)
    outbox.drained()
    running.stop()
    return outbox


def verify(outbox: Outbox, streams: Streams, *args: str) -> Result:
    return relay(outbox.dsn, "verify", *args, RELAY_NATS__SERVERS=streams.url)


def report(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_stream_that_holds_everything_is_intact(delivered: Outbox, streams: Streams) -> None:
    result = verify(delivered, streams, "--output", "json")
    assert result.exit_code == Exit.DONE
    found = report(result)
    assert (found["compared"], found["intact"], found["lost"]) == (EVENTS, EVENTS, 0)
    told = verify(delivered, streams)
    assert "ORDERS" in told.stdout and "300" in told.stdout


@pytest.mark.parametrize("allow_direct", [True, False], ids=["batches", "messages"])
def test_one_deleted_message_is_lost_and_can_be_sent_again(
    delivered: Outbox, streams: Streams, make_relay: MakeRelay, allow_direct: bool
) -> None:
    streams.change("ORDERS", allow_direct=allow_direct, duplicate_window=3 * 10**9)
    streams.api("STREAM.MSG.DELETE.ORDERS", {"seq": 150})
    result = verify(delivered, streams, "--output", "json")
    assert result.exit_code == Exit.LOST
    found = report(result)
    assert (found["intact"], found["lost"]) == (EVENTS - 1, 1)
    (lost,) = found["first_lost"]
    assert lost["stream_seq"] == 150
    assert delivered.count("delivered_at IS NULL") == 0, "nothing is changed unless that is asked for"

    running = make_relay(delivered.dsn, streams.url).start()
    result = verify(delivered, streams, "--redeliver", "--yes")
    assert result.exit_code == Exit.DONE, result.output
    delivered.delivered(lost["seq"])
    row = delivered.row(lost["seq"])
    # The server would have dropped it as a repeat inside the window, and named the old sequence.
    assert row["stream_seq"] == EVENTS + 1
    assert "lost it at sequence 150" in row["last_error"]
    assert report(verify(delivered, streams, "--output", "json"))["intact"] == EVENTS
    assert "verify --redeliver" in done(delivered.dsn, "audit").stdout
    assert running.lines("scrub.found") == []


def test_a_row_that_has_the_seq_of_a_lost_one_and_is_another_event_is_not_sent_again(
    delivered: Outbox, streams: Streams
) -> None:
    """The operator is asked first, and the database may go back meanwhile."""
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    configured = load(environ={"RELAY_POSTGRES__DSN": delivered.dsn, "RELAY_NATS__SERVERS": streams.url})
    whole = Scope(stream=None, first_seq=None, last_seq=None, rate=1e6)
    with changing(configured) as changer:
        found = asyncio.run(compare_all(configured, changer, whole, lambda seqs: None))
        assert found.count(Fate.LOST) == EVENTS
        delivered.conn.execute("UPDATE outbox_events SET id = gen_random_uuid() WHERE seq = 17")
        assert redeliver(changer, found, whole, lambda rows: None).given_back == {"ORDERS": EVENTS - 1}
    assert delivered.row(17)["delivered_at"] is not None


def test_lost_events_that_cannot_be_given_back_are_counted(delivered: Outbox, streams: Streams) -> None:
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    seen = verify(delivered, streams)
    assert seen.exit_code == Exit.LOST
    assert "before retention or `relay prune` deletes their rows" in seen.stderr
    delivered.conn.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER keep BEFORE UPDATE ON outbox_events FOR EACH ROW WHEN (old.seq <= 10) EXECUTE FUNCTION keep()"
    )
    result = verify(delivered, streams, "--redeliver", "--yes")
    assert result.exit_code == Exit.LOST
    assert "290 events are pending again" in result.stderr
    assert "10 lost events could not be given back" in result.stderr


def test_a_running_relay_sends_what_was_lost_in_order(
    delivered: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    result = verify(delivered, streams, "--output", "json")
    assert result.exit_code == Exit.LOST and report(result)["lost"] == EVENTS
    make_relay(delivered.dsn, streams.url, healing__on_loss="alert").start().said("stream.lost")
    found = report(verify(delivered, streams, "--redeliver", "--yes", "--output", "json"))
    assert (found["redelivered"], found["closed"]) == (EVENTS, ["ORDERS"])
    delivered.drained()
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS, KEYS)
    assert verify(delivered, streams).exit_code == Exit.DONE
    assert open_losses(delivered) == set()


def open_losses(outbox: Outbox) -> set[str]:
    return {stream for (stream,) in outbox.conn.execute("SELECT stream FROM outbox_streams WHERE lost_at IS NOT NULL")}


def test_a_loss_that_was_sent_again_in_parts_can_be_closed(delivered: Outbox, streams: Streams) -> None:
    delivered.conn.execute("UPDATE outbox_streams SET lost_at = now() WHERE shard = 7")
    delivered.conn.execute("INSERT INTO outbox_streams (shard, stream, lost_at) VALUES (0, 'OTHER', now())")
    streams.api("STREAM.MSG.DELETE.ORDERS", {"seq": 150})
    seq = str(report(verify(delivered, streams, "--output", "json"))["first_lost"][0]["seq"])
    result = verify(delivered, streams, "--redeliver", "--seq", seq, "--yes", "--output", "json")
    assert (report(result)["redelivered"], report(result)["closed"]) == (1, [])
    assert open_losses(delivered) == {"ORDERS", "OTHER"}

    result = verify(delivered, streams, "--redeliver", "--dry-run", "--stream", "ORDERS")
    assert result.exit_code == Exit.DONE
    assert "would close the open loss of ORDERS\n" in result.stderr
    assert verify(delivered, streams, "--redeliver").exit_code == Exit.CONFIG, "nobody is there to be asked"
    assert open_losses(delivered) == {"ORDERS", "OTHER"}
    assert relay(delivered.dsn, "prune", "--older-than", "0s", "--dry-run").exit_code == Exit.LOST

    result = verify(delivered, streams, "--redeliver", "--yes", "--stream", "ORDERS", "--output", "json")
    assert (result.exit_code, report(result)["lost"], report(result)["closed"]) == (Exit.DONE, 0, ["ORDERS"])
    assert open_losses(delivered) == {"OTHER"}, "the loss of another stream stays open"
    result = verify(delivered, streams, "--redeliver", "--yes")
    assert "closed the open loss of OTHER\n" in result.stderr
    done(delivered.dsn, "prune", "--older-than", "0s", "--dry-run", "--server", streams.url)
    lines = [json.loads(line) for line in done(delivered.dsn, "audit", "--output", "json").stdout.splitlines()]
    assert [line["filter"] for line in lines] == [{"closes": ["OTHER"]}, {"stream": "ORDERS", "closes": ["ORDERS"]}, {}]
    assert all(line["ended_at"] is not None for line in lines)


def test_what_a_stream_has_lost_is_not_pruned_before_a_relay_has_noticed_it(
    delivered: Outbox, streams: Streams, own_nats: NatsServer
) -> None:
    prune = ("prune", "--older-than", "0s", "--yes")
    streams.api("STREAM.DELETE.ORDERS")
    gone = relay(delivered.dsn, *prune, "--server", streams.url)
    assert (gone.exit_code, "is gone" in gone.stderr) == (Exit.LOST, True)
    streams.make("ORDERS", "orders.>")
    again = relay(delivered.dsn, *prune, "--server", streams.url)
    assert (again.exit_code, "does not hold" in again.stderr) == (Exit.LOST, True)
    own_nats.kill()
    away = relay(delivered.dsn, *prune, "--server", own_nats.url)
    assert away.exit_code == Exit.UNREACHABLE
    assert delivered.count("true") == EVENTS
    # The row at the watermark itself stays.
    assert f"{EVENTS - 1} delivered events deleted" in done(delivered.dsn, *prune, "--accept-loss").stdout


@pytest.mark.denials
def test_a_loss_stays_open_where_a_stream_could_not_be_read(delivered: Outbox, own_nats: NatsServer) -> None:
    restrict(own_nats, "orders.>", "$JS.API.STREAM.NAMES").make("ORDERS", "orders.>")
    delivered.conn.execute("UPDATE outbox_streams SET lost_at = now()")
    nats = {f"RELAY_{name.upper()}": value for name, value in {**NATS_USER, "nats__servers": own_nats.url}.items()}
    result = relay(delivered.dsn, "verify", "--redeliver", "--yes", "--output", "json", **nats)
    assert (result.exit_code, report(result)["unknown"]) == (Exit.UNREACHABLE, EVENTS)
    assert (report(result)["closed"], open_losses(delivered)) == ([], {"ORDERS"})
    assert "needs STREAM.INFO" in result.stderr and "has no leader" not in result.stderr


def test_what_is_left_to_a_person_is_found_in_a_stream_that_the_relay_knew_well(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    running = make_relay(outbox.dsn, streams.url, healing__on_loss="alert", healing__check_every_s="1").start()
    outbox.fill("orders.placed", EVENTS, keys=KEYS)
    outbox.drained()
    wait_until(
        "the relay knows when the stream was made",
        lambda: outbox.conn.execute("SELECT 1 FROM outbox_streams WHERE created IS NOT NULL").fetchone(),
    )
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    assert running.said("stream.lost")["recreated"]
    assert report(verify(outbox, streams, "--redeliver", "--yes", "--output", "json"))["redelivered"] == EVENTS
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS, KEYS)


def test_purged_and_aged_out_are_no_loss(delivered: Outbox, streams: Streams) -> None:
    streams.api("STREAM.PURGE.ORDERS", {"seq": 101})
    found = report(verify(delivered, streams, "--output", "json"))
    assert (found["purged"], found["intact"], found["lost"]) == (100, EVENTS - 100, 0)
    streams.change("ORDERS", max_msgs=50)
    found = report(verify(delivered, streams, "--output", "json"))
    assert (found["aged_out"], found["purged"], found["intact"]) == (EVENTS - 50, 0, 50)
    assert verify(delivered, streams).exit_code == Exit.DONE


def test_a_range_and_a_stream_can_be_asked_for_alone(delivered: Outbox, streams: Streams) -> None:
    assert report(verify(delivered, streams, "--seq", "11..30", "--output", "json"))["compared"] == 20
    assert report(verify(delivered, streams, "--stream", "OTHER", "--output", "json"))["compared"] == 0
    # A sequence of deleted rows is passed over at once.
    delivered.conn.execute("ALTER TABLE outbox_events ALTER COLUMN seq RESTART WITH 1000000000000")
    delivered.insert("orders.placed")
    assert report(verify(delivered, streams, "--output", "json"))["compared"] == EVENTS


def test_the_rate_is_kept(delivered: Outbox, streams: Streams) -> None:
    assert report(verify(delivered, streams, "--rate", "200", "--output", "json"))["took_s"] >= EVENTS / 200


def test_a_broker_that_is_not_there_is_told(delivered: Outbox) -> None:
    result = relay(delivered.dsn, "verify", RELAY_NATS__SERVERS="nats://127.0.0.1:1")
    assert result.exit_code == Exit.UNREACHABLE
    assert "NATS cannot be reached" in result.stderr


def test_without_a_terminal_nothing_is_sent_again_unasked(delivered: Outbox, streams: Streams) -> None:
    streams.api("STREAM.MSG.DELETE.ORDERS", {"seq": 150})
    assert verify(delivered, streams, "--redeliver").exit_code == Exit.CONFIG
    result = verify(delivered, streams, "--redeliver", "--dry-run")
    assert result.exit_code == Exit.LOST
    assert "would send 1 lost event again" in result.stderr
    assert delivered.count("delivered_at IS NULL") == 0


@pytest.mark.parametrize(
    "name", ["", "a b > *", "a b c", "ORDERS *", "A\r\nPUB orders.forged 1\r\n1\r\n", "hub x/ORDERS", "x" * 2000, None]
)
def test_a_row_that_names_no_possible_stream_neither_ends_the_comparison_nor_reaches_the_server(
    delivered: Outbox, streams: Streams, name: str | None
) -> None:
    delivered.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload, delivered_at, stream, stream_seq)"
        " VALUES ('orders.placed', 'k', '{}', now(), %s, 5)",
        (name,),
    )
    result = verify(delivered, streams, "--output", "json")
    unknown = 0 if name is None else 1
    assert result.exit_code == (Exit.UNREACHABLE if unknown else Exit.DONE), result.stderr
    found = report(result)
    assert (found["intact"], found["unknown"], found["lost"]) == (EVENTS, unknown, 0)
    assert len(streams.read("ORDERS")) == EVENTS
    status = relay(delivered.dsn, "status", RELAY_NATS__SERVERS=streams.url)
    assert status.exit_code == Exit.DONE, status.stderr
