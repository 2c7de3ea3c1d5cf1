"""In turn: each event that stays has its turn in each round, whatever comes and goes."""

from collections.abc import Iterable
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.in_turn import InTurn


def event(seq: int, size: int = 1) -> Event:
    return Event(seq, str(seq), "t", None, b"x" * size, None, 0.0, 0, False)


def turn(turns: InTurn, there: Iterable[Event], most: int = 99) -> list[int]:
    """Take a turn; return whose it was."""
    events = list(there)
    chosen = turns.next(lambda: events, {one.seq for one in events}.__contains__, most)
    if chosen:
        turns.done(chosen)
    return [one.seq for one in chosen]


def test_they_have_their_turns_in_order_and_then_the_first_again() -> None:
    turns, events = InTurn(2, 1_000), [event(seq) for seq in (3, 1, 5, 2, 4)]
    assert [turn(turns, events) for _ in range(4)] == [[1, 2], [3, 4], [5], [1, 2]]


def test_a_turn_is_bounded_in_bytes_and_a_large_event_has_one_of_its_own() -> None:
    events = [event(1, 6), event(2, 4), event(3, 1), event(4, 5000), event(5)]
    turns = InTurn(9, events[0].size + events[1].size)
    assert [turn(turns, events) for _ in range(4)] == [[1, 2], [3], [4], [5]]


def test_until_it_is_done_it_is_their_turn_and_fewer_may_have_it() -> None:
    turns, events = InTurn(2, 1_000), [event(1), event(2), event(3)]
    for most, expected in ((9, [1, 2]), (1, [1]), (9, [1, 2])):
        assert [one.seq for one in turns.next(lambda: events, lambda seq: True, most)] == expected
    assert turn(turns, events, 1) == [1]
    assert turn(turns, events) == [2, 3]
    assert turn(turns, []) == []


def test_who_is_gone_has_no_turn_and_the_first_is_next_when_all_above_are_gone() -> None:
    turns = InTurn(2, 1_000)
    assert turn(turns, [event(seq) for seq in range(1, 7)]) == [1, 2]
    assert turn(turns, [event(seq) for seq in (1, 4, 6)]) == [4, 6]
    assert turn(turns, [event(1)]) == [1]


@given(st.sets(st.integers(1, 100), min_size=1), st.randoms(use_true_random=False), st.integers(1, 7))
def test_who_stays_has_a_turn_however_others_come_and_go(stay: set[int], chance: Random, most: int) -> None:
    turns, waiting = InTurn(most, 1_000_000), set(stay)
    # Each turn gets further, so that one round takes as many turns as there may be seqs, at worst; who has come below
    # a page since it was made is in the round after that.
    for _ in range(200):
        waiting.difference_update(turn(turns, map(event, stay | {chance.randint(1, 100) for _ in range(5)})))
    assert not waiting
