"""An operator's commands beside a row that PostgreSQL fails to read: they say so, and show the rest."""

import json

import pytest

from tests.support.fix_relay import Outbox
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done, relay

# 2 KB on the page, and more than 1 GB as text: more than a text of PostgreSQL can hold.
HUGE = "('[' || repeat('1e131071,', 8200) || '0]')::jsonb"


@pytest.fixture
def seq(outbox: Outbox) -> int:
    """The seq of such a row, with one before it and one behind it."""
    outbox.insert("orders.placed", "k", {"i": 0})
    outbox.conn.execute(f"INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.x', 'b', {HUGE})".encode())
    outbox.insert("orders.placed", "k", {"i": 1})
    return 2


def test_it_is_shown_without_what_cannot_be_read(outbox: Outbox, seq: int) -> None:
    text = done(outbox.dsn, "show", str(seq)).stdout
    assert "orders.x" in text and "SQLSTATE 54000" in text
    shown = json.loads(done(outbox.dsn, "show", str(seq), "--output", "json").stdout)
    assert (shown["topic"], shown["state"]) == ("orders.x", "pending")
    assert "SQLSTATE 54000" in shown["unreadable"]
    raw = relay(outbox.dsn, "show", str(seq), "--raw")
    assert raw.exit_code == 1 and "cannot be read" in raw.stderr


def test_it_is_listed_and_the_doctor_looks_at_the_rest(outbox: Outbox, streams: Streams, seq: int) -> None:
    listed = json.loads(done(outbox.dsn, "list", "--state", "pending", "--output", "json").stdout.splitlines()[seq - 1])
    assert listed["seq"] == seq
    streams.make("ORDERS", "orders.>")
    found = relay(outbox.dsn, "doctor", RELAY_NATS__SERVERS=streams.url)
    assert "54000" not in found.stdout + found.stderr
    # All is well, or something is unfit: neither is a fault of the command.
    assert found.exit_code in (0, 8)


def test_a_replay_sends_what_comes_before_it_and_stops_there(outbox: Outbox, streams: Streams, seq: int) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute("UPDATE outbox_events SET dead_at = now(), discarded_at = now()")
    # The first event of each topic is tried before anything is sent.
    outbox.conn.execute("UPDATE outbox_events SET topic = 'orders.placed'")
    result = relay(outbox.dsn, "replay", "--all", "--discarded", "--yes", RELAY_NATS__SERVERS=streams.url)
    assert result.exit_code == 1
    assert f"the next event above seq {seq - 1} cannot be read" in result.stderr
    assert streams.messages("ORDERS") == seq - 1
