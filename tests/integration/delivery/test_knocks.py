"""If no stream takes a subject, the first event there knocks: every stream refuses it, so nothing is stored unseen."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.demo.servers import NatsServer
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import connect
from relay.jetstream.listener import Listener
from relay.rules.failure.failures import Refused, expects_another_stream
from relay.rules.sending.envelopes import knocking
from tests.support.fix_cluster import Cluster
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order, in_another_account

LINES = {
    "new": "Nats-Msg-Id: another\r\n",
    "stored before": "Nats-Msg-Id: stored\r\n",
    "with a condition of its own": "Nats-Expected-Stream: ORDERS\r\nNats-Msg-Id: a\r\n",
}
KEYS, LOST, WAITING = 5, 20, 40
# No regular look comes in between.
SELDOM = {"healing__check_every_s": "600"}


def answer(url: str, lines: str) -> object:
    """Send an event with these headers that knocks; return how it is refused, or the sequence at which it is stored."""

    async def send() -> object:
        told: asyncio.Queue[object] = asyncio.Queue()

        class Heard(Listener):
            def refused(self, token: int, failure: object) -> None:
                told.put_nowait(failure)

            def stored(self, stored: Any) -> None:
                told.put_nowait(stored)

        connection = await connect(NatsOptions(servers=[url]), url, Heard())
        try:
            await connection.publish([(1, "orders.placed", b"{}", knocking(lines, b"{}", connection.max_payload))])
            async with asyncio.timeout(10):
                return await told.get()
        finally:
            await connection.close()

    return asyncio.run(send())


def store(streams: Streams, message_id: str) -> None:
    """Have a message of this id stored."""

    async def send() -> None:
        connection = await connect(NatsOptions(servers=[streams.url]), streams.url, Listener())
        try:
            failure = await connection.store("orders.placed", b"{}", {"Nats-Msg-Id": message_id}, 10.0)
            assert failure is None
        finally:
            await connection.close()

    asyncio.run(send())


def refuses_what_knocks(streams: Streams, lines: str) -> None:
    """Hold that the stream ORDERS stores one event, and then refuses another one that knocks with these headers."""
    store(streams, "stored")
    failure = answer(streams.url, lines)
    assert isinstance(failure, Refused)
    assert expects_another_stream(failure), failure
    assert streams.messages("ORDERS") == 1


@pytest.mark.parametrize(
    "config",
    [{}, {"storage": "memory"}, {"allow_direct": True, "max_msgs": 1, "discard": "new"}, {"retention": "workqueue"}],
    ids=["file", "memory", "full", "work queue"],
)
@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
def test_a_stream_refuses_what_knocks(streams: Streams, config: dict[str, Any], lines: str) -> None:
    streams.make("ORDERS", "orders.>", **config)
    refuses_what_knocks(streams, lines)


def test_a_stream_with_three_replicas_refuses_what_knocks(cluster: Cluster) -> None:
    cluster.make("ORDERS", "orders.>")
    cluster.settled("ORDERS")
    streams = cluster.streams()
    for lines in LINES.values():
        refuses_what_knocks(streams, lines)


def insert(outbox: Outbox, first: int, last: int) -> None:
    """Insert events with the payloads `first` to `last`, of five keys."""
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload) SELECT 'orders.placed', 'k' || mod(i, %s),"
        " jsonb_build_object('i', i) FROM generate_series(%s::int, %s::int) i",
        (KEYS, first, last),
    )


WHO_TAKES_IT = b'"subject": "orders.', b'"subject": "absent.'
WHAT_IT_HOLDS = b"$JS.API.STREAM.INFO.ORDERS", b"$JS.API.STREAM.INFO.ABSENT"


@pytest.mark.parametrize(
    ("question", "other", "which"),
    [(*WHO_TAKES_IT, 1), (*WHAT_IT_HOLDS, 1), (*WHAT_IT_HOLDS, 2)],
    ids=["who takes the subject", "what is it like", "what does it hold before it is written down"],
)
def test_a_stream_that_is_made_again_after_it_was_asked_about_gets_what_it_has_lost_first(
    outbox: Outbox,
    streams: Streams,
    make_relay: MakeRelay,
    proxy: Callable[[int], Proxy],
    question: bytes,
    other: bytes,
    which: int,
) -> None:
    """One question is asked about something else, so that its answer is what was true a moment before."""
    between = proxy(int(streams.url.rpartition(":")[2]))
    streams.make("ORDERS", "orders.>", allow_direct=True)
    insert(outbox, 1, LOST)
    relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{between.port}", **SELDOM).start()
    outbox.drained()
    assert relay.stop() == 0
    streams.api("STREAM.DELETE.ORDERS")
    relay.start()
    relay.said("stream.gone")
    between.strays, between.unchanged = (question, other, 1), which - 1
    streams.make("ORDERS", "orders.>", allow_direct=True)
    insert(outbox, LOST + 1, LOST + WAITING)
    outbox.drained()
    assert between.strays[2] == 0
    relay.said("stream.lost")
    assert_once_and_in_order(streams.read("ORDERS"), LOST + WAITING, KEYS)


def test_events_flow_to_a_stream_of_another_account_beside_one_of_ours_that_is_gone(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    theirs = in_another_account(own_nats)
    theirs.make("THEIRS", "orders.>")
    ours = Streams(own_nats.url)
    ours.make("OURS", "local.>")
    relay = make_relay(outbox.dsn, own_nats.url, nats__user="admin", nats__password="admin", **SELDOM).start()
    outbox.insert("local.placed", "l", {"i": 0})
    outbox.drained()
    assert relay.stop() == 0
    ours.api("STREAM.DELETE.OURS")
    insert(outbox, 1, LOST)
    outbox.insert("local.placed", "l", {"i": 1})
    relay.start()
    wait_until("all but one are delivered", lambda: outbox.count("delivered_at IS NULL") == 1)
    assert {line["scope"] for line in relay.lines("hold.opened")} <= {"subject local.placed"}
    assert_once_and_in_order(theirs.read("THEIRS"), LOST, KEYS)
    ours.make("OURS", "local.>")
    outbox.drained()
    assert [message.i for message in ours.read("OURS")] == [0, 1]


def test_events_flow_to_a_service_that_answers_as_a_stream_does(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """It heeds no condition, so the first knock on its subject is the last one."""
    with streams.subscriber("orders.placed", b'{"stream":"SERVICE","seq":1}') as heard:
        make_relay(outbox.dsn, streams.url, **SELDOM).start()
        insert(outbox, 1, LOST)
        outbox.drained()
        insert(outbox, LOST + 1, LOST + WAITING)
        outbox.drained()
    assert sorted(json.loads(one)["i"] for one in heard) == list(range(1, LOST + WAITING + 1))
