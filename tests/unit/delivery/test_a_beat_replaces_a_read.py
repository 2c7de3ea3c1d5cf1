"""A relay that sleeps by the bell reads nothing above the cursor if a beat has just seen that nothing is there."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import pytest

from relay.config.sections import DeliverySection
from relay.delivery.due_events import DueEvents
from relay.delivery.fetcher import Fetcher
from relay.delivery.wakeup import Wakeup
from relay.observe.metrics import Metrics
from relay.postgres.doorbell import Doorbell
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.in_hand import InHand, Limits
from relay.rules.order.gaps import Holder
from relay.rules.order.lanes import Lanes
from relay.rules.reading.read_batch_size import Read, Room

LONGEST_S = 1.0


def database(newest: int) -> DatabaseState:
    return DatabaseState("db", newest, newest, "")


class Reader:
    """Counts what is read above the cursor."""

    generation = 1
    has_all = True

    def __init__(self) -> None:
        self.fetches = 0

    async def fetch(self, _: int, __: int, ___: Room) -> Read:
        self.fetches += 1
        return Read([], [], is_cut=False, is_crowded=False)

    async def next_seq(self, _: int) -> None:
        return None

    async def settled(self, _: int, __: int) -> list[tuple[int, int]]:
        return []

    async def holders(self) -> dict[str, Holder]:
        return {}

    async def reread(self, _: object, __: object, ___: Room) -> Read:
        return Read([], [], is_cut=False, is_crowded=False)

    async def ended(self, _: object) -> list[int]:
        return []


class Due:
    """Nothing is due."""

    async def turn(self, _: float, __: int) -> int:
        return 0


def hand(newest: int) -> InHand:
    return InHand(
        lanes=Lanes(),
        holds=Holds(base_s=1.0, max_s=1.0),
        limits=Limits(events=100, payload_bytes=1_000_000, waiting=1000),
        signal=asyncio.Event,
        watermark=3,
        database=database(newest),
    )


def reads(in_hand: InHand, *, woken: bool = False, meanwhile: Callable[[], None] = lambda: None) -> bool:
    reader = Reader()
    fetcher = Fetcher(
        DeliverySection(),
        in_hand,
        cast("OutboxReader", reader),
        Wakeup(None, LONGEST_S),
        cast("DueEvents", Due()),
        Metrics(),
    )
    meanwhile()
    asyncio.run(fetcher.turn(woken=woken))
    return reader.fetches > 0


def test_nothing_is_read_after_a_beat_that_saw_nothing_new() -> None:
    in_hand = hand(3)
    in_hand.saw(database(3), time.monotonic())
    assert not reads(in_hand)


def test_what_rang_is_read_whatever_the_latest_beat_saw() -> None:
    in_hand = hand(3)
    in_hand.saw(database(3), time.monotonic())
    assert reads(in_hand, woken=True)


def test_what_a_beat_saw_above_the_cursor_is_read_although_nobody_rang() -> None:
    in_hand = hand(3)
    in_hand.saw(database(4), time.monotonic())
    assert reads(in_hand)


@pytest.mark.parametrize("ago_s", [LONGEST_S * 1.2, 60.0])
def test_it_is_read_without_a_beat_in_the_longest_pause(ago_s: float) -> None:
    in_hand = hand(3)
    in_hand.saw(database(3), time.monotonic() - ago_s)
    assert reads(in_hand)


def test_it_is_read_before_the_first_beat() -> None:
    assert reads(hand(3))


def test_what_was_there_at_the_start_of_a_term_is_read_although_it_was_deleted_since() -> None:
    # The cursor has to pass it: the watermark would stay behind otherwise.
    in_hand = hand(5)
    assert reads(in_hand, meanwhile=lambda: in_hand.saw(database(3), time.monotonic()))


def test_what_is_below_a_cursor_that_came_back_is_read() -> None:
    in_hand = hand(3)
    in_hand.saw(database(3), time.monotonic())
    in_hand.rewind(1, 3)
    assert reads(in_hand)


class Bell:
    """Held by us; remembers for how long we slept by it."""

    rings = some_ring = True

    def __init__(self, rang: bool = False) -> None:
        self.slept_s: list[float] = []
        self.kept = 0
        self._rang = rang

    async def sleep(self, timeout_s: float, _: object) -> bool:
        self.slept_s.append(timeout_s)
        return self._rang

    async def keep(self) -> None:
        self.kept += 1


@pytest.mark.parametrize(
    ("ago_s", "at_most_s", "slept_s"),
    [
        (0.0, 60.0, LONGEST_S * 1.1),  # a little after the next beat
        (0.9, 60.0, LONGEST_S * 1.1 - 0.9),  # as late as that, though the sleep begins late
        (0.0, 0.3, 0.3),
        (5.0, 60.0, LONGEST_S),  # no beat has come: it is read after the longest pause
        (None, 60.0, LONGEST_S),
    ],
)
def test_a_sleep_ends_a_little_after_the_next_beat(ago_s: float | None, at_most_s: float, slept_s: float) -> None:
    bell = Bell()
    looked_at = None if ago_s is None else time.monotonic() - ago_s
    asyncio.run(Wakeup(cast("Doorbell", bell), LONGEST_S).sleep(at_most_s, looked_at, None))
    assert bell.slept_s[0] <= slept_s
    assert bell.slept_s == pytest.approx([slept_s], abs=0.5)


@pytest.mark.parametrize("rang", [False, True])
def test_a_ring_counts_until_something_is_found(rang: bool) -> None:
    async def run() -> None:
        wakeup = Wakeup(cast("Doorbell", Bell(rang)), LONGEST_S)
        assert await wakeup.sleep(60.0, None, None) == rang
        assert wakeup.rang == rang
        await wakeup.found()
        assert not wakeup.rang

    asyncio.run(run())


def test_a_holder_that_finds_more_and_more_and_never_sleeps_keeps_the_bell() -> None:
    bell = Bell()

    async def run() -> None:
        wakeup = Wakeup(cast("Doorbell", bell), LONGEST_S)
        for _ in range(3):
            await wakeup.found()

    asyncio.run(run())
    assert bell.kept == 3
