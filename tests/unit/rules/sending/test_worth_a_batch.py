"""What waits for a stream whose batches have files goes one by one, unless that would take longer than a batch."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.order.lanes import Lanes
from relay.rules.sending.worth_a_batch import BACKLOG, WorthABatch
from relay.rules.stream.streams import StreamFacts

ORDERS = StreamFacts("ORDERS", ("orders.>",), atomic=True, batches_in_files=True)
ANSWERS_S = st.floats(0, 10)
FEW = st.integers(2, BACKLOG - 1)


def ready(*keys: str) -> Lanes:
    lanes = Lanes()
    lanes.offer(
        [Event(seq, f"id-{seq}", "orders.placed", key, b"{}", None, 0.0, 0, False) for seq, key in enumerate(keys)]
    )
    return lanes


def of_different_keys(events: int) -> Lanes:
    return ready(*map(str, range(events)))


def after(answers: Iterable[float]) -> WorthABatch:
    worth = WorthABatch()
    for seconds in answers:
        worth.answered("ORDERS", seconds, 100.0)
    return worth


@given(st.lists(ANSWERS_S), st.integers(BACKLOG, 2 * BACKLOG))
def test_a_backlog_is_worth_a_batch_however_soon_each_is_answered(answers: list[float], events: int) -> None:
    assert after(answers).is_so(ORDERS, of_different_keys(events), 100.0)


@given(st.lists(st.floats(0, 0.01)), FEW)
def test_few_events_of_different_keys_are_not_if_each_is_answered_soon(answers: list[float], events: int) -> None:
    assert not after(answers).is_so(ORDERS, of_different_keys(events), 100.0)


@given(st.lists(st.floats(0.011, 10), min_size=3), FEW)
def test_of_a_stream_that_answers_slowly_all_are(answers: list[float], events: int) -> None:
    assert after(answers).is_so(ORDERS, of_different_keys(events), 100.0)


@given(FEW)
def test_before_a_stream_has_answered_few_events_go_one_by_one(run: int) -> None:
    worth = WorthABatch()
    worth.answered("OTHER", 10.0, 100.0)
    assert not worth.is_so(ORDERS, ready(*["a"] * run), 100.0)


@given(ANSWERS_S, FEW)
def test_events_of_one_key_are_if_they_would_await_each_other_for_longer(answer_s: float, run: int) -> None:
    assert after([answer_s] * 3).is_so(ORDERS, ready("b", *["a"] * run), 100.0) is (
        (run - 1) * answer_s > 0.01 or run + 1 == BACKLOG
    )


@given(st.lists(ANSWERS_S), st.floats(0, 0.001))
def test_one_soon_answer_says_that_the_stream_is_near(answers: list[float], soon: float) -> None:
    assert not after([*answers, soon]).is_so(ORDERS, ready(*["a"] * 8), 100.0)
    assert not after([soon, *answers]).is_so(ORDERS, ready(*["a"] * 8), 100.0)


@given(st.floats(0.011, 10), st.floats(0, 5), st.floats(5.001, 1000))
def test_what_was_learnt_is_true_for_five_seconds(answer_s: float, soon: float, later: float) -> None:
    worth = after([answer_s] * 3)
    assert worth.is_so(ORDERS, ready("a", "b"), 100.0 + soon)
    assert not worth.is_so(ORDERS, ready("a", "b"), 100.0 + later)
    worth.answered("ORDERS", 0.001, 100.0 + later)
    assert not worth.is_so(ORDERS, ready("a", "b"), 100.0 + later)


@given(st.lists(ANSWERS_S, max_size=2), FEW)
def test_one_or_two_late_answers_say_nothing(answers: list[float], run: int) -> None:
    assert not after(answers).is_so(ORDERS, ready(*["a"] * run), 100.0)
    # Nor do they if all went in batches before, and that is to be learnt again.
    worth = after([10.0] * 3)
    for seconds in answers:
        worth.answered("ORDERS", seconds, 105.1)
    assert not worth.is_so(ORDERS, ready(*["a"] * run), 105.1)


@given(st.floats(0.011, 10), st.floats(5.001, 10), st.floats(0, 5))
def test_an_answer_is_soon_enough_for_the_five_seconds_after_its_own_too(late: float, then: float, on: float) -> None:
    worth = after([0.001] * 3)
    for _ in range(3):
        worth.answered("ORDERS", late, 100.0 + then)
    assert not worth.is_so(ORDERS, ready(*["a"] * 8), 100.0 + then + on)
    for _ in range(3):
        worth.answered("ORDERS", late, 100.0 + then + 5.001)
    assert worth.is_so(ORDERS, ready(*["a"] * 8), 100.0 + then + 5.001)


@pytest.mark.parametrize("always", [True, False])
def test_if_the_server_keeps_batches_in_memory_or_the_settings_insist_two_events_are(always: bool) -> None:
    stream = StreamFacts("ORDERS", ("orders.>",), atomic=True, batches_in_files=always)
    assert WorthABatch(always=always).is_so(stream, ready("a", "b"), 100.0)


@pytest.mark.parametrize("always", [True, False])
def test_a_stream_that_takes_no_batches_gets_none(always: bool) -> None:
    stream = StreamFacts("ORDERS", ("orders.>",), atomic=False)
    assert not WorthABatch(always=always).is_so(stream, of_different_keys(BACKLOG), 100.0)
