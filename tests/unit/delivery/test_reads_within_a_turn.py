"""One turn of the fetcher may read twice before it takes in what it has read first: nothing is taken in twice."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
from relay.rules.order.gaps import Holder
from relay.rules.order.lanes import Lanes
from relay.rules.reading.read_batch_size import Read, Room


def _event(seq: int) -> Event:
    return Event(seq, f"id-{seq}", "orders.placed", None, b"{}", None, 1000.0, 0, None)


class Reader:
    """Has events, of which some are marked by the time at which the answer is there."""

    generation = 1
    has_all = True

    def __init__(
        self, in_hand: InHand, pending: Sequence[Event], at_work: Mapping[str, Holder] = MappingProxyType({})
    ) -> None:
        self._in_hand = in_hand
        self._pending = pending
        self._at_work = at_work
        self.late: list[Event] = []
        self.rereads = 0

    async def fetch(self, cursor: int, upper: int, _: Room) -> Read:
        found = [event for event in self._pending if cursor < event.seq <= upper]
        self._in_hand.unsettled.forget(found)
        return Read(found, [event.seq for event in found], is_cut=False, is_crowded=False)

    async def reread(self, _: Sequence[int], __: Sequence[int], ___: Room) -> Read:
        self.rereads += 1
        return Read(self.late, [event.seq for event in self.late], is_cut=False, is_crowded=False)

    async def holders(self) -> Mapping[str, Holder]:
        return self._at_work

    async def ended(self, _: object) -> list[int]:
        return []

    async def next_seq(self, _: int) -> None:
        return None


class Due:
    """Nothing is due."""

    async def turn(self, _: float, __: int) -> int:
        return 0

    def let_through(self, events: list[Event]) -> list[Event]:
        return events


def _hand() -> InHand:
    """Make what a term has in hand that has read 3 and misses 2."""
    in_hand = InHand(
        lanes=Lanes(),
        holds=Holds(base_s=1.0, max_s=1.0),
        limits=Limits(events=100, payload_bytes=1_000_000, waiting=1000),
        signal=asyncio.Event,
        watermark=0,
        database=DatabaseState("db", 3, 3, ""),
    )
    in_hand.gaps.passed(0, [1, 3], 3, 1000.0)
    in_hand.read_up_to(3)
    return in_hand


def _fetcher(in_hand: InHand, reader: Reader, wakeup: Wakeup | None = None) -> Fetcher:
    return Fetcher(
        DeliverySection(),
        in_hand,
        cast("OutboxReader", reader),
        wakeup or Wakeup(None, 60.0),
        cast("DueEvents", Due()),
        Metrics(),
    )


def test_an_event_that_is_marked_while_the_first_of_two_reads_is_under_way_is_not_sent_again() -> None:
    in_hand = _hand()
    in_hand.unsettled.take_in([_event(3)])
    in_hand.backfilling = 3
    reader = Reader(in_hand, [_event(3)])
    asyncio.run(_fetcher(in_hand, reader).turn())
    assert reader.rereads
    assert len(in_hand.lanes) == 0
    assert in_hand.unsettled.in_memory == {}


def test_what_rings_and_is_not_above_the_cursor_is_looked_for_in_the_gaps_at_once() -> None:
    in_hand = _hand()
    reader = Reader(in_hand, [], at_work={"late": Holder(False, 7)})

    async def turns() -> None:
        wakeup = Wakeup(None, 60.0)
        fetcher = _fetcher(in_hand, reader, wakeup)
        assert await fetcher.turn() == 0
        assert reader.rereads == 1  # the gaps were due, and are for a while not
        assert await fetcher.turn() == 0
        assert reader.rereads == 1  # a poll is no ring
        in_hand.saw(in_hand.database, time.monotonic())
        assert await fetcher.turn(woken=False) == 0
        assert reader.rereads == 1
        reader.late = [_event(2)]
        wakeup.rang = True
        assert await fetcher.turn() == 1

    asyncio.run(turns())
    assert reader.rereads == 2
    assert len(in_hand.gaps) == 0
    assert list(in_hand.unsettled.in_memory) == [2]


def test_what_producers_ring_for_is_counted_whoever_sends_it() -> None:
    """One relay of four sees a quarter of the events as its own; the rings are those of all."""

    class Counted(Wakeup):
        rows = 0

        def came(self, rows: int) -> None:
            self.rows += rows

    class Among(Reader):
        async def fetch(self, cursor: int, upper: int, room: Room) -> Read:
            own = await super().fetch(cursor, upper, room)
            return own if not own.events else Read(own.events, [4, 5, 6, 7], is_cut=False, is_crowded=False)

    in_hand = _hand()
    wakeup = Counted(None, 60.0)
    fetcher = _fetcher(in_hand, Among(in_hand, [_event(6)]), wakeup)
    assert asyncio.run(fetcher.turn()) == 1
    assert wakeup.rows == 4
    assert in_hand.cursor == 7
