"""What is tried are exactly the deliveries that the stream permits, and a difference is shown."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.projection.testing.history import Sent, event, messages, numbered
from relay.projection.testing.variants import Outcome, boundaries, difference, interleaved, variants

EVENTS = st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=20).map(
    lambda keys: numbered([event("orders.placed", {"i": place}, key=key) for place, key in enumerate(keys)])
)


def by_key(events: tuple[Sent, ...] | list[Sent]) -> dict[str, list[int | None]]:
    found: dict[str, list[int | None]] = {}
    for one in events:
        if one.key is not None:
            found.setdefault(one.key, []).append(one.seq)
    return found


@given(events=EVENTS, seed=st.integers(0, 100))
def test_interleaving_keeps_every_event_and_the_order_of_each_key(events: list[Sent], seed: int) -> None:
    found = interleaved(events, random.Random(seed))
    assert Counter(one.seq for one in found) == Counter(one.seq for one in events)
    assert by_key(found) == by_key(events)


@given(count=st.integers(0, 200), seed=st.integers(0, 100))
def test_batches_hold_every_event_once(count: int, seed: int) -> None:
    sizes = boundaries(count, random.Random(seed))
    assert sum(sizes) == count and all(size > 0 for size in sizes)


@given(events=EVENTS)
def test_every_kind_of_trouble_and_other_orders_are_tried(events: list[Sent]) -> None:
    tried = list(variants(events, 12, 0))
    assert tried[0].sizes == (1,) * len(events) and tried[0].trouble == "none"
    assert {one.trouble for one in tried} == {"none", "crash", "set back"}
    assert tried == list(variants(events, 12, 0))


def test_an_event_keeps_its_seq_and_time_wherever_it_comes() -> None:
    events = numbered([event("t", key="a"), event("t", key="b", seq=9), event("t", b"\xff")])
    forth, back = messages(events), messages(events[::-1])
    assert [one.seq for one in forth] == [1, 9, 3] == [one.seq for one in reversed(back)]
    assert [one.at for one in forth] == [one.at for one in reversed(back)]
    assert [one.stream_seq for one in back] == [1, 2, 3]
    assert "UTF-8" in (forth[2].fault or "")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Outcome({"t": [(1,), (2,)]}, ()), None),
        (Outcome({"t": [(1,), (3,)]}, ()), "table t:\n  - 2\n  + 3"),
        (Outcome({"t": [(1,), (2,), (2,)]}, ()), "more than once"),
        (Outcome({}, ()), "table t:\n  - 1"),
        (Outcome({"t": [(1,), (2,)]}, (4,)), "parked"),
    ],
)
def test_a_difference_is_shown(found: Outcome, said: str | None) -> None:
    shown = difference(Outcome({"t": [(1,), (2,)]}, ()), found)
    assert shown is None if said is None else said in (shown or "")
