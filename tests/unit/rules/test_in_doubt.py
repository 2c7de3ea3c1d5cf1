"""An event whose outcome is unknown is looked for whenever its stream may hold it and has forgotten its id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.in_doubt import InDoubt

WINDOW_S = 5.0
SEQ = 7


def must_be_searched(doubts: InDoubt, now: float) -> bool:
    """Report whether the stream is searched before the event is sent now, as the publisher asks."""
    if not doubts.must_be_looked_at(SEQ) or doubts.takes_leave(SEQ, now):
        return False
    return doubts.id_may_be_forgotten(SEQ, WINDOW_S, now)


@given(st.lists(st.tuples(st.floats(0.1, 8), st.sampled_from(["unanswered", "refused"])), min_size=1, max_size=8))
def test_no_message_is_sent_a_second_time_after_the_window_without_a_search(tries: list[tuple[float, str]]) -> None:
    """Whatever was searched in vain before: the first message may be stored at any moment."""
    doubts, now = InDoubt(), 10.0
    doubts.doubt(SEQ, now, "orders.a")
    for pause_s, outcome in tries:
        now += pause_s
        searched = must_be_searched(doubts, now)
        assert searched or now - 10.0 <= WINDOW_S
        if searched:
            doubts.miss(SEQ)
            doubts.let_go(SEQ, now)
            assert not must_be_searched(doubts, now), "it is sent once after each search"
        if outcome == "unanswered":
            doubts.doubt(SEQ, now, "orders.a")


@pytest.mark.parametrize("end", ["stored", "settled in another way"])
def test_nothing_is_kept_of_an_event_once_it_is_settled(end: str) -> None:
    doubts = InDoubt()
    doubts.doubt(SEQ, 10.0, "orders.a")
    doubts.let_go(SEQ, 16.0)
    assert doubts
    if end == "stored":
        doubts.resolve(SEQ)
    else:
        doubts.forget(SEQ)
    assert not doubts
    assert not must_be_searched(doubts, 100.0)
    doubts.doubt(SEQ, 100.0, "orders.a")
    assert doubts.since == {SEQ: 100.0}


def test_what_a_search_has_missed_lies_behind_all_that_it_saw_and_holds_no_floor_down() -> None:
    doubts = InDoubt()
    doubts.doubt(SEQ, 10.0, "orders.a")
    assert doubts.places(lambda _: "ORDERS") == {SEQ: "ORDERS"}
    doubts.miss(SEQ)
    assert doubts.places(lambda _: "ORDERS") == {}
    assert doubts.subject(SEQ) == "orders.a"
    assert must_be_searched(doubts, 16.0), "nobody has asked for it to be sent"


def test_leave_to_be_sent_does_not_last() -> None:
    doubts = InDoubt()
    doubts.doubt(SEQ, 10.0, "orders.a")
    doubts.let_go(SEQ, 16.0)
    assert must_be_searched(doubts, 30.0)
