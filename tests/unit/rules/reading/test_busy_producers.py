"""When inserts should not ring: by the rate, and by those who wait to ring."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.reading.busy_producers import BURST, CROWD, LOOKS, RATE, BusyProducers

# How many events came at once, and how long before.
reads = st.lists(st.tuples(st.integers(1, 5_000), st.floats(0.0005, 2.0)), min_size=1, max_size=60)
CLOSE = 1e-6


@given(reads)
def test_they_are_busy_only_if_more_than_a_burst_came_beyond_the_rate(found: list[tuple[int, float]]) -> None:
    """Whatever the reads were, there is a stretch of time up to now that says so; one read of so much is enough."""
    producers, now = BusyProducers(), 100.0
    came: list[tuple[float, int]] = []
    for events, since in found:
        now += since
        came.append((now, events))
        producers.came(events, now)
        beyond = [sum(n for at, n in came if at >= first) - RATE * (now - first) for first, _ in came]
        if producers.are_busy(now):
            assert max(beyond) > BURST - CLOSE
        else:
            assert events <= BURST


@given(reads)
def test_producers_that_rest_are_not_busy(found: list[tuple[int, float]]) -> None:
    producers, now = BusyProducers(), 0.0
    for events, since in found:
        now += since
        producers.came(events, now)
    assert not producers.are_busy(now + BURST / RATE + CLOSE)


def crowd(producers: BusyProducers, now: float) -> None:
    for _ in range(LOOKS):
        assert not producers.are_busy(now)
        producers.counted(CROWD, now)


def test_many_small_reads_are_as_busy_as_a_large_one() -> None:
    """What a relay finds by each ring is little: producers whom the rings hold up came a few at a time."""
    producers = BusyProducers()
    for number in range(200):
        producers.came(6, number / 1000)
    assert producers.are_busy(0.2)


def test_a_thousand_events_a_second_may_ring() -> None:
    producers = BusyProducers()
    for number in range(5_000):
        producers.came(1, number / 1000)
        assert not producers.are_busy(number / 1000)
    # The same after a stall.
    producers.came(60, 5.06)
    assert not producers.are_busy(5.06)


def test_a_queue_is_counted_while_events_come_and_not_too_often() -> None:
    producers = BusyProducers()
    assert not producers.should_count(10.0)
    producers.came(24, 10.0)
    assert not producers.should_count(10.0)
    producers.came(1, 10.0)
    assert producers.should_count(10.0)
    producers.counted(0, 10.0)
    producers.came(99, 10.2)
    assert not producers.should_count(10.2)
    assert producers.should_count(10.26)


def test_a_queue_makes_them_busy_and_longer_each_time() -> None:
    producers = BusyProducers()
    now, lasted = 0.0, []
    for _ in range(8):
        crowd(producers, now)
        began = now
        while producers.are_busy(now):
            now += 0.1
            producers.came(1, now)
        lasted.append(now - began)
    assert 0.9 < lasted[0] < 1.2
    assert all(after >= before - 0.11 for before, after in pairwise(lasted))
    assert 29 < lasted[-1] < 31
    producers.counted(CROWD - 1, now)
    crowd(producers, now)
    producers.came(1, now + 0.9)
    assert producers.are_busy(now + 0.9)
    producers.came(1, now + 1.1)
    assert not producers.are_busy(now + 1.1)


def test_a_queue_that_was_seen_once_says_nothing() -> None:
    producers = BusyProducers()
    for number in range(10):
        producers.came(1, number / 10)
        producers.counted(CROWD if number % LOOKS else 0, number / 10)
        assert not producers.are_busy(number / 10)


def test_a_queue_is_forgotten_when_no_event_comes() -> None:
    producers = BusyProducers()
    producers.came(30, 5.0)
    crowd(producers, 5.0)
    assert producers.are_busy(5.2)
    assert not producers.are_busy(5.3)
