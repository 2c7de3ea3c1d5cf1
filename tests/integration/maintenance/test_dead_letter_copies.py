"""Dead letters are published to a subject of their own as well, and hold nothing up, whatever becomes of that."""

import json

import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_rights import LOOK_UP
from tests.support.fix_stream import Stored, Streams, restrict
from tests.support.relay_cli import done

TO = {"failures__dead_subject": "dead.outbox", "lease__ttl_s": "2"}


def copied(outbox: Outbox, streams: Streams, copies: int) -> list[Stored]:
    """Wait until `copies` dead letters are copied; return the copies."""
    wait_until("copied", lambda: outbox.count("dead_copied_at IS NOT NULL") == copies)
    found = streams.read("DEAD")
    assert len(found) == copies
    return found


def test_a_dead_letter_is_published_with_its_reason_and_payload_and_once(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("DEAD", "dead.>")
    before = outbox.insert("orders.> ", "k1", {"i": 1}, {"traceparent": "00-1"})
    relay = make_relay(outbox.dsn, streams.url, **TO).start()
    reason = outbox.dead(before)
    (copy,) = copied(outbox, streams, 1)
    row = outbox.row(before)
    assert copy.subject == "dead.outbox"
    assert json.loads(copy.data) == {"i": 1}
    assert copy.headers["Outbox-Dead-Reason"] == reason
    assert copy.headers["Outbox-Dead-Class"] == row["failure_class"] == "poison"
    assert (copy.headers["Outbox-Id"], copy.headers["Outbox-Key"]) == (str(row["id"]), "k1")
    assert copy.headers["traceparent"] == "00-1"
    counted = "outbox_relay_copied_dead_letters_total 1.0"
    wait_until("it is counted", lambda: counted in relay.get("/metrics")[1])
    # As if it had crashed before it could write that down.
    relay.kill()
    outbox.conn.execute("UPDATE outbox_events SET dead_copied_at = NULL")
    relay.start()
    copied(outbox, streams, 1)


def test_a_dead_letter_that_dies_again_is_published_again_and_a_discarded_one_is_not(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("DEAD", "dead.>")
    seqs = [outbox.insert("orders. x", f"k{i}", {"i": i}) for i in range(2)]
    relay = make_relay(outbox.dsn, streams.url).start()
    for seq in seqs:
        outbox.dead(seq)
    relay.stop()
    done(outbox.dsn, "dead", "discard", "--seq", str(seqs[1]), "--yes")
    relay = make_relay(outbox.dsn, streams.url, **TO).start()
    wait_until("copied", lambda: outbox.row(seqs[0])["dead_copied_at"] is not None)
    done(outbox.dsn, "dead", "retry", "--seq", str(seqs[0]), "--yes")
    wait_until("dead again", lambda: len(relay.lines("event.dead")) == 1)
    wait_until("copied again", lambda: streams.messages("DEAD") == 2)
    assert {copy.i for copy in streams.read("DEAD")} == {0}
    assert outbox.row(seqs[1])["dead_copied_at"] is None


def test_an_old_dead_letter_stays_until_its_copy_is_stored_or_an_operator_discards_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    relay = make_relay(outbox.dsn, streams.url, **TO, retention__dead_age_s="1").start()
    seqs = [outbox.insert("orders. x", f"k{i}", {"i": i}) for i in range(3)]
    relay.said("dead.uncopied")
    done(outbox.dsn, "dead", "discard", "--seq", str(seqs[1]), "--yes")
    wait_until("the discarded one is gone", lambda: outbox.count("dead_at IS NOT NULL") == 2)
    prune = ("prune", "--dead", "--older-than", "0s", "--yes")
    by_hand = done(outbox.dsn, *prune, RELAY_FAILURES__DEAD_SUBJECT="dead.outbox")
    assert "2 dead letters stay: their copies on dead.outbox are not stored yet" in by_hand.stderr
    assert outbox.count("dead_at IS NOT NULL") == 2
    streams.make("DEAD", "dead.>")
    wait_until("all are gone", lambda: outbox.count("true") == 0)
    assert sorted(copy.i for copy in streams.read("DEAD")) == [0, 2]


def test_by_hand_dead_letters_without_a_copy_are_deleted_if_that_loss_is_accepted(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    make_relay(outbox.dsn, streams.url, **TO).start()
    outbox.dead(outbox.insert("orders. x", "k", {"i": 0}))
    prune = ("prune", "--dead", "--older-than", "0s", "--yes", "--accept-loss")
    assert "1 dead letters deleted" in done(outbox.dsn, *prune, RELAY_FAILURES__DEAD_SUBJECT="dead.outbox").stdout


def test_without_a_stream_for_the_copies_everything_else_goes_on_and_they_come_later(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **TO).start()
    dead = [outbox.insert("orders. x", "k", {"i": i}) for i in range(30)]
    for seq in dead:
        outbox.dead(seq)
    told = relay.said("dead.uncopied")
    assert (told["subject"], told["event_id"]) == ("dead.outbox", str(outbox.row(dead[0])["id"]))
    outbox.delivered(outbox.insert("orders.x", "k", {}))
    assert relay.get("/readyz")[0] == 200
    relay.kill()
    relay.start()
    relay.said("dead.uncopied", times=2)
    streams.make("DEAD", "dead.>")
    assert [copy.i for copy in copied(outbox, streams, 30)] == list(range(30))
    relay.said("dead.copying")
    assert len(relay.lines("dead.uncopied")) == 2, "the same reason is told once"


def test_what_the_stream_or_the_server_does_not_take_comes_without_its_payload(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("DEAD", "dead.>", max_msg_size=5000)
    small = outbox.insert("orders. x", "k", "small")
    larger = outbox.insert("orders. x", "k", "x" * 10_000)
    largest = outbox.insert("orders.x", "k", "x" * 1_100_000)
    make_relay(outbox.dsn, streams.url, **TO).start()
    copies = {int(copy.headers["Outbox-Seq"]): copy for copy in copied(outbox, streams, 3)}
    assert copies[small].data == b'"small"'
    assert (copies[larger].data, copies[larger].headers["Outbox-Payload-Bytes"]) == (b"", "10002")
    assert (copies[largest].data, copies[largest].headers["Outbox-Payload-Bytes"]) == (b"", "1100002")


def test_hostile_rows_are_copied_harmlessly(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("DEAD", "dead.>")
    outbox.insert("evil\r\nNats-Rollup: all\x1b[2J", "日本\n" * 500, "x", {"Nats-Rollup": "all"})
    outbox.insert("x" * 100_000, "y" * 100_000, "x", {"long": "z" * 100_000})
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, payload, dead_at, last_error)"
        " VALUES ('a', '1', 'infinity', E'why\\r\\nso'), ('b', '1', '-infinity', NULL), ('c', '1', '20000-01-01', '')"
    )
    make_relay(outbox.dsn, streams.url, **TO).start()
    wait_until("all dead", lambda: outbox.count("dead_at IS NULL") == 0)
    copies = copied(outbox, streams, 5)
    assert all("Nats-Rollup" not in copy.headers for copy in copies)


@pytest.mark.denials
def test_without_the_right_to_publish_copies_the_events_flow(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    admin = restrict(own_nats, "orders.>", *LOOK_UP, "$JS.API.DIRECT.GET.*")
    admin.make("ALL", "orders.>", "dead.>")
    dead = outbox.insert("orders. x", "k", {"i": 1})
    relay = make_relay(outbox.dsn, own_nats.url, **TO).start()
    outbox.dead(dead)
    for i in range(20):
        outbox.delivered(outbox.insert("orders.x", "k", {"i": i}))
    assert "not permitted to publish" in relay.said("dead.uncopied")["reason"]
    outbox.delivered(outbox.insert("orders.x", "k", {}))
    assert outbox.row(dead)["dead_copied_at"] is None


def test_what_a_subscriber_answers_on_their_subject_makes_no_second_copy(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    # The stream forgets an id at once, so that a copy that is sent again is stored again.
    streams.make("DEAD", "dead.>", duplicate_window=100_000_000)
    with streams.subscriber("dead.>", b'{"error":{"code":500,"description":"handler failed"}}'):
        relay = make_relay(outbox.dsn, streams.url, **TO).start()
        for i in range(20):
            outbox.insert("orders.> ", f"k{i}", {"i": i})
        copied(outbox, streams, 20)
    assert not relay.lines("dead.uncopied")
