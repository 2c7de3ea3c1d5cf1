"""A probe waits for the look at its own stream, and for no other one; while that is gone it knocks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from relay.delivery.probes import Probes
from relay.event import Event
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import Connection, connect
from relay.jetstream.listener import Listener
from relay.outcomes import FailureClass
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.in_hand import InHand, Limits
from relay.rules.order.lanes import Lanes
from tests.support.fix_proxy import Proxy
from tests.support.fix_stream import Streams

STREAMS = {"slow.placed": "SLOW", "quick.placed": "QUICK", "third.placed": "THIRD"}
# A look that nobody makes is waited for 10 s.
_WELL_BEFORE_S = 5.0


def event(seq: int, topic: str) -> Event:
    return Event(seq, f"id-{seq}", topic, None, b"{}", None, 1000.0, 0, None)


async def in_hand_over(connection: Connection) -> InHand:
    """What a term has in hand that has sent to each stream, and knows that; it has marks of one that it never saw."""
    in_hand = InHand(
        lanes=Lanes(stuck_limit=10),
        holds=Holds(base_s=1, max_s=10),
        limits=Limits(100, 1000, 10, 100),
        signal=asyncio.Event,
        watermark=0,
        database=DatabaseState("this", 0, 0),
    )
    for seq, (topic, stream) in enumerate(STREAMS.items(), 1):
        facts = await connection.stream_of(topic, 5.0)
        assert facts is not None
        in_hand.streams.learn(facts, topic)
        in_hand.set_backs.acknowledged([(event(seq, topic), stream, 1, False, 0.0)])
    in_hand.set_backs.acknowledged([(event(9, "unseen.placed"), "UNSEEN", 1, False, 0.0)])
    return in_hand


async def is_sent(in_hand: InHand) -> list[str]:
    """Wait until something may be sent; return its topics."""
    async with asyncio.timeout(_WELL_BEFORE_S):
        await in_hand.to_send.wait()
    in_hand.to_send.clear()
    return [one.topic for one in in_hand.lanes.take(10)]


@pytest.fixture
def made(streams: Streams) -> Streams:
    """The streams, made."""
    for topic, stream in STREAMS.items():
        streams.make(stream, topic)
    return streams


@asynccontextmanager
async def probing(streams: Streams) -> AsyncIterator[tuple[InHand, Probes]]:
    """Send probes of a term that has sent to each stream."""
    connection = await connect(NatsOptions(servers=[streams.url]), streams.url, Listener())
    in_hand = await in_hand_over(connection)
    probes = Probes(in_hand)
    probes.attach(connection)
    running = asyncio.create_task(probes.run())
    try:
        yield in_hand, probes
    finally:
        running.cancel()
        await asyncio.wait([running])
        await connection.close()
    assert running.cancelled()


def test_a_slow_look_at_one_stream_holds_up_no_probe_of_another(made: Streams) -> None:
    made.make("UNSEEN", "unseen.>")  # this relay has never seen it, and nobody looks at it

    async def run() -> None:
        async with probing(made) as (in_hand, probes):
            events = [event(10 + number, topic) for number, topic in enumerate(STREAMS)]
            in_hand.read_up_to(20)
            in_hand.drop(in_hand.lanes.offer(in_hand.unsettled.take_in(events)))
            assert in_hand.lanes.take(10) == events
            # Nobody looks at SLOW; at the others somebody does at once.
            for one in events:
                probes.send(one, one.topic)
                async with asyncio.timeout(_WELL_BEFORE_S):
                    await in_hand.look_for_wanted.wait()
                in_hand.look_for_wanted.clear()
                assert STREAMS[one.topic] in in_hand.set_backs.wanted
                if one.topic != "slow.placed":
                    in_hand.set_backs.looked(STREAMS[one.topic], (), in_turn=False)
                    assert await is_sent(in_hand) == [one.topic]
            assert "SLOW" in in_hand.set_backs.wanted, "it waits on"
            in_hand.set_backs.looked("SLOW", (), in_turn=False)
            assert await is_sent(in_hand) == ["slow.placed"]

    asyncio.run(run())


def probe_of_a_hold(in_hand: InHand, topic: str = "quick.placed") -> Event:
    """Hold an event, and take it out of its hold as a probe."""
    one = event(10, topic)
    in_hand.read_up_to(20)
    in_hand.drop(in_hand.lanes.offer(in_hand.unsettled.take_in([one])))
    assert in_hand.lanes.take(10) == [one]
    hold, _ = in_hand.holds.fail(f"subject {topic}", FailureClass.CONFIGURATION, "no stream", one, 0.0, 1.0)
    in_hand.holds.park(hold, one)
    assert in_hand.holds.due(1e9) == [one]
    return one


def test_while_its_stream_is_gone_and_none_takes_its_subject_a_probe_knocks(made: Streams) -> None:
    async def run() -> None:
        async with probing(made) as (in_hand, probes):
            await asyncio.to_thread(made.api, "STREAM.DELETE.QUICK")
            probe = probe_of_a_hold(in_hand)
            probes.send(probe, "quick.placed")
            assert await is_sent(in_hand) == ["quick.placed"]
            assert probe.seq in in_hand.streams.begun.knocks

    asyncio.run(run())


def test_a_probe_is_free_if_a_knock_on_its_subject_was_heard_elsewhere(made: Streams) -> None:
    async def run() -> None:
        async with probing(made) as (in_hand, probes):
            await asyncio.to_thread(made.api, "STREAM.DELETE.QUICK")
            probe, begun = probe_of_a_hold(in_hand), in_hand.streams.begun
            begun.looked_up(probe.seq, "quick.placed", is_taken=False)
            assert begun.knocks.failed(probe.seq, by_condition=True)
            begun.looked_up(probe.seq, "quick.placed", is_taken=False)
            probes.send(probe, "quick.placed")
            assert await is_sent(in_hand) == ["quick.placed"]
            assert probe.seq not in begun.knocks

    asyncio.run(run())


def test_a_probe_about_whose_subject_nobody_ever_answers_is_sent_as_it_is_after_a_while(
    made: Streams, proxy: Callable[[int], Proxy]
) -> None:
    """Its stream is gone; the question who takes its subject does not arrive where it is answered."""
    between = proxy(int(made.url.rpartition(":")[2]))

    async def run() -> None:
        async with probing(Streams(f"nats://127.0.0.1:{between.port}")) as (in_hand, probes):
            await asyncio.to_thread(made.api, "STREAM.DELETE.QUICK")
            between.strays = (b"$JS.API.STREAM.NAMES", b"$JS.API.STREAM.NOBOD", 100)
            probe = probe_of_a_hold(in_hand)
            waits = 0
            while True:
                probes.send(probe, "quick.placed")
                if await is_sent(in_hand):
                    break
                waits += 1
                assert in_hand.holds.due(1e9) == [probe], "it waits in its hold"
            assert (waits, between.strays[2]) == (7, 92)
            assert probe.seq not in in_hand.streams.begun.knocks

    asyncio.run(run())


def test_a_probe_is_sent_to_the_stream_that_takes_its_subject_now(made: Streams) -> None:
    async def run() -> None:
        async with probing(made) as (in_hand, probes):
            await asyncio.to_thread(made.api, "STREAM.DELETE.QUICK")
            await asyncio.to_thread(made.make, "ANOTHER", "quick.>")
            probes.send(probe_of_a_hold(in_hand), "quick.placed")
            assert await is_sent(in_hand) == ["quick.placed"]

    asyncio.run(run())


def test_a_probe_is_sent_if_its_stream_was_never_seen_here(made: Streams) -> None:
    """It acknowledges, and the server knows no stream of the name: it may belong to another account."""

    async def run() -> None:
        async with probing(made) as (in_hand, probes):
            probes.send(probe_of_a_hold(in_hand, "unseen.placed"), "unseen.placed")
            assert await is_sent(in_hand) == ["unseen.placed"]

    asyncio.run(run())


def test_one_that_an_earlier_term_has_seen_is_gone(made: Streams) -> None:
    async def run() -> None:
        async with probing(made) as (in_hand, probes):
            in_hand.streams.saved = frozenset({"UNSEEN"})
            probe = probe_of_a_hold(in_hand, "unseen.placed")
            probes.send(probe, "unseen.placed")
            assert await is_sent(in_hand) == ["unseen.placed"]
            assert probe.seq in in_hand.streams.begun.knocks

    asyncio.run(run())
