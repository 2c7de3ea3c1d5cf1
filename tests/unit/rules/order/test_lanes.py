"""Lanes: one event of a key out at a time, each key in its order, and nothing lost."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.order.lanes import Lanes

KEYS = ("a", "b", "c", None)


def event(seq: int, key: str | None = "a") -> Event:
    return Event(seq, f"id-{seq}", "orders.placed", key, b"{}", None, 0.0, 0, False)


def seqs(events: Sequence[Event]) -> list[int]:
    return [one.seq for one in events]


def offered(lanes: Lanes, *events: Event) -> list[int]:
    """Offer events; return the seqs of those that were dropped."""
    return seqs(lanes.offer(events))


def test_a_key_has_one_event_out() -> None:
    lanes = Lanes()
    offered(lanes, event(1), event(2), event(3, "b"))
    assert seqs(lanes.take(10)) == [1, 3]
    assert lanes.take(10) == []
    lanes.release(event(1))
    assert seqs(lanes.take(10)) == [2]


def test_events_without_a_key_wait_for_nothing() -> None:
    lanes = Lanes()
    offered(lanes, event(1, None), event(2, None), event(3, None))
    assert seqs(lanes.take(2)) == [1, 2]
    assert seqs(lanes.take(2)) == [3]
    assert not lanes.busy(None)


def test_a_batch_takes_the_run_of_a_key_in_its_order() -> None:
    lanes = Lanes()
    offered(lanes, event(1), event(2, "b"), event(3), event(4, "b"), event(5))
    assert seqs(lanes.take_runs(10)) == [1, 3, 5, 2, 4]
    assert len(lanes) == 0


def test_one_event_without_another_of_its_key_needs_no_batch() -> None:
    lanes = Lanes()
    assert lanes.head_of_batch() is None
    lanes.offer([event(1, "a")])
    assert lanes.head_of_batch() is None
    lanes.offer([event(2, "a")])
    assert lanes.head_of_batch() == event(1, "a")
    assert [one.seq for one in lanes.take_runs(10)] == [1, 2]
    lanes.offer([event(3, None)])
    assert lanes.head_of_batch() is None
    lanes.offer([event(4, "b")])
    assert lanes.head_of_batch() == event(3, None)


def test_what_a_batch_would_take_is_known_before() -> None:
    lanes = Lanes()
    assert lanes.next_batch(10) == (0, 0)
    offered(lanes, event(1), event(2, "b"), event(3), event(4, None), event(5))
    assert lanes.next_batch(10) == (5, 3)
    assert lanes.next_batch(4) == (4, 3)
    assert lanes.next_batch(3) == (3, 1)
    lanes.bar("a")
    assert lanes.next_batch(10) == (3, 1)
    assert Lanes(ordered=False).next_batch(10) == (0, 1)


def test_a_batch_that_is_full_leaves_the_rest_of_a_run_behind_it() -> None:
    lanes = Lanes()
    offered(lanes, event(1), event(2), event(3), event(4, "b"))
    run = lanes.take_runs(2)
    assert seqs(run) == [1, 2]
    assert seqs(lanes.take_runs(10)) == [4]
    lanes.release(run[0])
    assert seqs(lanes.take_runs(10)) == [3]


def test_a_refused_batch_goes_one_by_one_in_its_order_and_before_all_others() -> None:
    lanes = Lanes()
    offered(lanes, event(1), event(2), event(3, "b"))
    run = lanes.take_runs(2)
    offered(lanes, event(4), event(5, "c"))
    lanes.put_back(run, alone=True)
    assert seqs(lanes.take(10)) == [1, 3, 5]
    lanes.release(event(1))
    assert seqs(lanes.take(10)) == [2]
    lanes.release(event(2))
    assert seqs(lanes.take(10)) == [4]


def test_a_batch_never_takes_what_must_go_alone() -> None:
    lanes = Lanes()
    offered(lanes, event(1), event(2, "b"), event(3, "c"))
    lanes.put_back([lanes.take(1)[0]], alone=True)
    assert lanes.head_of_batch() is None
    assert seqs(lanes.take_runs(10)) == [2, 3]
    assert seqs(lanes.take(10)) == [1]


def test_what_was_put_back_is_the_next_to_go() -> None:
    lanes = Lanes()
    offered(lanes, *(event(seq, None) for seq in range(1, 6)))
    lanes.put_back(lanes.take(3))
    assert seqs(lanes.take(10)) == [1, 2, 3, 4, 5]


def test_the_rest_of_a_run_that_did_not_fit_follows_what_was_sent() -> None:
    lanes = Lanes()
    offered(lanes, *(event(seq) for seq in range(1, 6)))
    run = lanes.take_runs(4)
    lanes.requeue(run[2:])
    lanes.release(run[0])
    assert seqs(lanes.take_runs(10)) == [3, 4, 5]


def test_a_refused_batch_whose_rest_was_left_keeps_its_order() -> None:
    lanes = Lanes()
    offered(lanes, *(event(seq) for seq in range(1, 6)))
    run = lanes.take_runs(4)
    lanes.requeue(run[2:])
    lanes.put_back(run[:2], alone=True)
    sent = []
    while len(lanes):
        [one] = lanes.take(10)
        sent.append(one.seq)
        lanes.release(one)
    assert sent == [1, 2, 3, 4, 5]


def test_a_stuck_key_waits_and_the_others_flow() -> None:
    lanes = Lanes()
    offered(lanes, event(1), event(2), event(3, "b"), event(4, "b"))
    for one in lanes.take(10):
        if one.key == "a":
            lanes.stick(one)
        else:
            lanes.release(one)
    assert seqs(lanes.take(10)) == [4]
    assert lanes.stuck_events == 1
    lanes.put_back([event(1)], alone=True)
    assert lanes.stuck_events == 0
    assert seqs(lanes.take(10)) == [1]


def test_a_key_can_be_shut_before_its_first_event_and_opened_again() -> None:
    lanes = Lanes()
    lanes.stick_key("a")
    assert lanes.busy("a")
    offered(lanes, event(1), event(2))
    assert len(lanes) == 0
    assert lanes.stuck_events == 2
    lanes.release_key("a")
    assert seqs(lanes.take(10)) == [1]
    assert lanes.stuck_events == 0


def test_a_key_that_was_shut_and_opened_with_nothing_behind_it_is_free() -> None:
    lanes = Lanes()
    lanes.stick_key("a")
    lanes.release_key("a")
    assert not lanes.busy("a")
    offered(lanes, event(1))
    assert seqs(lanes.take(10)) == [1]


def stuck_with(*queued: int, stuck_limit: int) -> Lanes:
    """Make lanes in which key a waits behind event 1, and the others were offered afterwards."""
    lanes = Lanes(stuck_limit=stuck_limit)
    offered(lanes, event(1))
    lanes.stick(lanes.take(1)[0])
    offered(lanes, *(event(seq) for seq in queued))
    return lanes


def test_behind_stuck_keys_only_so_many_events_stay_in_memory() -> None:
    lanes = stuck_with(2, 3, stuck_limit=2)
    assert offered(lanes, event(4), event(5), event(6, "b")) == [4, 5]
    assert lanes.overflow_from == 4
    assert seqs(lanes.take(10)) == [6]


def test_where_memory_is_short_nothing_more_queues_behind_a_stuck_key() -> None:
    lanes = stuck_with(2, stuck_limit=10)
    assert seqs(lanes.offer([event(3), event(4, "b"), event(5, "b")], crowded=True)) == [3]
    assert seqs(lanes.take(10)) == [4]


def test_after_one_was_dropped_no_later_event_of_the_key_is_taken_in() -> None:
    lanes = stuck_with(stuck_limit=10)
    assert seqs(lanes.offer([event(2)], crowded=True)) == [2]
    assert offered(lanes, event(3)) == [3]


def test_a_key_that_flows_again_takes_nothing_newer_than_what_was_dropped() -> None:
    lanes = stuck_with(2, 3, stuck_limit=1)
    assert lanes.overflow_from == 3
    lanes.release(event(1))
    assert offered(lanes, event(4)) == [4]
    assert seqs(lanes.take(10)) == [2]
    lanes.release(event(2))
    assert lanes.take(10) == []
    assert lanes.can_resume
    assert lanes.begin_again() == 3
    offered(lanes, event(3), event(4))
    assert seqs(lanes.take(10)) == [3]


def test_a_key_whose_memory_ran_dry_stays_shut_until_the_outbox_is_read_again() -> None:
    lanes = stuck_with(2, 3, 4, stuck_limit=1)
    lanes.release(event(1))
    assert not lanes.can_resume
    assert seqs(lanes.take(10)) == [2]
    lanes.release(event(2))
    assert lanes.can_resume
    assert offered(lanes, event(5)) == [5]
    assert len(lanes) == 0
    assert lanes.begin_again() == 3
    assert lanes.overflow_from is None and not lanes.can_resume
    assert offered(lanes, event(3), event(4), event(5)) == []
    assert seqs(lanes.take_runs(10)) == [3, 4, 5]


def test_beginning_again_where_nothing_was_dropped_changes_nothing() -> None:
    lanes = stuck_with(2, stuck_limit=10)
    assert lanes.begin_again() is None
    assert lanes.stuck_events == 1
    lanes.release(event(1))
    assert seqs(lanes.take(10)) == [2]


def test_a_head_that_is_dropped_takes_its_queue_along_and_shuts_the_lane() -> None:
    lanes = Lanes()
    offered(lanes, event(1), event(2), event(3, "b"))
    head = lanes.take(1)[0]
    assert seqs(lanes.drop_head(head)) == [1, 2]
    assert offered(lanes, event(4)) == [4]
    assert lanes.stuck_events == 0
    assert lanes.begin_again() == 1
    assert offered(lanes, event(1), event(2), event(4)) == []
    assert seqs(lanes.take_runs(10)) == [3, 1, 2, 4]


def test_an_event_without_a_key_is_dropped_alone() -> None:
    lanes = Lanes()
    offered(lanes, event(1, None), event(2, None))
    assert seqs(lanes.drop_head(lanes.take(1)[0])) == [1]
    assert lanes.begin_again() == 1
    assert seqs(lanes.take(10)) == [2]


def test_a_key_that_is_shut_while_its_head_is_ready_leaves_no_count_behind() -> None:
    lanes = Lanes()
    offered(lanes, event(1), event(2), event(3))
    lanes.stick_key("a")
    run = lanes.take_runs(10)
    lanes.release(run[0])
    assert len(run) + len(lanes.take_runs(10)) == 3
    assert lanes.stuck_events == 0


@given(st.lists(st.sampled_from(KEYS), max_size=20), st.integers(1, 8), st.booleans())
def test_without_order_every_event_is_ready_at_once(keys: list[str | None], limit: int, runs: bool) -> None:
    lanes = Lanes(ordered=False, stuck_limit=0)
    events = [event(seq, key) for seq, key in enumerate(keys, 1)]
    assert lanes.offer(events, crowded=True) == []
    assert len(lanes) == len(events)
    taken = lanes.take_runs(limit) if runs else lanes.take(limit)
    assert taken == events[:limit]
    lanes.put_back(taken)
    assert lanes.take(100) == events
    for one in events:
        lanes.stick(one)
    assert not any(lanes.busy(key) for key in KEYS)
    assert lanes.stuck_events == 0


@pytest.mark.parametrize("key", ["a", None])
def test_without_order_what_did_not_fit_into_a_batch_is_ready_at_once(key: str | None) -> None:
    lanes = Lanes(ordered=False)
    offered(lanes, event(1, key), event(2, key), event(3, "b"))
    taken = lanes.take_runs(2)
    lanes.requeue(taken[1:])
    lanes.release(taken[0])
    assert seqs(lanes.take(10)) == [2, 3]


def test_what_queues_behind_a_stuck_head_is_dropped_and_comes_back_in_its_order() -> None:
    lanes = Lanes()
    lanes.offer([event(seq) for seq in (1, 2, 3)])
    (head,) = lanes.take(1)
    assert lanes.drop_queue("a") == [], "its head may be on its way"
    lanes.stick(head)
    assert seqs(list(lanes.queued())) == [2, 3]
    assert seqs(lanes.drop_queue("a")) == [2, 3]
    assert (lanes.stuck_events, lanes.stuck_bytes, lanes.overflow_from) == (0, 0, 2)
    assert seqs(lanes.offer([event(4)])) == [4], "it would overtake them"
    assert lanes.begin_again() == 2
    lanes.offer([event(seq) for seq in (2, 3, 4)])
    lanes.release(head)
    for seq in (2, 3, 4):
        (taken,) = lanes.take(5)
        assert taken.seq == seq
        lanes.release(taken)
