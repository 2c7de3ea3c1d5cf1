"""An event whose outcome is unknown is looked for whenever its stream may hold it and has forgotten its id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.sending.in_doubt import InDoubt

WINDOW_S = 5.0
SEQ = 7


def to_orders(_subject: str, _moment: float) -> set[str]:
    """Take it that one stream took every subject at all times."""
    return {"ORDERS"}


def must_be_searched(doubts: InDoubt, now: float) -> bool:
    """Report whether the stream is searched before the event is sent now, as the publisher asks."""
    if not doubts.must_be_looked_at(SEQ) or doubts.takes_leave(SEQ, now):
        return False
    return doubts.id_may_be_forgotten(SEQ, "ORDERS", WINDOW_S, now)


def test_what_events_in_doubt_were_sent_on_is_known_until_they_are_resolved() -> None:
    doubts = InDoubt(to_orders)
    doubts.doubt(SEQ, 1.0, "orders.a")
    doubts.doubt(SEQ + 1, 1.0, "orders.b")
    doubts.miss(SEQ)
    assert doubts.sent_on() == {"orders.a", "orders.b"}, "a search that has not found one ends no doubt"
    doubts.resolve(SEQ)
    doubts.resolve(SEQ + 1)
    assert doubts.sent_on() == set()


@given(st.lists(st.tuples(st.floats(0.1, 8), st.sampled_from(["unanswered", "refused"])), min_size=1, max_size=8))
def test_no_message_is_sent_a_second_time_after_the_window_without_a_search(tries: list[tuple[float, str]]) -> None:
    """Whatever was searched in vain before: the first message may be stored at any moment."""
    doubts, now = InDoubt(to_orders), 10.0
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
    doubts = InDoubt(to_orders)
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
    doubts = InDoubt(to_orders)
    doubts.doubt(SEQ, 10.0, "orders.a")
    assert doubts.places(lambda _: "ORDERS") == {SEQ: "ORDERS"}
    doubts.miss(SEQ)
    assert doubts.places(lambda _: "ORDERS") == {}
    assert doubts.subject(SEQ) == "orders.a"
    assert must_be_searched(doubts, 16.0), "nobody has asked for it to be sent"


def test_leave_to_be_sent_does_not_last() -> None:
    doubts = InDoubt(to_orders)
    doubts.doubt(SEQ, 10.0, "orders.a")
    doubts.let_go(SEQ, 16.0)
    assert must_be_searched(doubts, 30.0)


@given(
    st.lists(st.sets(st.sampled_from(["A", "B", "C"])), min_size=1, max_size=4),
    st.sampled_from(["A", "B", "C"]),
    st.floats(0, 500),
)
def test_no_id_is_relied_upon_unless_each_message_went_to_the_stream_that_takes_the_subject_now(
    sent_to: list[set[str]], now_in: str, passed_s: float
) -> None:
    """Nothing known of one message: it may be in any stream, whatever is known of the others."""
    tries = iter(sent_to)
    doubts = InDoubt(lambda _subject, _moment: next(tries))
    for _ in sent_to:
        doubts.doubt(SEQ, 10.0, "orders.a")
        doubts.let_go(SEQ, 10.0)
    doubts.since[SEQ] = doubts.absent.pop(SEQ)[0]
    doubts.subjects[SEQ] = "orders.a"
    elsewhere = not all(streams == {now_in} for streams in sent_to)
    assert doubts.may_be_elsewhere(SEQ, now_in) == elsewhere
    assert doubts.id_may_be_forgotten(SEQ, now_in, 1e9, 10.0 + passed_s) == elsewhere
    assert doubts.places(lambda _: now_in) == {SEQ: None if elsewhere else now_in}, "it holds those floors down"
    known = all(sent_to)
    assert doubts.sent_to(SEQ) == (set().union(*sent_to) if known else set())
    doubts.resolve(SEQ)
    assert not doubts.may_be_elsewhere(SEQ, now_in)
    assert doubts.sent_to(SEQ) == set()


def test_what_was_found_is_known_by_its_id_and_not_by_its_seq_alone() -> None:
    doubts = InDoubt(lambda _, __: {"ORDERS"})
    doubts.doubt(SEQ, 10.0, "orders.a", "one")
    doubts.find(SEQ, "ORDERS", 7, "one", listed=False)
    assert doubts.place_of(SEQ, "one") == ("ORDERS", 7)
    # Its row was deleted, and somebody has inserted another one with its seq: that was never stored.
    assert doubts.place_of(SEQ, "two") is None
    assert SEQ not in doubts.found
    assert doubts.must_be_looked_at(SEQ), "what is in doubt is looked for before anything of this seq is sent"


def test_an_acknowledgement_that_comes_late_tells_where_the_event_is_until_it_is_resolved() -> None:
    doubts = InDoubt(lambda subject, sent_at: {"ORDERS"})
    doubts.answered_late(1, "ORDERS", 7)
    assert doubts.place_of(1, "a") is None, "it was not in doubt"
    doubts.doubt(1, 0.0, "orders.placed", "a")
    doubts.answered_late(1, "ORDERS", 7)
    assert doubts.place_of(1, "a") == ("ORDERS", 7)
    doubts.doubt(2, 0.0, "orders.placed", "b")
    doubts.miss(2)
    doubts.answered_late(2, "ORDERS", 8)
    assert doubts.place_of(2, "c") is None, "its seq is another event's now"
    doubts.resolve(1)
    doubts.answered_late(1, "ORDERS", 7)
    assert doubts.place_of(1, "a") is None


def test_what_is_found_without_a_pending_row_keeps_no_other_from_being_forgotten() -> None:
    doubts = InDoubt(lambda _, __: {"ORDERS"})
    doubts.find(1, "ORDERS", 7, "one", listed=False)
    doubts.find(2, "ORDERS", 8, "two")
    assert doubts.found_pending() == {2}
    doubts.find(1, "ORDERS", 7, "one")
    assert doubts.found_pending() == {1, 2}
    doubts.forget(1)
    assert set(doubts.found) == doubts.found_pending() == {2}
