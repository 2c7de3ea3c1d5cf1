"""An event as a CloudEvent: what the SDK of CloudEvents reads back is what the row says."""

import math
from datetime import UTC, datetime

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event
from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.sending.cloudevents import CloudEvents
from relay.rules.sending.envelopes import Envelopes, Poison

EVENT = Event(7, "an-id", "orders.placed", "order 42", b'{"n": 1}', None, 1_700_000_000.25, 0, None)
SHOP = CloudEvents("/shop/orders", type_prefix="com.example.")
MEBIBYTE = 1024 * 1024


def read(headers: dict[str, str], event: Event = EVENT) -> BaseCloudEvent:
    """Read a message as a consumer with the SDK does: NATS has the same headers as HTTP."""
    return from_binary_event(HTTPMessage(headers, event.payload))


def test_the_sdk_reads_what_the_row_says() -> None:
    read_back = read(SHOP.headers(EVENT, {"traceparent": "00-1"}))
    assert read_back.get_attributes() == {
        "specversion": "1.0",
        "id": "an-id",
        "source": "/shop/orders",
        "type": "com.example.orders.placed",
        "subject": "order 42",
        "time": datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC),
        "datacontenttype": "application/json",
    }
    assert read_back.get_data() == {"n": 1}


@given(st.text(min_size=1), st.none() | st.text())
def test_any_topic_and_key_come_back(topic: str, key: str | None) -> None:
    event = EVENT._replace(topic=topic, key=key)
    headers = SHOP.headers(event, {})
    assert all(value.isascii() and value.isprintable() and " " not in value for value in headers.values())
    attributes = read(headers, event).get_attributes()
    assert attributes["type"] == f"com.example.{topic}"
    assert attributes.get("subject") == (key or None)


def test_what_the_row_says_itself_goes_first() -> None:
    own = {"CE-Type": "of.its.own", "ce-dataschema": "https://example.com/order.json", "X": "y"}
    headers = SHOP.headers(EVENT, own)
    assert {name: headers[name] for name in own} == own
    assert "ce-type" not in headers
    attributes = read(headers).get_attributes()
    assert attributes["type"] == "of.its.own"
    assert attributes["dataschema"] == "https://example.com/order.json"


@pytest.mark.parametrize("created_at", [math.inf, -math.inf, 1e12, -1e12])
def test_a_time_that_cannot_be_written_is_left_out(created_at: float) -> None:
    event = EVENT._replace(created_at=created_at)
    assert "ce-time" not in SHOP.headers(event, {})
    assert "Outbox-Created-At" not in Envelopes(add_created_at=True).headers(event, MEBIBYTE)


def test_without_a_topic_it_needs_a_type() -> None:
    event, plain = EVENT._replace(topic=""), CloudEvents("/shop")
    with pytest.raises(Poison, match="needs a type"):
        Envelopes(template="{key}", cloud_events=plain).headers(event, MEBIBYTE)
    assert plain.headers(event, {"ce-type": "placed"})["ce-type"] == "placed"


def test_they_count_for_the_size() -> None:
    envelopes = Envelopes(template="x.{key}", cloud_events=SHOP)
    topic = "ü" * 1000
    with pytest.raises(Poison, match="the server takes 4000"):
        envelopes.make(EVENT._replace(topic=topic), 4000)
    assert "%C3%BC" in envelopes.make(EVENT._replace(topic=topic), MEBIBYTE)[1]
