"""Relays of one outbox that differ in what they should share say so, and go on."""

import json

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done, relay


def test_relays_with_different_settings_say_in_which_and_go_on(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    first = make_relay(outbox.dsn, streams.url, subject__template="orders.a.{topic}").start()
    wait_until("it owns all", lambda: outbox.conn.execute("SELECT 1 FROM outbox_shards WHERE owner <> ''").fetchone())
    alone = json.loads(done(outbox.dsn, "status", "--output", "json", RELAY_NATS__SERVERS=streams.url).stdout)
    assert alone["differing_settings"] == []
    same = make_relay(outbox.dsn, streams.url, subject__template="orders.a.{topic}").start()
    # It has compared once by then; of the other one it may say so too, at its next beat.
    wait_until("it knows the first", lambda: same.lines("relay.standby") or same.lines("relay.active"))
    assert not same.lines("settings.differ")
    assert not first.lines("settings.differ")
    other = make_relay(
        outbox.dsn, streams.url, subject__template="orders.b.{topic}", retention__delivered_age_s="3600"
    ).start()
    settings = [
        "subject.template or subject.allow",
        "[retention], healing.on_loss, watermark.subject or lease.ttl_s",
    ]
    assert other.said("settings.differ")["settings"] == settings
    told = json.loads(done(outbox.dsn, "status", "--output", "json", RELAY_NATS__SERVERS=streams.url).stdout)
    assert told["differing_settings"] == settings
    assert "the relays differ in subject.template" in done(outbox.dsn, "status").stdout
    doctor = relay(outbox.dsn, "doctor", "--output", "json", RELAY_NATS__SERVERS=streams.url)
    (found,) = [one for one in json.loads(doctor.stdout)["findings"] if one["check"] == "settings"]
    assert found["level"] == "warning"
    assert settings[0] in found["seen"]
    assert "orders.b" not in json.dumps(found)
    outbox.fill("placed", 200, keys=50)
    outbox.drained()
    assert other.stop() == 0
    wait_until(
        "they agree again",
        lambda: not json.loads(done(outbox.dsn, "status", "--output", "json").stdout)["differing_settings"],
    )
