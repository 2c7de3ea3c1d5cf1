"""The books: what is neither delivered nor dead, as far as it was read."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.event import Event
from relay.rules.unsettled import Books


def event(seq: int, *, key: str | None = "a", payload: bytes = b"{}") -> Event:
    return Event(seq, f"id-{seq}", "orders.placed", key, payload, None, 1000.0 + seq, 0, False)


def test_what_is_known_is_not_taken_in_twice() -> None:
    books = Books()
    assert books.take_in([event(1), event(3)]) == [event(1), event(3)]
    assert books.take_in([event(1), event(2), event(3)]) == [event(2)]
    assert books.payload_bytes == 6


def test_the_lowest_is_of_what_is_in_memory_or_postponed() -> None:
    books = Books()
    assert books.lowest() is None and books.oldest_created_at() is None
    books.take_in([event(2), event(3)])
    books.postpone(event(2))
    assert books.lowest() == 2
    assert books.oldest_created_at() == 1002.0
    books.settle([event(3)])
    assert books.lowest() == 2


def test_a_late_commit_is_the_lowest_though_it_came_last() -> None:
    books = Books()
    books.take_in([event(7)])
    books.take_in([event(4)])
    assert books.lowest() == 4


def test_what_is_settled_while_a_read_is_under_way_is_not_taken_in_again_by_it() -> None:
    books = Books()
    books.take_in([event(1)])
    books.begin_read()
    books.settle([event(1)])
    assert books.knows(1)
    assert books.take_in([event(1), event(2)]) == [event(2)]
    assert not books.come_back(event(1))


def test_what_was_dropped_is_taken_in_by_the_next_read() -> None:
    books = Books()
    books.take_in([event(1)])
    books.settle([event(1)])
    books.begin_read()
    assert books.take_in([event(1)]) == [event(1)]


def test_a_postponed_event_waits_for_its_retry_and_comes_back_once() -> None:
    books = Books()
    books.take_in([event(1, payload=b"12345")])
    books.postpone(event(1, payload=b"12345"))
    assert books.payload_bytes == 0
    assert books.postponed == {1: ("a", 1001.0)}
    books.begin_read()
    assert books.take_in([event(1, payload=b"12345")]) == []
    assert books.come_back(event(1, payload=b"12345"))
    assert not books.come_back(event(1, payload=b"12345"))
    assert books.postponed == {}
    assert books.payload_bytes == 5


def test_a_retry_that_was_read_before_it_was_postponed_does_not_come_back() -> None:
    books = Books()
    books.take_in([event(1)])
    books.begin_read()
    books.postpone(event(1))
    assert not books.come_back(event(1))
    books.begin_read()
    assert books.come_back(event(1))


def test_settling_twice_counts_once() -> None:
    books = Books()
    books.take_in([event(1), event(2)])
    books.settle([event(1)])
    books.settle([event(1)])
    assert books.payload_bytes == 2


@dataclass
class Row:
    """A row of the outbox, and whether its retry is noted there."""

    event: Event
    postponed: bool = False


class BooksUnderFire(RuleBasedStateMachine):
    """Reads that take time, while what they return is settled, postponed and dropped.

    Attributes:
        outbox: What is pending in the database.
        ours: What was taken in and has no outcome; each of it would be sent.
        waiting: What is postponed.
        read: What a read that is under way will return, as the database was at its beginning.
        retries: The same of a read of the retries that are due.
    """

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.outbox: dict[int, Row] = {}
        self.ours: set[int] = set()
        self.waiting: set[int] = set()
        self.read: list[Event] | None = None
        self.retries: list[Event] | None = None

    def _idle(self) -> bool:
        return self.read is None and self.retries is None

    @rule(seq=st.integers(1, 30), size=st.integers(0, 9))
    def commit(self, seq: int, size: int) -> None:
        if seq not in self.outbox and self._idle():
            self.outbox[seq] = Row(event(seq, payload=b"x" * size))

    @precondition(lambda self: self._idle())
    @rule()
    def begin_read(self) -> None:
        self.books.begin_read()
        self.read = [self.outbox[seq].event for seq in sorted(self.outbox)]

    @precondition(lambda self: self._idle())
    @rule()
    def begin_read_of_retries(self) -> None:
        self.books.begin_read()
        self.retries = [row.event for row in self.outbox.values() if row.postponed]

    @precondition(lambda self: self.read is not None)
    @rule()
    def end_read(self) -> None:
        assert self.read is not None
        known = {one.seq for one in self.read if self.books.knows(one.seq)}
        new = self.books.take_in(self.read)
        assert [one.seq for one in new] == sorted({one.seq for one in self.read} - known)
        for one in new:
            assert one.seq not in self.ours | self.waiting
            # Only what is still pending may be sent.
            assert one.seq in self.outbox
            self.ours.add(one.seq)
        self.read = None

    @precondition(lambda self: self.retries is not None)
    @rule()
    def end_read_of_retries(self) -> None:
        assert self.retries is not None
        for one in self.retries:
            if self.books.come_back(one):
                assert one.seq in self.waiting
                self.waiting.remove(one.seq)
                self.outbox[one.seq].postponed = False
                self.ours.add(one.seq)
        self.retries = None

    @precondition(lambda self: self.ours)
    @rule(which=st.integers(0, 99), many=st.integers(1, 3))
    def settle(self, which: int, many: int) -> None:
        seqs = (sorted(self.ours) * 2)[which % len(self.ours) :][: min(many, len(self.ours))]
        self.books.settle([self.outbox.pop(seq).event for seq in seqs])
        self.ours.difference_update(seqs)

    @precondition(lambda self: self.ours)
    @rule(which=st.integers(0, 99))
    def drop(self, which: int) -> None:
        seq = sorted(self.ours)[which % len(self.ours)]
        self.books.settle([self.outbox[seq].event])
        self.ours.remove(seq)

    @precondition(lambda self: self.ours)
    @rule(which=st.integers(0, 99))
    def postpone(self, which: int) -> None:
        seq = sorted(self.ours)[which % len(self.ours)]
        self.outbox[seq].postponed = True
        self.books.postpone(self.outbox[seq].event)
        self.ours.remove(seq)
        self.waiting.add(seq)

    @invariant()
    def the_books_hold_what_has_no_outcome(self) -> None:
        assert set(self.books.unsettled) == self.ours
        assert set(self.books.postponed) == self.waiting
        assert self.books.payload_bytes == sum(len(self.outbox[seq].event.payload) for seq in self.ours)
        lowest = min(self.ours | self.waiting, default=None)
        assert self.books.lowest() == lowest
        assert self.books.oldest_created_at() == (None if lowest is None else 1000.0 + lowest)
        assert all(self.books.knows(seq) for seq in self.ours | self.waiting)

    def teardown(self) -> None:
        """One more read of each kind leaves nothing pending unknown."""
        self.books.begin_read()
        self.books.take_in([row.event for row in self.outbox.values()])
        assert set(self.books.unsettled) | set(self.books.postponed) == set(self.outbox)


TestBooksUnderFire = BooksUnderFire.TestCase
TestBooksUnderFire.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
