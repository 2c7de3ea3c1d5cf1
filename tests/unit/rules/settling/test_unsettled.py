"""The unsettled: what is neither delivered nor dead, as far as it was read."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.event import Event
from relay.rules.settling.unsettled import Unsettled


def event(seq: int, *, key: str | None = "a", payload: bytes = b"{}") -> Event:
    return Event(seq, f"id-{seq}", "orders.placed", key, payload, None, 1000.0 + seq, 0, False)


def test_what_is_known_is_not_taken_in_twice() -> None:
    unsettled = Unsettled()
    assert unsettled.take_in([event(1), event(3)]) == [event(1), event(3)]
    assert unsettled.take_in([event(1), event(2), event(3)]) == [event(2)]
    assert unsettled.payload_bytes == sum(event(seq).size for seq in (1, 2, 3))


def test_the_lowest_is_of_what_is_in_memory_or_postponed() -> None:
    unsettled = Unsettled()
    assert unsettled.lowest() is None and unsettled.oldest_created_at() is None
    unsettled.take_in([event(2), event(3)])
    unsettled.postpone(event(2))
    assert unsettled.lowest() == 2
    assert unsettled.oldest_created_at() == 1002.0
    unsettled.forget([event(3)])
    assert unsettled.lowest() == 2


def test_a_late_commit_is_the_lowest_though_it_came_last() -> None:
    unsettled = Unsettled()
    unsettled.take_in([event(7)])
    unsettled.take_in([event(4)])
    assert unsettled.lowest() == 4


def test_what_is_settled_while_a_read_is_under_way_is_not_taken_in_again_by_it() -> None:
    unsettled = Unsettled()
    unsettled.take_in([event(1)])
    with unsettled.reading():
        unsettled.forget([event(1)])
        assert unsettled.knows(1)
        assert unsettled.take_in([event(1), event(2)]) == [event(2)]
        assert not unsettled.come_back(event(1))


def test_what_is_settled_before_another_read_begins_is_not_taken_in_again_by_the_first() -> None:
    unsettled = Unsettled()
    unsettled.take_in([event(1)])
    with unsettled.reading():
        unsettled.forget([event(1)])
        with unsettled.reading():
            unsettled.take_in([event(2)])
        assert unsettled.take_in([event(1), event(3)]) == [event(3)]


def test_a_read_that_fails_leaves_nothing_to_the_next_one() -> None:
    unsettled = Unsettled()
    unsettled.take_in([event(1)])
    with suppress(TimeoutError), unsettled.reading():
        unsettled.forget([event(1)])
        raise TimeoutError
    with unsettled.reading():
        assert unsettled.take_in([event(1)]) == [event(1)]


def test_what_was_dropped_is_taken_in_by_the_next_read() -> None:
    unsettled = Unsettled()
    unsettled.take_in([event(1)])
    unsettled.forget([event(1)])
    with unsettled.reading():
        assert unsettled.take_in([event(1)]) == [event(1)]


def test_a_postponed_event_waits_for_its_retry_and_comes_back_once() -> None:
    unsettled = Unsettled()
    unsettled.take_in([event(1, payload=b"12345")])
    unsettled.postpone(event(1, payload=b"12345"))
    assert unsettled.payload_bytes == 0
    assert unsettled.postponed == {1: ("a", 1001.0)}
    with unsettled.reading():
        assert unsettled.take_in([event(1, payload=b"12345")]) == []
    assert unsettled.come_back(event(1, payload=b"12345"))
    assert not unsettled.come_back(event(1, payload=b"12345"))
    assert unsettled.postponed == {}
    assert unsettled.payload_bytes == event(1, payload=b"12345").size


def test_a_retry_that_was_read_before_it_was_postponed_does_not_come_back() -> None:
    unsettled = Unsettled()
    unsettled.take_in([event(1)])
    with unsettled.reading():
        unsettled.postpone(event(1))
        assert not unsettled.come_back(event(1))
    with unsettled.reading():
        assert unsettled.come_back(event(1))


def test_settling_twice_counts_once() -> None:
    unsettled = Unsettled()
    unsettled.take_in([event(1), event(2)])
    unsettled.forget([event(1)])
    unsettled.forget([event(1)])
    assert unsettled.payload_bytes == event(2).size


@dataclass
class Row:
    """A row of the outbox, and whether its retry is noted there."""

    event: Event
    postponed: bool = False


class UnsettledUnderFire(RuleBasedStateMachine):
    """Reads that take time, while what they return is settled, postponed and dropped.

    Attributes:
        outbox: What is pending in the database.
        ours: What was taken in and has no outcome; each of it would be sent.
        waiting: What is postponed.
        read: What a read that is under way will return, as the database was at its beginning.
        retries: The same of a read of the retries that are due.
        spans: Those reads that are under way, the first one at the bottom.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unsettled = Unsettled()
        self.outbox: dict[int, Row] = {}
        self.ours: set[int] = set()
        self.waiting: set[int] = set()
        self.read: list[Event] | None = None
        self.retries: list[Event] | None = None
        self.spans: list[AbstractContextManager[None]] = []

    def _begin(self) -> None:
        self.spans.append(self.unsettled.reading())
        self.spans[-1].__enter__()

    def _end(self) -> None:
        self.spans.pop().__exit__(None, None, None)

    def _idle(self) -> bool:
        return self.read is None and self.retries is None

    @rule(seq=st.integers(1, 30), size=st.integers(0, 9))
    def commit(self, seq: int, size: int) -> None:
        if seq not in self.outbox and self._idle():
            self.outbox[seq] = Row(event(seq, payload=b"x" * size))

    @precondition(lambda self: self.read is None)
    @rule()
    def begin_read(self) -> None:
        self._begin()
        self.read = [self.outbox[seq].event for seq in sorted(self.outbox)]

    @precondition(lambda self: self.retries is None)
    @rule()
    def begin_read_of_retries(self) -> None:
        self._begin()
        self.retries = [row.event for row in self.outbox.values() if row.postponed]

    @precondition(lambda self: self.read is not None)
    @rule()
    def end_read(self) -> None:
        assert self.read is not None
        known = {one.seq for one in self.read if self.unsettled.knows(one.seq)}
        new = self.unsettled.take_in(self.read)
        assert [one.seq for one in new] == sorted({one.seq for one in self.read} - known)
        for one in new:
            assert one.seq not in self.ours | self.waiting
            # Only what is still pending may be sent.
            assert one.seq in self.outbox
            self.ours.add(one.seq)
        self.read = None
        self._end()

    @precondition(lambda self: self.retries is not None)
    @rule()
    def end_read_of_retries(self) -> None:
        assert self.retries is not None
        for one in self.retries:
            if self.unsettled.come_back(one):
                assert one.seq in self.waiting
                self.waiting.remove(one.seq)
                self.outbox[one.seq].postponed = False
                self.ours.add(one.seq)
        self.retries = None
        self._end()

    @precondition(lambda self: self.ours)
    @rule(which=st.integers(0, 99), many=st.integers(1, 3))
    def settle(self, which: int, many: int) -> None:
        seqs = (sorted(self.ours) * 2)[which % len(self.ours) :][: min(many, len(self.ours))]
        self.unsettled.forget([self.outbox.pop(seq).event for seq in seqs])
        self.ours.difference_update(seqs)

    @precondition(lambda self: self.ours)
    @rule(which=st.integers(0, 99))
    def drop(self, which: int) -> None:
        seq = sorted(self.ours)[which % len(self.ours)]
        self.unsettled.forget([self.outbox[seq].event])
        self.ours.remove(seq)

    @precondition(lambda self: self.ours)
    @rule(which=st.integers(0, 99))
    def postpone(self, which: int) -> None:
        seq = sorted(self.ours)[which % len(self.ours)]
        self.outbox[seq].postponed = True
        self.unsettled.postpone(self.outbox[seq].event)
        self.ours.remove(seq)
        self.waiting.add(seq)

    @invariant()
    def the_unsettled_hold_what_has_no_outcome(self) -> None:
        assert set(self.unsettled.in_memory) == self.ours
        assert set(self.unsettled.postponed) == self.waiting
        assert self.unsettled.payload_bytes == sum(self.outbox[seq].event.size for seq in self.ours)
        lowest = min(self.ours | self.waiting, default=None)
        assert self.unsettled.lowest() == lowest
        assert self.unsettled.oldest_created_at() == (None if lowest is None else 1000.0 + lowest)
        assert all(self.unsettled.knows(seq) for seq in self.ours | self.waiting)

    def teardown(self) -> None:
        """One more read of each kind leaves nothing pending unknown."""
        while self.spans:
            self._end()
        with self.unsettled.reading():
            self.unsettled.take_in([row.event for row in self.outbox.values()])
        assert set(self.unsettled.in_memory) | set(self.unsettled.postponed) == set(self.outbox)


TestUnsettledUnderFire = UnsettledUnderFire.TestCase
TestUnsettledUnderFire.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
