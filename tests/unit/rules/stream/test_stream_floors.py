"""What is in doubt, when a stream has forgotten it, and from where on to look for it."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.rules.sending.in_doubt import InDoubt
from relay.rules.stream.stream_floors import Floors, Mark

WINDOW_S = 120.0


def to_s(_subject: str, _moment: float) -> set[str]:
    """Take it that one stream took every subject at all times."""
    return {"S"}


def test_the_sum_of_marks_says_how_much_was_marked() -> None:
    floors = Floors()
    assert floors.sum_of_marks() == 0
    floors.marked("A", 1, Mark(10, "x"))
    floors.marked("B", 5, Mark(7, "y"))
    floors.marked("A", 3, Mark(9, "z"))
    assert floors.sum_of_marks() == 17


def test_an_event_in_doubt_is_looked_for_only_when_the_window_is_nearly_over() -> None:
    doubts = InDoubt(to_s)
    doubts.doubt(1, sent_at=100.0, subject="s.a")
    assert doubts
    assert not doubts.id_may_be_forgotten(1, "S", WINDOW_S, now=210.0)
    assert doubts.id_may_be_forgotten(1, "S", WINDOW_S, now=216.0)
    assert not doubts.id_may_be_forgotten(2, "S", WINDOW_S, now=10_000.0), "it was never sent"


def test_the_first_time_that_an_event_was_sent_counts() -> None:
    doubts = InDoubt(to_s)
    doubts.doubt(1, sent_at=100.0, subject="s.a")
    doubts.doubt(1, sent_at=200.0, subject="s.a")
    assert doubts.id_may_be_forgotten(1, "S", WINDOW_S, now=220.0)
    doubts.resolve(1)
    assert not doubts
    doubts.doubt(1, sent_at=300.0, subject="s.a")
    assert not doubts.id_may_be_forgotten(1, "S", WINDOW_S, now=310.0)


def test_how_often_an_event_was_passed_over_counts_until_it_is_resolved() -> None:
    book = InDoubt(to_s)
    book.doubt(1, 0.0, "orders.a")
    assert [book.pass_over(1), book.pass_over(1)] == [1, 2]
    book.resolve(1)
    book.doubt(1, 9.0, "orders.a")
    assert book.pass_over(1) == 1


@given(st.floats(0.1, 600), st.floats(0, 1200))
def test_no_window_is_relied_upon_to_its_end(window_s: float, passed_s: float) -> None:
    doubts = InDoubt(to_s)
    doubts.doubt(1, sent_at=0.0, subject="s.a")
    if not doubts.id_may_be_forgotten(1, "S", window_s, passed_s):
        assert passed_s <= window_s - min(window_s / 2, 5.0)


def test_what_is_settled_another_way_is_forgotten() -> None:
    doubts = InDoubt(to_s)
    doubts.doubt(1, 0.0, "s.a")
    doubts.doubt(5, 0.0, "s.a")
    doubts.find(2, "S", 9, "an id")
    assert not doubts.disjoint([2, 3])
    doubts.forget(watermark=2)
    assert doubts.disjoint([1, 2, 3])
    assert not doubts.disjoint([5])


class Floor(RuleBasedStateMachine):
    """One stream that stores what is sent in any order; acknowledgements come, come late, or never.

    Law: no message of ours at or below the floor is unmarked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.floors = Floors()
        self.next_event = 1
        self.sent: set[int] = set()
        self.stored: dict[int, int] = {}
        self.marked: set[int] = set()
        self.end = 20_000

    @rule()
    def send(self) -> None:
        self.sent.add(self.next_event)
        self.next_event += 1

    @rule()
    def another_writer_stores(self) -> None:
        self.end += 1

    @precondition(lambda self: self.sent - self.stored.keys())
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(sorted(self.sent - self.stored.keys())))
        self.end += 1
        self.stored[event] = self.end

    @precondition(lambda self: self.stored.keys() - self.marked)
    @rule(data=st.data())
    def mark(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(sorted(self.stored.keys() - self.marked)))
        at = self.stored[event]
        self.floors.marked("S", at, Mark(at, f"id{event}"))
        self.marked.add(event)

    @rule()
    def step(self) -> None:
        self.floors.step(dict.fromkeys(self.sent - self.marked))

    @invariant()
    def nothing_of_ours_below_the_floor_is_unmarked(self) -> None:
        floor = self.floors.floors.get("S", 0)
        assert all(at > floor for event, at in self.stored.items() if event not in self.marked)
        assert floor <= self.end


TestFloor = Floor.TestCase


def test_when_all_is_marked_two_steps_bring_the_floor_to_the_last_mark() -> None:
    floors = Floors()
    floors.marked("S", 50_000, Mark(50_007, "a"))
    assert floors.floors["S"] == 40_000, "something may lie below the first mark"
    floors.step({})
    floors.step({})
    assert floors.floors["S"] == 50_007


class Streams(RuleBasedStateMachine):
    """Two streams; of some events nobody knows which of them takes it.

    Laws: no message of ours at or below a floor is unmarked; what is in doubt in one stream keeps no other down.
    """

    def __init__(self) -> None:
        super().__init__()
        self.floors = Floors()
        self.next_event = 1
        # The stream of each event that was sent, and whether that is known.
        self.sent: dict[int, tuple[str, bool]] = {}
        self.stored: dict[int, int] = {}
        self.marked: set[int] = set()
        self.end = {"A": 20_000, "B": 20_000}

    @rule(stream=st.sampled_from("AB"), known=st.booleans())
    def send(self, stream: str, known: bool) -> None:
        self.sent[self.next_event] = stream, known
        self.next_event += 1

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def learn(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(sorted(self.sent)))
        self.sent[event] = self.sent[event][0], True

    @precondition(lambda self: self.sent.keys() - self.stored.keys())
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(sorted(self.sent.keys() - self.stored.keys())))
        stream = self.sent[event][0]
        self.end[stream] += 1
        self.stored[event] = self.end[stream]

    @precondition(lambda self: self.stored.keys() - self.marked)
    @rule(data=st.data())
    def mark(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(sorted(self.stored.keys() - self.marked)))
        at = self.stored[event]
        self.floors.marked(self.sent[event][0], at, Mark(at, f"id{event}"))
        self.marked.add(event)

    @rule()
    def step(self) -> None:
        self.floors.step(
            {
                event: stream if known else None
                for event, (stream, known) in self.sent.items()
                if event not in self.marked
            }
        )

    @invariant()
    def nothing_of_ours_below_a_floor_is_unmarked(self) -> None:
        for event, at in self.stored.items():
            stream = self.sent[event][0]
            if event not in self.marked:
                assert at > self.floors.floors.get(stream, 0)


TestStreams = Streams.TestCase


@given(st.dictionaries(st.integers(1, 50), st.sampled_from(["A", None]), min_size=1))
def test_what_is_in_doubt_in_one_stream_keeps_the_floor_of_no_other_down(sent: dict[int, str | None]) -> None:
    floors = Floors()
    for stream in "AB":
        floors.marked(stream, 50_000, Mark(50_000, "x"))
    for _ in range(2):
        floors.step(sent)
    assert floors.floors["A"] == 40_000
    assert floors.floors["B"] == (40_000 if None in sent.values() else 50_000)


def test_no_floor_rises_over_a_tail_that_nobody_has_searched() -> None:
    floors = Floors()
    for stream in "AB":
        floors.start(stream, 7, Mark(100, "x"))
    for _ in range(2):
        floors.step({}, {"A"})
    assert floors.floors == {"A": 7, "B": 100}


def test_after_the_database_was_left_nothing_that_was_made_from_its_marks_counts() -> None:
    floors = Floors()
    floors.start("A", 7, Mark(100, "x"))
    floors.step({})
    floors.clear()
    assert (floors.floors, floors.marks) == ({}, {})
    floors.start("A", 5, Mark(9, "y"))
    floors.step({})
    assert floors.floors == {"A": 5}, "the step that had begun is forgotten too"
    floors.raise_mark("A", Mark(8, "z"))
    assert floors.marks["A"] == Mark(9, "y")


@given(
    st.dictionaries(st.integers(1, 30), st.sampled_from(["a.x", "b.x", "c.x"])),
    st.dictionaries(st.integers(1, 30), st.sampled_from("AB")),
)
def test_where_an_event_in_doubt_may_be_follows_from_its_subject_or_from_where_it_was_found(
    unsure: dict[int, str], found: dict[int, str]
) -> None:
    known = {"a.x": "A", "b.x": "B"}
    doubts = InDoubt(lambda subject, _: {known[subject]} if subject in known else set())
    for seq, subject in unsure.items():
        doubts.doubt(seq, 0.0, subject)
    for seq, stream in found.items():
        doubts.find(seq, stream, 1, "an id")
    assert doubts.places(known.get) == {seq: known.get(subject) for seq, subject in unsure.items()} | found
    for seq in unsure:
        doubts.resolve(seq)
    assert doubts.places(known.get) == {seq: stream for seq, stream in found.items() if seq not in unsure}


def test_what_is_stored_before_the_first_mark_of_its_stream_and_cannot_be_marked_lies_above_the_floor() -> None:
    floors = Floors()
    floors.stored("ORDERS", 1)
    floors.step({1: "ORDERS"})
    floors.marked("ORDERS", 50_000, Mark(50_000, "last"))
    floors.stored("ORDERS", 50_001)
    floors.step({1: "ORDERS"})
    floors.step({1: "ORDERS"})
    assert (floors.floors["ORDERS"], floors.marks["ORDERS"]) == (0, Mark(50_000, "last"))
    floors.step({})
    floors.step({})
    assert floors.floors["ORDERS"] == 50_000


def test_a_sequence_that_the_outbox_cannot_hold_makes_no_floor() -> None:
    floors = Floors()
    floors.stored("LATE", 2**63)
    assert not floors.floors and not floors.marks
