"""What a relay works in spite of is told by all who are asked: status, the probe, the doctor; until it is mended."""

import json
from typing import Any

import psycopg
import pytest

from relay.postgres.migrate import new_origin
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_rights import NATS_USER, as_relay
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done
from tests.support.relay_cli import relay as command

SECRET = "4111-1111"
TRIGGER = (
    "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {then}; END $$;"
    "CREATE TRIGGER guard BEFORE UPDATE ON outbox_events FOR EACH ROW"
    " WHEN (OLD.topic = 'orders.guarded') EXECUTE FUNCTION guard()"
)


def status(outbox: Outbox) -> list[str]:
    shown: dict[str, Any] = json.loads(done(outbox.dsn, "status", "--no-nats", "--output", "json").stdout)
    return [note["note"] for note in shown["notes"]]


def doctor(outbox: Outbox, streams: Streams) -> list[str]:
    user = {f"RELAY_{name.upper()}": value for name, value in NATS_USER.items()}
    asked = command(
        as_relay(outbox.dsn),
        "doctor",
        "--output",
        "json",
        RELAY_NATS__SERVERS=streams.url,
        RELAY_HEADERS__SEQ="true",
        **user,
    )
    return [one["seen"] for one in json.loads(asked.stdout)["findings"] if one["level"] != "ok"]


def assert_told(relay: Relay, outbox: Outbox, streams: Streams, text: str) -> None:
    """Wait until all of them tell it, the relay being ready."""
    wait_until("the probe tells it", lambda: text in relay.get("/readyz")[1])
    assert relay.get("/readyz")[0] == 200
    wait_until("status tells it", lambda: any(text in note for note in status(outbox)))
    assert text in done(outbox.dsn, "status", "--no-nats").stdout
    assert any(text in seen for seen in doctor(outbox, streams))
    assert SECRET not in done(outbox.dsn, "status", "--no-nats").stdout + relay.get("/readyz")[1]


def assert_told_no_more(relay: Relay, outbox: Outbox) -> None:
    wait_until("the probe tells nothing", lambda: relay.get("/readyz") == (200, "ready: active\n"), 70)
    wait_until("status tells nothing", lambda: status(outbox) == [])


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ("RAISE 'not this one'", "raise exception in PL/pgSQL function guard()"),
        ("RETURN NULL", "a trigger or a rule keeps the row as it is"),
    ],
    ids=["raises", "keeps the row"],
)
def test_marks_that_are_refused_are_told_until_they_are_made(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, then: str, told: str
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute(TRIGGER.format(then=then).encode())
    relay = make_relay(outbox.dsn, streams.url).start()
    guarded = outbox.insert("orders.guarded", "k", {"card": SECRET})
    outbox.delivered(outbox.insert("orders.placed", "k2", {"i": 1}))
    assert_told(relay, outbox, streams, told)
    assert any("of 1 events" in note for note in status(outbox))
    outbox.conn.execute("DROP TRIGGER guard ON outbox_events")
    outbox.delivered(guarded, 70)
    assert_told_no_more(relay, outbox)


def test_marks_that_are_taken_back_are_told(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute(TRIGGER.format(then="NEW.delivered_at := NULL; RETURN NEW").encode())
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.insert("orders.guarded", "k", {"card": SECRET})
    outbox.delivered(outbox.insert("orders.placed", "k2", {"i": 1}))
    assert_told(relay, outbox, streams, "1 events are pending again as soon as they are marked")


@pytest.mark.parametrize("running", [True, False, None], ids=["while it runs", "while it is down", "after a crash"])
def test_seqs_that_are_drawn_again_are_told_until_another_origin_begins(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, running: bool | None
) -> None:
    streams.make("ORDERS", "orders.>", allow_direct=True)
    relay = make_relay(outbox.dsn, streams.url, headers__seq="true").start()
    outbox.fill("orders.placed", 20, keys=5)
    outbox.drained()
    wait_until(
        "the watermark is written down",
        lambda: outbox.conn.execute("SELECT 1 FROM outbox_shards WHERE watermark >= 20").fetchone(),
    )
    if running is None:
        relay.kill()
        # So few floors are saved that the next terms, too, meet what was drawn before.
        outbox.conn.execute("DELETE FROM outbox_streams")
    elif not running:
        relay.stop()
    outbox.conn.execute("DELETE FROM outbox_events")
    outbox.conn.execute("ALTER TABLE outbox_events ALTER COLUMN seq RESTART WITH 5")
    if not running:
        relay.start()
    assert_told(relay, outbox, streams, "seqs are drawn again")
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    assert any("seqs are drawn again" in note for note in status(outbox)), "also in a later term"
    with psycopg.connect(outbox.dsn) as conn:
        new_origin(conn, "outbox_events")
    assert_told_no_more(relay, outbox)
