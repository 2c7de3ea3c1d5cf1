"""In turn: each event that stays has its turn in each round, whatever comes and goes."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.reading.in_turn import InTurn


def event(seq: int, size: int = 1) -> Event:
    return Event(seq, str(seq), "t", None, b"x" * size, None, 0.0, 0, False)


def test_they_have_their_turns_in_order_and_then_the_first_again() -> None:
    turns, events = InTurn(100), [event(seq) for seq in (3, 1, 5, 2, 4)]
    seen = []
    for _ in range(4):
        chosen = turns.next(events, 2)
        turns.done(chosen)
        seen.append([one.seq for one in chosen])
    assert seen == [[1, 2], [3, 4], [5], [1, 2]]


def test_a_turn_is_bounded_in_bytes_and_a_large_event_has_one_of_its_own() -> None:
    events = [event(1, 6), event(2, 4), event(3, 1), event(4, 500)]
    turns = InTurn(events[0].size + events[1].size)
    seen = []
    for _ in range(3):
        chosen = turns.next(events, 9)
        turns.done(chosen)
        seen.append([one.seq for one in chosen])
    assert seen == [[1, 2], [3], [4]]


def test_until_it_is_done_it_is_their_turn() -> None:
    turns, events = InTurn(10), [event(1), event(2)]
    assert turns.next(events, 1) == turns.next(events, 1) == [event(1)]
    assert turns.next([], 1) == []


def test_the_first_is_next_when_all_above_the_last_turn_are_gone() -> None:
    turns = InTurn(10)
    turns.done(turns.next([event(seq) for seq in (1, 2, 3)], 2))
    assert turns.next([event(1)], 2) == [event(1)]


@given(st.sets(st.integers(1, 100), min_size=1), st.randoms(use_true_random=False), st.integers(1, 7))
def test_who_stays_has_a_turn_however_others_come_and_go(stay: set[int], chance: Random, most: int) -> None:
    turns, waiting = InTurn(1_000), set(stay)
    # Each turn gets further, so that a round takes as many turns as there may be seqs, at worst.
    for _ in range(100):
        beside = {chance.randint(1, 100) for _ in range(5)}
        chosen = turns.next([event(seq) for seq in stay | beside], most)
        turns.done(chosen)
        waiting -= {one.seq for one in chosen}
    assert not waiting
