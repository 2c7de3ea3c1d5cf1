"""A few marks wait for company, and nobody waits for them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from relay.delivery.settler import Settler
from relay.event import Event
from relay.observe.metrics import Metrics
from relay.outcomes import Delivered
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.in_hand import InHand, Limits
from relay.rules.order.lanes import Lanes

# Far above what a laden machine adds to the linger of 0.1 s.
_SOON_S = 5.0


class Writer:
    """Writes down how many events each statement marks."""

    def __init__(self) -> None:
        self.marked: list[int] = []
        self.done = asyncio.Event()

    async def mark(self, stream: str, delivered: Sequence[Delivered]) -> int:
        self.marked.append(len(delivered))
        self.done.set()
        return len(delivered)


def _delivered(seq: int) -> list[Delivered]:
    event = Event(seq, f"id-{seq}", "orders.placed", None, b"{}", None, 1000.0, 0, None)
    return [(event, "ORDERS", seq, False, 1000.0)]


class Term:
    """A settler that works, with room for some events."""

    def __init__(self, events: int) -> None:
        self.in_hand = InHand(
            lanes=Lanes(),
            holds=Holds(base_s=1.0, max_s=1.0),
            limits=Limits(events=events, payload_bytes=1_000_000, waiting=1000),
            signal=asyncio.Event,
            watermark=0,
            database=DatabaseState("db", 0, 0, ""),
        )
        self.in_hand.room.set()
        self.writer = Writer()
        self.settler = Settler(self.in_hand, cast("OutboxWriter", self.writer), Metrics())

    def acknowledge(self, seq: int) -> None:
        delivered = _delivered(seq)
        self.in_hand.unsettled.take_in([delivered[0][0]])
        self.settler.take_delivered(delivered)

    async def lingers(self, seq: int) -> None:
        """Acknowledge an event, and come back when its mark waits for company."""
        self.acknowledge(seq)
        for _ in range(10):
            await asyncio.sleep(0)
        assert self.settler._is_lingering


def _play(events: int, act: Callable[[Term], Awaitable[None]]) -> list[int]:
    async def scenario() -> list[int]:
        term = Term(events)
        async with asyncio.timeout(_SOON_S):
            working = asyncio.create_task(term.settler.run())
            await act(term)
            await term.writer.done.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return term.writer.marked

    return asyncio.run(scenario())


async def _few(term: Term) -> None:
    await term.lingers(1)
    for seq in range(2, 6):
        term.acknowledge(seq)


async def _many(term: Term) -> None:
    await term.lingers(1)
    for seq in range(2, 100):
        term.acknowledge(seq)
    assert term.settler._company.is_set()


async def _until_no_room(term: Term) -> None:
    await term.lingers(1)
    term.acknowledge(2)
    assert not term.settler._company.is_set()
    term.acknowledge(3)
    assert term.settler._company.is_set()


async def _end(term: Term) -> None:
    await term.lingers(1)
    await term.settler.drained()


def test_a_few_share_a_statement() -> None:
    assert _play(1000, _few) == [5]


def test_many_wait_no_longer() -> None:
    assert _play(1000, _many) == [99]


def test_marks_that_someone_needs_room_of_wait_no_longer() -> None:
    assert _play(3, _until_no_room) == [3]


def test_at_the_end_nothing_waits_for_company() -> None:
    assert _play(1000, _end) == [1]


def test_whoever_waits_for_room_or_for_the_end_of_events_is_seen() -> None:
    in_hand = Term(2).in_hand
    assert not in_hand.marks_are_awaited()
    in_hand.room.clear()
    assert in_hand.marks_are_awaited()
    in_hand.room.set()
    in_hand.unsettled.take_in([_delivered(seq)[0][0] for seq in (1, 2)])
    assert in_hand.marks_are_awaited()
