"""What waits for a stream whose batches have files goes one by one, unless that would take longer than a batch."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.sending.worth_a_batch import MANY, WorthABatch

ANSWERS_S = st.floats(0, 10)
FEW = st.integers(1, MANY - 1)


@given(st.lists(ANSWERS_S), st.integers(MANY, 1000))
def test_many_events_are_worth_a_batch_however_soon_each_is_answered(answers: list[float], events: int) -> None:
    worth = WorthABatch()
    for seconds in answers:
        worth.answered("ORDERS", seconds)
    assert worth.is_so("ORDERS", events, 1)


@given(st.lists(st.floats(0, 0.005)), FEW)
def test_few_events_of_different_keys_are_not_if_each_is_answered_soon(answers: list[float], events: int) -> None:
    worth = WorthABatch()
    for seconds in answers:
        worth.answered("ORDERS", seconds)
    assert not worth.is_so("ORDERS", events, 1)


@given(st.lists(st.floats(0.006, 10), min_size=1), FEW, FEW)
def test_of_a_stream_that_answers_slowly_all_are(answers: list[float], events: int, longest_run: int) -> None:
    worth = WorthABatch()
    for seconds in answers:
        worth.answered("ORDERS", seconds)
    assert worth.is_so("ORDERS", events, longest_run)


@given(FEW, FEW)
def test_before_a_stream_has_answered_few_events_go_one_by_one(events: int, longest_run: int) -> None:
    worth = WorthABatch()
    worth.answered("OTHER", 10.0)
    assert not worth.is_so("ORDERS", events, longest_run)


@given(ANSWERS_S, st.integers(2, MANY - 1))
def test_events_of_one_key_are_if_they_would_await_each_other_for_longer(answer_s: float, run: int) -> None:
    worth = WorthABatch()
    worth.answered("ORDERS", answer_s)
    assert worth.is_so("ORDERS", run, run) is ((run - 1) * answer_s > 0.005)


def test_a_slow_answer_is_forgotten_after_some_quick_ones() -> None:
    worth = WorthABatch()
    worth.answered("ORDERS", 0.05)
    assert worth.is_so("ORDERS", 2, 2)
    for _ in range(60):
        worth.answered("ORDERS", 0.0005)
    assert not worth.is_so("ORDERS", 8, 8)
