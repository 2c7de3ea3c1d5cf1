"""A probe waits for the look at its own stream, and for no other one."""

import asyncio

from relay.delivery.probes import Probes
from relay.event import Event
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import Connection, connect
from relay.jetstream.listener import Listener
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.in_hand import InHand, Limits
from relay.rules.order.lanes import Lanes
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


def test_a_slow_look_at_one_stream_holds_up_no_probe_of_another(streams: Streams) -> None:
    for topic, stream in STREAMS.items():
        streams.make(stream, topic)
    streams.make("UNSEEN", "unseen.>")  # this relay has never seen it, and nobody looks at it

    async def run() -> None:
        connection = await connect(NatsOptions(servers=[streams.url]), streams.url, Listener())
        in_hand = await in_hand_over(connection)
        events = [event(10 + number, topic) for number, topic in enumerate(STREAMS)]
        in_hand.read_up_to(20)
        in_hand.drop(in_hand.lanes.offer(in_hand.unsettled.take_in(events)))
        assert in_hand.lanes.take(10) == events
        probes = Probes(in_hand)
        probes.attach(connection)
        running = asyncio.create_task(probes.run())
        try:
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
        finally:
            running.cancel()
            await asyncio.wait([running])
            await connection.close()
        assert running.cancelled()

    asyncio.run(run())
