"""``relay dead``: what was given up is given back, or discarded."""

import json

import psycopg
import pytest

from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done, relay

FILL = """
INSERT INTO outbox_events (topic, key, payload, dead_at, attempts, last_error)
SELECT 'orders.t' || g % 2, 'k' || g, '1', now() - interval '1 h' * g, 10, 'no stream takes this subject'
FROM generate_series(1, 6) g;
INSERT INTO outbox_events (topic, payload, dead_at, last_error)
VALUES ('big', '1', now(), 'refused by the stream: too long (10054)');
INSERT INTO outbox_events (topic, payload, dead_at, last_error, discarded_at) VALUES ('old', '1', now(), 'x', now());
INSERT INTO outbox_events (topic, payload) VALUES ('pending', '1');
"""


@pytest.fixture
def filled(outbox: Outbox) -> Outbox:
    outbox.conn.execute(FILL)
    return outbox


def audit(outbox: Outbox) -> list[tuple[object, ...]]:
    return outbox.conn.execute(
        "SELECT action, filter, planned, events, ended_at IS NOT NULL FROM outbox_audit ORDER BY id"
    ).fetchall()


def test_the_summary_counts_by_topic_and_reason(filled: Outbox) -> None:
    lines = [json.loads(line) for line in done(filled.dsn, "dead", "summary", "--output", "json").stdout.splitlines()]
    assert [(line["topic"], line["events"]) for line in lines] == [("orders.t0", 3), ("orders.t1", 3), ("big", 1)]
    assert "   3  orders.t0  " in done(filled.dsn, "dead", "summary", "--topic", "orders.*").stdout
    assert done(filled.dsn, "dead", "summary", "--key", "x").stderr == "no matching dead letters\n"


def test_dead_letters_are_listed_and_shown(filled: Outbox) -> None:
    lines = done(filled.dsn, "dead", "list", "--output", "json", "--error", "NO STREAM").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert "refused by the stream" in done(filled.dsn, "dead", "show", "7").stdout


def test_who_gives_back_says_which_and_leaves_a_line(filled: Outbox) -> None:
    result = done(filled.dsn, "dead", "retry", "--topic", "orders.t0", "--until", "3h", "--yes")
    assert result.stderr.startswith("2 dead letters will be sent again")
    assert filled.count("retry_at <= now() AND dead_at IS NULL AND attempts = 0 AND seq IN (4, 6)") == 2
    assert filled.count("dead_at IS NOT NULL") == 6
    ((action, told, planned, events, ended),) = audit(filled)
    assert (action, planned, events, ended) == ("dead retry", 2, 2, True)
    assert isinstance(told, dict) and (told["topic"], set(told)) == ("orders.t0", {"topic", "until"})


def test_what_is_discarded_stays_and_is_no_dead_letter_any_more(filled: Outbox) -> None:
    assert done(filled.dsn, "dead", "discard", "--seq", "..3", "--yes").stderr.startswith("discarded 3 dead letters")
    assert filled.count("discarded_at IS NOT NULL AND dead_at IS NOT NULL") == 4
    assert done(filled.dsn, "dead", "retry", "--seq", "1", "--yes").stderr == "no matching dead letters\n"
    assert [line[0] for line in audit(filled)] == ["dead discard"]


@pytest.mark.parametrize("command", ["retry", "discard"])
def test_nothing_is_changed_without_consent(filled: Outbox, command: str) -> None:
    assert "would " in done(filled.dsn, "dead", command, "--all", "--dry-run").stderr
    assert "7 dead letters" in done(filled.dsn, "dead", command, "--all", "--dry-run").stderr
    for args in (["--all"], ["--yes"], []):
        result = relay(filled.dsn, "dead", command, *args)
        assert (result.exit_code, result.stdout) == (2, ""), args
    assert filled.count("dead_at IS NOT NULL AND discarded_at IS NULL") == 7
    assert audit(filled) == []


def test_many_are_changed_in_batches_of_which_each_is_counted(outbox: Outbox) -> None:
    outbox.fill("a", 2500, 10)
    outbox.conn.execute("UPDATE outbox_events SET dead_at = now()")
    assert "2,500 dead letters will be sent again" in done(outbox.dsn, "dead", "retry", "--all", "--yes").stderr
    assert audit(outbox) == [("dead retry", {}, 2500, 2500, True)]
    due = outbox.conn.execute("SELECT seq FROM outbox_events ORDER BY retry_at, seq").fetchall()
    assert due == sorted(due)


@pytest.mark.denials
def test_the_relay_role_may_decide_and_the_reader_may_not(filled: Outbox) -> None:
    for group, code in (("outbox_relay", 0), ("outbox_reader", 1)):
        role = f"{group}_{filled.dsn.rsplit('_', 1)[1]}"
        filled.conn.execute(f"CREATE ROLE {role} LOGIN IN ROLE {group}".encode())
        try:
            address = psycopg.conninfo.make_conninfo(filled.dsn, user=role)
            seq = "1" if group == "outbox_relay" else "2"
            assert relay(address, "dead", "retry", "--seq", seq, "--yes").exit_code == code
            assert relay(address, "audit").exit_code == 0
        finally:
            filled.conn.execute(f"DROP ROLE {role}".encode())


def kept_waiting(outbox: Outbox, streams: Streams) -> tuple[int, int, int]:
    """Make two dead letters of one key and an event that waits behind them; return the seqs."""
    streams.make("ORDERS", "orders.>")
    first, second, last = (outbox.insert("orders.placed", "k", {"i": i}) for i in (1, 2, 3))
    outbox.conn.execute("UPDATE outbox_events SET dead_at = now() WHERE seq IN (%s, %s)", (first, second))
    return first, second, last


def test_giving_one_of_two_dead_letters_back_leaves_the_key_blocked_behind_the_other(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    first, second, last = kept_waiting(outbox, streams)
    make_relay(outbox.dsn, streams.url, failures__on_dead="block").start().said("nats.connected")
    done(outbox.dsn, "dead", "retry", "--seq", str(first), "--yes")
    outbox.delivered(first)
    holds_for(1.0, "the key waits", lambda: outbox.row(last)["delivered_at"] is None)
    done(outbox.dsn, "dead", "discard", "--seq", str(second), "--yes")
    outbox.delivered(last)
    assert [message.i for message in streams.read("ORDERS")] == [1, 3]


def test_dead_letters_given_back_in_any_order_are_sent_in_theirs(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    first, second, last = kept_waiting(outbox, streams)
    make_relay(outbox.dsn, streams.url, failures__on_dead="block").start().said("nats.connected")
    outbox.delivered(outbox.insert("orders.other", "other", {"i": 0}))
    done(outbox.dsn, "dead", "retry", "--seq", str(second), "--yes")
    holds_for(6.0, "it waits for the first", lambda: outbox.row(second)["delivered_at"] is None)
    done(outbox.dsn, "dead", "retry", "--seq", str(first), "--yes")
    outbox.delivered(last)
    assert [message.i for message in streams.read("ORDERS")] == [0, 1, 2, 3]


@pytest.mark.parametrize("given_back", ["the first", "both"])
def test_dead_letters_given_back_while_no_relay_runs_are_sent_before_what_waits_behind_them(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, given_back: str
) -> None:
    """The watermark has passed the first one, so that no fetch brings it."""
    first, second, last = kept_waiting(outbox, streams)
    relay = make_relay(outbox.dsn, streams.url, failures__on_dead="block").start()

    def watermark() -> object:
        row = outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone()
        return row and row[0]

    wait_until("the watermark at the dead letters", lambda: watermark() == second)
    relay.stop()
    which = ["--seq", str(first)] if given_back == "the first" else ["--all"]
    done(outbox.dsn, "dead", "retry", *which, "--yes")
    relay.start()
    outbox.delivered(first)
    if given_back == "the first":
        done(outbox.dsn, "dead", "retry", "--seq", str(second), "--yes")
    outbox.delivered(last)
    assert [message.i for message in streams.read("ORDERS")] == [1, 2, 3]


def test_a_key_goes_on_when_its_dead_letter_is_deleted(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    first, second, last = kept_waiting(outbox, streams)
    make_relay(outbox.dsn, streams.url, failures__on_dead="block").start().said("nats.connected")
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq IN (%s, %s)", (first, second))
    outbox.delivered(last)


def test_a_dead_letter_that_dies_again_keeps_its_key(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=500)
    bad = outbox.insert("orders.placed", "k", "x" * 1000)
    last = outbox.insert("orders.placed", "k", {"i": 1})
    make_relay(outbox.dsn, streams.url, failures__on_dead="block").start()
    died = outbox.dead(bad) and outbox.row(bad)["dead_at"]
    done(outbox.dsn, "dead", "retry", "--seq", str(bad), "--yes")
    wait_until("it died again", lambda: (outbox.row(bad)["dead_at"] or died) > died)
    assert outbox.row(last)["delivered_at"] is None
    streams.change("ORDERS", max_msg_size=-1)
    done(outbox.dsn, "dead", "retry", "--seq", str(bad), "--yes")
    outbox.delivered(last)
    assert [message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS")] == [
        str(outbox.row(seq)["id"]) for seq in (bad, last)
    ]
