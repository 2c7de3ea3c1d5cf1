"""``relay send``: one event, from the insert to the stream."""

import json

import psycopg
import pytest

from relay.errors import Exit
from relay.postgres.migrate import migrate
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_rights import as_relay, let_relay_in
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done, relay


def test_an_event_is_inserted_and_seen_in_the_stream(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url).start()
    assert "would insert an event" in done(outbox.dsn, "send", "orders.placed", "--dry-run").stderr
    assert outbox.count("true") == 0
    payload = '{"order": 42}'
    event = ("orders.placed", "--key", "42", "--payload", payload, "--header", "Trace=a=b", "--yes", "--wait", "30")
    assert " is in stream ORDERS at sequence 1, " in done(outbox.dsn, "send", *event).stdout
    (arrived,) = streams.read("ORDERS")
    assert (arrived.subject, json.loads(arrived.data)) == ("orders.placed", {"order": 42})
    assert (arrived.headers or {})["Trace"] == "a=b"
    told = json.loads(done(outbox.dsn, "send", *event, "--output", "json").stdout)
    assert (told["stream"], told["stream_seq"], told["seq"]) == ("ORDERS", 2, outbox.count("true"))
    assert done(outbox.dsn, "audit").stdout.count("  send  ") == 2


def test_an_event_that_does_not_arrive_is_told_with_its_reason(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    result = relay(outbox.dsn, "send", "orders.placed", "--yes", "--wait", "0.1")
    assert (result.exit_code, "event 1 is pending after 0.1 s: relay explain 1" in result.stderr) == (1, True)
    make_relay(outbox.dsn, streams.url).start()
    result = relay(outbox.dsn, "send", "orders.*", "--yes", "--wait", "30")
    assert (result.exit_code, "event 2 became a dead letter: " in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [(("--payload", "{"), "PostgreSQL does not accept it"), (("--header", "x"), "not NAME=VALUE")],
)
def test_what_the_table_does_not_take_is_not_inserted(outbox: Outbox, arguments: tuple[str, ...], fault: str) -> None:
    result = relay(outbox.dsn, "send", "orders.placed", "--yes", *arguments)
    assert (result.exit_code, fault in result.stderr) == (2, True)
    assert outbox.count("true") == 0


def test_a_table_of_bytes_gets_them_as_they_are_and_a_producer_may_send(empty_database: str) -> None:
    with psycopg.connect(empty_database) as conn:
        migrate(conn, "outbox_events", "bytea", bell=True)
    done(empty_database, "send", "orders.placed", "--yes", "--payload", "a\\b")
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT payload FROM outbox_events").fetchone() == (b"a\\b",)


def test_a_dry_run_checks_the_payload_as_the_run_does(outbox: Outbox) -> None:
    result = relay(outbox.dsn, "send", "orders.placed", "--payload", "{bad", "--dry-run")
    assert (result.exit_code, "PostgreSQL does not accept it" in result.stderr) == (2, True)
    assert "would insert" not in result.stderr


@pytest.mark.denials
@pytest.mark.parametrize("way", ["--dry-run", "--yes"])
def test_a_login_that_may_not_insert_is_told_the_role_of_a_producer(outbox: Outbox, way: str) -> None:
    let_relay_in(outbox.dsn)
    result = relay(as_relay(outbox.dsn), "send", "orders.placed", way)
    assert result.exit_code == Exit.FAULT
    assert "outbox_producer to insert" in result.stderr and "outbox_reader" not in result.stderr
    assert outbox.count("true") == 0
