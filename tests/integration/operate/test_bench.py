"""``relay bench``: a trial with the relay that runs, and nothing of it left in the outbox."""

import json

from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done, relay

SMALL = ("--topic", "bench.relay", "--rate", "100", "--seconds", "1", "--events", "500", "--payload-bytes", "100")


def test_events_of_a_trial_are_delivered_measured_and_deleted(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("BENCH", "bench.relay")
    other = outbox.insert("orders.placed", "k", {"i": 1})
    make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(other)
    url = {"RELAY_NATS__SERVERS": streams.url}
    dry = done(outbox.dsn, "bench", *SMALL, "--dry-run", **url)
    assert dry.stderr == (
        "dry run, nothing is changed: would insert 600 events of 100 bytes, to be sent to stream BENCH\n"
    )
    assert streams.messages("BENCH") == 0
    told = json.loads(done(outbox.dsn, "bench", *SMALL, "--yes", "--output", "json", **url).stdout)
    assert (told["singles"], told["drained"], told["dead"], told["stream"]) == (100, 500, 0, "BENCH")
    assert 0 < told["latency_s"]["p50"] <= told["latency_s"]["p95"] <= told["latency_s"]["max"] < 30
    assert told["drained_per_second"] > 1
    assert streams.messages("BENCH") == 600
    assert {len(message.data) for message in streams.read("BENCH")} == {100}
    # The row of the watermark stays, as it does when old rows are deleted.
    assert told["deleted"] >= 599
    assert outbox.count("topic = 'bench.relay'") <= 1
    assert outbox.row(other)["delivered_at"] is not None
    line = json.loads(done(outbox.dsn, "audit", "--output", "json").stdout)
    assert (line["action"], line["events"], line["planned"]) == ("bench", 600, 600)


def test_without_a_relay_a_stream_or_a_subject_nothing_is_inserted(outbox: Outbox, streams: Streams) -> None:
    url = {"RELAY_NATS__SERVERS": streams.url}
    assert "no stream takes bench.relay" in relay(outbox.dsn, "bench", *SMALL, "--yes", **url).stderr
    streams.make("BENCH", "bench.>")
    assert "no relay owns the outbox" in relay(outbox.dsn, "bench", *SMALL, "--yes", **url).stderr
    result = relay(outbox.dsn, "bench", "--topic", "a b", "--yes", **url)
    assert (result.exit_code, "holds a space" in result.stderr) == (2, True)
    assert outbox.count("true") == 0
