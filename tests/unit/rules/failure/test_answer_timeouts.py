"""How long silence is waited for, each place by itself."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.failure.answer_timeouts import Patience

PLACES = ("ORDERS", "AAA", "nowhere.x")
places = st.sampled_from(PLACES)
events = st.lists(st.tuples(places, st.sampled_from(("answer", "silence", "refusal")), st.floats(0, 6)), max_size=40)


@given(events, places)
def test_what_one_place_does_changes_nothing_for_another(happened: list[tuple[str, str, float]], one: str) -> None:
    with_all, alone = Patience(10.0), Patience(10.0)
    now = 0.0
    for place, what, passed_s in happened:
        now += passed_s
        for patience in (with_all, *([alone] if place == one else [])):
            if what == "answer":
                patience.answered(place)
            else:
                patience.no_answer(place, now, refused=what == "refusal")
        assert with_all.is_over(one) == alone.is_over(one)
        assert with_all.may_ask(one, now) == alone.may_ask(one, now)


def test_silence_is_waited_for_and_a_refusal_is_not() -> None:
    patience = Patience(10.0)
    patience.no_answer("ORDERS", 100.0, refused=False)
    patience.no_answer("AAA", 100.0, refused=True)
    assert not patience.is_over("ORDERS")
    assert patience.is_over("AAA")
    patience.no_answer("ORDERS", 109.9, refused=False)
    assert not patience.is_over("ORDERS")
    assert patience.may_ask("ORDERS", 109.9)
    patience.no_answer("ORDERS", 110.0, refused=False)
    assert patience.is_over("ORDERS")


def test_a_place_that_is_done_without_is_asked_once_in_a_while_and_may_answer_again() -> None:
    patience = Patience(10.0)
    patience.no_answer("AAA", 100.0, refused=True)
    assert not patience.may_ask("AAA", 109.9)
    assert patience.may_ask("AAA", 110.0)
    patience.answered("AAA")
    assert not patience.is_over("AAA")
    patience.no_answer("AAA", 120.0, refused=False)
    assert not patience.is_over("AAA")


def test_over_a_new_connection_all_are_waited_for_again() -> None:
    patience = Patience(10.0)
    patience.no_answer("AAA", 100.0, refused=True)
    patience.begin_again()
    assert patience.may_ask("AAA", 100.0)
    assert not patience.is_over("AAA")


def test_silent_places_do_not_grow_without_bound() -> None:
    patience = Patience(10.0)
    for number in range(10_001):
        patience.no_answer(f"s{number}", 100.0, refused=True)
    assert not patience.is_over("s0")
    assert patience.is_over("s10000")
