"""The law of lanes: each key leaves in its order, one event or one run at a time, and nothing is lost."""

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.event import Event
from relay.lanes import Lanes


def event(seq: int, key: str | None) -> Event:
    return Event(seq, str(seq), "t", key, b"", None, 0.0, 0, False)


class LanesMachine(RuleBasedStateMachine):
    """Offers events, takes them, and settles them, gives them back, lets them stick, or drops them."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(stuck_limit=5)
        self.seq = 0
        self.out: list[list[Event]] = []
        self.stuck: list[Event] = []
        self.settled: dict[str | None, list[int]] = defaultdict(list)
        self.all: dict[int, Event] = {}
        self.dropped: set[int] = set()

    @rule(keys=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=6))
    def offer(self, keys: list[str | None]) -> None:
        events = []
        for key in keys:
            self.seq += 1
            events.append(event(self.seq, key))
            self.all[self.seq] = events[-1]
        self.dropped |= {one.seq for one in self.lanes.offer(events)}

    @rule(limit=st.integers(1, 4))
    def take(self, limit: int) -> None:
        self.out += [[one] for one in self.lanes.take(limit)]

    @rule(limit=st.integers(1, 6))
    def take_runs(self, limit: int) -> None:
        taken = self.lanes.take_runs(limit)
        if taken:
            self.out.append(taken)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 9))
    def settle(self, which: int) -> None:
        batch = self.out.pop(which % len(self.out))
        for one in batch:
            self.settled[one.key].append(one.seq)
        for key in {one.key for one in batch if one.key is not None}:
            self.lanes.release_key(key)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 9), alone=st.booleans())
    def put_back(self, which: int, alone: bool) -> None:
        self.lanes.put_back(self.out.pop(which % len(self.out)), alone=alone)

    @precondition(lambda self: any(len(batch) == 1 for batch in self.out))
    @rule(which=st.integers(0, 9))
    def stick(self, which: int) -> None:
        singles = [batch for batch in self.out if len(batch) == 1]
        batch = singles[which % len(singles)]
        self.out.remove(batch)
        self.lanes.stick(batch[0])
        self.stuck.append(batch[0])

    @precondition(lambda self: self.stuck)
    @rule(which=st.integers(0, 9))
    def resume(self, which: int) -> None:
        self.lanes.put_back([self.stuck.pop(which % len(self.stuck))], alone=True)

    @precondition(lambda self: any(len(batch) == 1 for batch in self.out))
    @rule(which=st.integers(0, 9))
    def drop_head(self, which: int) -> None:
        singles = [batch for batch in self.out if len(batch) == 1]
        batch = singles[which % len(singles)]
        self.out.remove(batch)
        self.dropped |= {one.seq for one in self.lanes.drop_head(batch[0])}

    @rule()
    def begin_again(self) -> None:
        start = self.lanes.begin_again()
        assert (start is None) == (not self.dropped)
        if start is not None:
            assert start <= min(self.dropped)
            again = [self.all[seq] for seq in sorted(self.dropped)]
            self.dropped = {one.seq for one in self.lanes.offer(again)}

    @invariant()
    def each_key_is_out_once(self) -> None:
        keys = [key for batch in self.out for key in {one.key for one in batch} if key is not None]
        keys += [one.key for one in self.stuck if one.key is not None]
        assert len(keys) == len(set(keys))

    @invariant()
    def each_key_is_settled_in_order(self) -> None:
        for key, seqs in self.settled.items():
            if key is not None:
                assert seqs == sorted(set(seqs))

    @invariant()
    def what_was_dropped_is_remembered(self) -> None:
        assert (self.lanes.overflow_from is None) == (not self.dropped)
        assert self.lanes.overflow_from is None or self.lanes.overflow_from <= min(self.dropped)

    def teardown(self) -> None:
        """Everything leaves in the end."""
        while self.out:
            self.settle(0)
        while self.stuck:
            self.resume(0)
        for _ in range(2 * len(self.all) + 2):
            while len(self.lanes):
                self.take(10)
                while self.out:
                    self.settle(0)
            self.begin_again()
        assert sorted(seq for seqs in self.settled.values() for seq in seqs) == sorted(self.all)
        self.each_key_is_settled_in_order()
        assert self.lanes.stuck_events == 0


TestLanes = LanesMachine.TestCase
TestLanes.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_without_order_every_event_is_ready_at_once() -> None:
    lanes = Lanes(ordered=False)
    lanes.offer([event(seq, "a") for seq in range(5)])
    assert [one.seq for one in lanes.take(10)] == [0, 1, 2, 3, 4]


def test_a_run_is_as_long_as_there_is_room() -> None:
    lanes = Lanes()
    lanes.offer([event(1, "a"), event(2, "b"), event(3, "a"), event(4, "a")])
    assert [one.seq for one in lanes.take_runs(3)] == [1, 3, 4]
    assert [one.seq for one in lanes.take_runs(3)] == [2]


@pytest.mark.parametrize("crowded", [False, True])
def test_behind_a_stuck_lane_there_is_room_only_while_memory_lasts(crowded: bool) -> None:
    lanes = Lanes(stuck_limit=2)
    head = event(1, "a")
    lanes.offer([head])
    lanes.take(1)
    lanes.stick(head)
    dropped = lanes.offer([event(seq, "a") for seq in range(2, 7)], crowded=crowded)
    assert [one.seq for one in dropped] == ([2, 3, 4, 5, 6] if crowded else [4, 5, 6])
    assert lanes.overflow_from == dropped[0].seq
