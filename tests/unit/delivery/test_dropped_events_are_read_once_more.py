"""What was dropped from memory is read a second time, and not all that comes after it as well."""

import asyncio
from typing import cast

from relay.config.sections import DeliverySection
from relay.delivery.due_events import DueEvents
from relay.delivery.fetcher import Fetcher
from relay.delivery.wakeup import Wakeup
from relay.event import Event
from relay.observe.metrics import Metrics
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.in_hand import InHand, Limits
from relay.rules.order.lanes import Lanes
from relay.rules.reading.read_batch_size import Read, Room

_EVENTS = 100_000
_KEYS = 100


class Backlog:
    """Has many pending events of a few keys, and counts those that it returns."""

    generation = 1
    has_all = True

    def __init__(self) -> None:
        self.returned = 0

    async def fetch(self, cursor: int, upper: int, room: Room) -> Read:
        last = min(cursor + room.rows, upper, _EVENTS)
        events = [
            Event(seq, f"id-{seq}", "orders.placed", f"k{seq % _KEYS}", b"{}", None, 1000.0, 0, None)
            for seq in range(cursor + 1, last + 1)
        ]
        self.returned += len(events)
        return Read(events, [event.seq for event in events], is_cut=last < min(upper, _EVENTS), is_crowded=False)

    async def next_seq(self, read_up_to: int) -> int | None:
        return read_up_to + 1 if read_up_to < _EVENTS else None


class Due:
    """Nothing is due."""

    async def turn(self, _: float, __: int) -> int:
        return 0

    def due_at(self) -> float:
        return float("inf")


def test_a_backlog_is_not_read_twice_because_its_lanes_were_stuck_for_a_moment() -> None:
    lanes = Lanes(stuck_limit=1_000)
    in_hand = InHand(
        lanes=lanes,
        holds=Holds(base_s=1.0, max_s=1.0),
        limits=Limits(events=10_000, payload_bytes=1_000_000, waiting=1_000),
        signal=asyncio.Event,
        watermark=0,
        database=DatabaseState("db", 0, 0, ""),
    )
    reader = Backlog()
    fetcher = Fetcher(
        DeliverySection(),
        in_hand,
        cast("OutboxReader", reader),
        Wakeup(None, 60.0),
        cast("DueEvents", Due()),
        Metrics(),
    )
    sent: list[Event] = []

    def send() -> None:
        while taken := lanes.take(1_000):
            for event in taken:
                sent.append(event)
                in_hand.unsettled.forget([event])
                lanes.release(event)

    async def run() -> None:
        await fetcher.turn()
        stuck = lanes.take(_KEYS)
        for event in stuck:
            in_hand.stick(event)
        for _ in range(7):
            await fetcher.turn()
        assert lanes.overflow_from is not None
        lanes.put_back(stuck)
        send()
        for _ in range(_EVENTS):
            if not await fetcher.turn() and in_hand.cursor == _EVENTS and in_hand.backfilling is None:
                break
            send()

    asyncio.run(run())
    assert len(sent) == _EVENTS
    for key in range(_KEYS):
        seqs = [event.seq for event in sent if event.key == f"k{key}"]
        assert seqs == sorted(seqs)
    assert in_hand.unsettled.in_memory == {}
    assert reader.returned < 1.1 * _EVENTS
