"""Messages as CloudEvents, read from the stream by the SDK of CloudEvents."""

from datetime import UTC, datetime

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event

from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done

SETTINGS = {"cloudevents__source": "/shop/orders", "cloudevents__type_prefix": "com.example."}


def read(streams: Streams, stream: str) -> list[BaseCloudEvent]:
    """Read a stream as a consumer with the SDK does: NATS has the same headers as HTTP."""
    return [from_binary_event(HTTPMessage(message.headers, message.data)) for message in streams.read(stream)]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_consumer_with_the_sdk_gets_the_row(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, atomic: bool
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=atomic)
    outbox.insert("orders.placed", "Grüße 100 %", {"order": 42}, headers={"traceparent": "00-1"})
    outbox.insert("orders.paid", None, {"by": "ü"}, headers={"ce-type": "of.its.own"})
    make_relay(outbox.dsn, streams.url, **SETTINGS).start()
    outbox.drained()
    rows = [outbox.row(seq) for seq in (1, 2)]
    placed, paid = read(streams, "ORDERS")
    assert placed.get_attributes() == {
        "specversion": "1.0",
        "id": str(rows[0]["id"]),
        "source": "/shop/orders",
        "type": "com.example.orders.placed",
        "subject": "Grüße 100 %",
        "time": rows[0]["created_at"].astimezone(UTC),
        "datacontenttype": "application/json",
    }
    assert placed.get_data() == {"order": 42}
    assert paid.get_attributes()["type"] == "of.its.own"
    assert "subject" not in paid.get_attributes()
    assert paid.get_data() == {"by": "ü"}
    assert [message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS")] == [str(row["id"]) for row in rows]
    assert streams.read("ORDERS")[0].headers["traceparent"] == "00-1"


def test_an_event_at_the_end_of_time_is_a_cloudevent_without_one(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    for moment in ("infinity", "-infinity", "20000-01-01"):
        outbox.conn.execute(
            "INSERT INTO outbox_events (topic, payload, created_at) VALUES ('orders.placed', '1', %s)", (moment,)
        )
    relay = make_relay(outbox.dsn, streams.url, headers__created_at="true", **SETTINGS).start()
    outbox.drained()
    assert len(read(streams, "ORDERS")) == 3
    assert all(not {"ce-time", "Outbox-Created-At"} & message.headers.keys() for message in streams.read("ORDERS"))
    for words in (("list", "--state", "any"), ("show", "1"), ("show", "2"), ("explain", "3"), ("status",)):
        assert done(outbox.dsn, *words, RELAY_NATS__SERVERS=streams.url).stdout
    assert "outbox_relay_delivery_latency_seconds_sum +Inf" not in relay.get("/metrics")[1]


def test_a_replayed_event_is_the_same_cloudevent(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("REBUILD", "rebuild.>")
    relay = make_relay(outbox.dsn, streams.url, **SETTINGS).start()
    outbox.insert("orders.placed", "42", {"order": 42})
    outbox.drained()
    relay.stop()
    environment = {f"RELAY_{name.upper()}": value for name, value in SETTINGS.items()}
    words = ("replay", "--all", "--server", streams.url, "--subject", "rebuild.{topic}", "--yes")
    done(outbox.dsn, *words, **environment)
    (once,), (again,) = read(streams, "ORDERS"), read(streams, "REBUILD")
    assert again.get_attributes() == once.get_attributes()
    assert again.get_data() == once.get_data()
    assert once.get_attributes()["time"] <= datetime.now(UTC)
