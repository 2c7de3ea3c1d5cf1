"""How far the durable consumers of the streams are, as the metrics tell it."""

import time
from collections.abc import Callable

import pytest
from nats.aio.client import Client
from prometheus_client.parser import text_string_to_metric_families

from relay.demo.servers import NatsServer
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_rights import LOOK_UP
from tests.support.fix_stream import Streams, restrict

EVERY_S = {"consumers__poll_every_s": "1"}


def by_consumer(relay: Relay, name: str) -> dict[str | None, float]:
    """Return a metric, as it is at one time, by consumer; None stands for the relay itself."""
    return {
        sample.labels.get("consumer"): sample.value
        for family in text_string_to_metric_families(relay.get("/metrics")[1])
        for sample in family.samples
        if sample.name == f"outbox_relay_{name}"
    }


def shown(relay: Relay, name: str, consumer: str | None = None) -> float | None:
    """Return a metric, of one consumer or of the relay; None if it is not shown."""
    return by_consumer(relay, name).get(consumer)


def add(streams: Streams, stream: str, durable: str, **config: object) -> None:
    """Make a durable consumer with the fields of JetStream's own configuration."""
    body = {"stream_name": stream, "config": {"durable_name": durable, "ack_policy": "explicit", **config}}
    streams.api(f"CONSUMER.DURABLE.CREATE.{stream}.{durable}", body)


def take(streams: Streams, stream: str, durable: str, events: int, *, acknowledge: Callable[[int], bool]) -> None:
    """Let a consumer take so many messages, and acknowledge those of them, counted from 0, that are chosen."""

    async def fetch(client: Client) -> None:
        subscription = await client.jetstream().pull_subscribe_bind(durable, stream)
        for number, message in enumerate(await subscription.fetch(events, timeout=5)):
            if acknowledge(number):
                await message.ack_sync()

    streams._with(fetch)


@pytest.mark.parametrize("direct", [True, False])
def test_a_consumer_is_as_far_behind_as_its_first_message(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, direct: bool
) -> None:
    streams.make("ORDERS", "orders.>", allow_direct=direct)
    add(streams, "ORDERS", "list")
    add(streams, "ORDERS", "statistics", filter_subject="orders.paid")
    relay = make_relay(outbox.dsn, streams.url, **EVERY_S).start()
    outbox.insert("orders.placed")
    outbox.drained()
    first_at = time.time()
    outbox.insert("orders.paid")
    outbox.insert("orders.placed")
    outbox.drained()
    age = "consumer_oldest_unacknowledged_age_seconds"
    wait_until("three pending", lambda: shown(relay, "consumer_pending_events", "list") == 3)
    wait_until("one pending", lambda: shown(relay, "consumer_pending_events", "statistics") == 1)
    behind = shown(relay, age, "statistics")
    assert behind is not None and 0 < behind <= time.time() - first_at
    # The second one acknowledged, the first and the third not.
    take(streams, "ORDERS", "list", 3, acknowledge=lambda number: number == 1)
    wait_until("two given", lambda: shown(relay, "consumer_unacknowledged_events", "list") == 2)
    assert shown(relay, "consumer_pending_events", "list") == 0
    ages = by_consumer(relay, age)
    assert ages["list"] > ages["statistics"]
    take(streams, "ORDERS", "statistics", 1, acknowledge=lambda _: True)
    wait_until("nothing to read", lambda: shown(relay, age, "statistics") == 0)
    assert shown(relay, "consumers_readable") == 1


def test_only_durable_consumers_of_the_wanted_names_are_shown(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    add(streams, "ORDERS", "orders-list")
    add(streams, "ORDERS", "billing")
    streams.api(
        "CONSUMER.CREATE.ORDERS",
        {"stream_name": "ORDERS", "config": {"ack_policy": "explicit", "inactive_threshold": int(60e9)}},
    )
    relay = make_relay(outbox.dsn, streams.url, consumers__names="orders-*", **EVERY_S).start()
    outbox.insert("orders.placed")
    wait_until("one pending", lambda: shown(relay, "consumer_pending_events", "orders-list") == 1)
    assert relay.get("/metrics")[1].count("outbox_relay_consumer_pending_events{") == 1


@pytest.mark.denials
def test_without_the_right_to_ask_it_says_so_once_and_events_flow(
    own_nats: NatsServer, outbox: Outbox, make_relay: MakeRelay
) -> None:
    # It may publish and look at streams, and may not ask for consumers.
    streams = restrict(own_nats, "orders.>", *LOOK_UP, "$JS.API.DIRECT.GET.*")
    streams.make("ORDERS", "orders.>")
    add(streams, "ORDERS", "list")
    relay = make_relay(outbox.dsn, own_nats.url, **EVERY_S).start()
    outbox.insert("orders.placed")
    outbox.drained()
    relay.said("consumers.unreadable")
    outbox.insert("orders.placed")
    outbox.drained()
    wait_until("it is shown", lambda: shown(relay, "consumers_readable") == 0)
    assert shown(relay, "consumer_pending_events", "list") is None
    assert len(relay.lines("consumers.unreadable")) == 1
    assert not relay.lines("hold.opened")
