"""When inserts should not ring: by the rate, and by those who wait to ring."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.reading.busy_producers import BURST, LONGEST_S, RATE, SHORTEST_S, BusyProducers

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


def looks(producers: BusyProducers, now: float, waiting: int, events: int = 100) -> int:
    """Look each quarter of a second, with so many events before each; return after how many looks they are busy."""
    for number in range(1, 40):
        for step in range(10):
            producers.came(events // 10 + (step < events % 10), now + (number - 1 + step / 10) / 4)
        assert not producers.are_busy(now + number / 4)
        producers.looked(waiting, now + number / 4)
        if producers.are_busy(now + number / 4):
            return number
    return 0


def until_over(producers: BusyProducers, now: float) -> float:
    """Let events come until they are not busy any more; return when that is."""
    while producers.are_busy(now):
        now += 0.1
        producers.came(40, now)
    return now


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


def test_the_queue_is_looked_at_while_events_come_and_not_too_often() -> None:
    producers = BusyProducers()
    producers.looked(0, 10.0)
    producers.came(99, 10.1)
    assert not producers.should_look(10.1)
    assert producers.should_look(10.25)
    producers.looked(0, 10.25)
    # One event now and then costs no look, however slow commits are two do.
    producers.came(1, 30.0)
    assert not producers.should_look(30.0)
    producers.came(1, 30.4)
    assert producers.should_look(30.4)


def test_a_long_queue_is_found_by_one_look() -> None:
    assert looks(BusyProducers(), 10.0, 4) == 1


def test_a_short_one_is_found_by_two() -> None:
    assert looks(BusyProducers(), 10.0, 3) == 2


def test_one_who_always_waits_is_found_a_little_later() -> None:
    """Of two producers one rings and the other waits."""
    assert 4 <= looks(BusyProducers(), 10.0, 1) <= 8


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_producers_are_busy_only_if_some_have_waited_most_of_the_time(found: list[int]) -> None:
    producers, now = BusyProducers(), 10.0
    for number, waiting in enumerate(found, start=1):
        producers.came(30, now)
        producers.looked(waiting, now)
        if producers.are_busy(now):
            assert sum(found[:number]) >= 4
            assert number >= 2 or waiting >= 4
            return
        now += 0.25
    assert len(found) < 6 or 0 in found[-6:]


@given(st.lists(st.sampled_from([0, 0, 0, 0, 1]), max_size=400))
def test_one_who_waits_now_and_then_is_a_matter_of_chance(found: list[int]) -> None:
    producers, now = BusyProducers(), 10.0
    for number, waiting in enumerate(found):
        producers.came(30, now)
        # Never two in a row.
        producers.looked(waiting if number % 2 else 0, now)
        assert not producers.are_busy(now)
        now += 0.25


def test_a_queue_makes_them_busy_and_longer_each_time() -> None:
    producers = BusyProducers()
    now, lasted = 0.0, []
    for _ in range(6):
        began = now + looks(producers, now, 5) / 4
        now = until_over(producers, began)
        lasted.append(now - began)
    assert SHORTEST_S - 0.1 < lasted[0] < SHORTEST_S + 0.2
    assert all(after >= before - 0.11 for before, after in pairwise(lasted))
    assert LONGEST_S - 0.1 < lasted[-1] < LONGEST_S + 0.2
    # Nobody waits for a while.
    assert looks(producers, now, 0) == 0
    now += 10
    began = now + looks(producers, now, 5) / 4
    assert until_over(producers, began) - began < SHORTEST_S + 0.2


def test_what_was_said_just_before_is_said_again_by_less() -> None:
    producers = BusyProducers()
    first = looks(producers, 0.0, 1)
    now = until_over(producers, first / 4)
    assert 1 <= looks(producers, now, 1) <= first / 2


@given(rate=st.integers(8, 1_500), share=st.sampled_from([0.75, 1.0, 1.2]))
def test_a_queue_is_remembered_while_producers_are_at_work(rate: int, share: float) -> None:
    producers = BusyProducers()
    began = now = 10.0 + looks(producers, 10.0, 5, max(1, rate // 4)) / 4
    while now < began + SHORTEST_S - 0.1:
        assert producers.are_busy(now)
        now += 1 / (rate * share)
        producers.came(1, now)


@given(rate=st.integers(8, 1_500), share=st.sampled_from([0.0, 0.05, 0.2]))
def test_a_queue_is_forgotten_soon_after_they_are_done(rate: int, share: float) -> None:
    """An event now and then keeps the others waiting for polls no longer."""
    producers, now = BusyProducers(), 10.0
    for _ in range(4):
        now = until_over(producers, now + looks(producers, now, 5, max(1, rate // 4)) / 4)
    now += looks(producers, now, 5, max(1, rate // 4)) / 4
    end = now + max(0.6, 8 / rate)
    while share and (next_at := now + 1 / (rate * share)) < end:
        now = next_at
        producers.came(1, now)
    assert not producers.are_busy(end)
    producers.came(1, end)
    assert not producers.are_busy(end)
