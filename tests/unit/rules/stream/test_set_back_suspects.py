"""A stream that was set back behind what it had acknowledged is noticed, however much it was sent since."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.event import Event
from relay.outcomes import Delivered
from relay.rules.stream.set_back_suspects import SetBackSuspects
from relay.rules.stream.stream_floors import Mark

sequences = st.integers(1, 1000)


def one(name: str, stream_seq: int, *, stream: str = "S", duplicate: bool = False) -> Delivered:
    return Event(1, name, "orders.placed", None, b"{}", None, 1000.0, 0, None), stream, stream_seq, duplicate, 2.0


def watch() -> tuple[SetBackSuspects, list[int]]:
    """Return an empty book, and a list that grows with each notice."""
    notices: list[int] = []
    return SetBackSuspects(lambda: notices.append(1), lambda: None), notices


class Storage(RuleBasedStateMachine):
    """One stream that we and others publish to, and whose storage is set back from its end.

    Law: as soon as it has acknowledged anything to us after that, nothing is sent, and it lacks one of its witnesses:
    unless others have filled it up first, and nobody has noticed an outage.
    """

    def __init__(self) -> None:
        super().__init__()
        self.book, self.notices = watch()
        # What is stored, by sequence from 1 on; "" is another publisher's.
        self.stored: list[str] = []
        self.acknowledged: dict[int, str] = {}
        self.next_event = 0
        # A loss that must be noticed by now; one that others may have filled up; that an acknowledgement has to come.
        self.is_noticeable = self.is_blind = False

    def is_lost(self) -> bool:
        """Report whether the stream lacks what it had acknowledged to us."""
        return any(len(self.stored) < at or self.stored[at - 1] != event for at, event in self.acknowledged.items())

    @rule(events=st.integers(1, 5), at_once=st.booleans())
    def send(self, events: int, at_once: bool) -> None:
        answers = []
        lost = self.is_lost()
        for _ in range(events):
            self.next_event += 1
            self.stored.append(f"id{self.next_event}")
            answers.append(one(self.stored[-1], len(self.stored)))
        for batch in [answers] if at_once else [[answer] for answer in answers]:
            self.book.acknowledged(batch)
        if lost and not self.is_blind:
            self.is_noticeable = True
        if not lost:
            self.acknowledged.update({answer[2]: answer[0].id for answer in answers})

    @rule(messages=st.integers(1, 5))
    def others_publish(self, messages: int) -> None:
        self.is_blind |= self.is_lost() and not self.is_noticeable
        self.stored += [""] * messages

    @precondition(lambda self: not self.is_lost())
    @rule(data=st.data(), noticed=st.booleans())
    def set_back(self, data: st.DataObject, noticed: bool) -> None:
        del self.stored[data.draw(st.integers(0, len(self.stored))) :]
        if noticed:
            self.book.returned("S")
            self.is_noticeable |= self.is_lost()

    @rule()
    def look(self) -> None:
        witnesses = self.book.witnesses("S")
        holds = {Mark(at, event) for at, event in enumerate(self.stored, 1)}
        proved = not holds.issuperset(witnesses)
        assert proved <= self.is_lost(), "what is no loss is taken for none"
        if proved or self.is_lost():
            assert proved or not self.is_noticeable
            self.book.forget("S")
            self.acknowledged.clear()
            self.is_noticeable = self.is_blind = False
        else:
            self.book.looked("S", witnesses, in_turn=True)

    @invariant()
    def a_loss_is_noticed(self) -> None:
        if self.is_noticeable:
            assert "S" in self.book.awaited
            assert not {Mark(at, event) for at, event in enumerate(self.stored, 1)}.issuperset(self.book.witnesses("S"))
            assert self.notices


TestStorage = Storage.TestCase


@given(st.lists(sequences, min_size=1, unique=True), st.data())
def test_sequences_that_rise_are_nothing_to_look_at_in_whatever_portions(seqs: list[int], data: st.DataObject) -> None:
    book, notices = watch()
    answers = [one(f"id{at}", at) for at in sorted(seqs)]
    while answers:
        portion = data.draw(st.integers(1, len(answers)))
        book.acknowledged(answers[:portion])
        answers = answers[portion:]
    assert not book.wanted and not notices


@given(sequences, sequences, st.booleans(), st.booleans())
def test_a_sequence_that_does_not_rise_is_looked_at_unless_the_stream_had_the_event(
    first: int, second: int, duplicate: bool, saved: bool
) -> None:
    book, notices = watch()
    if saved:
        book.begin("S", Mark(first, "x"))
    else:
        book.acknowledged([one("x", first)])
    book.acknowledged([one("y", second, duplicate=duplicate)])
    noticed = second <= first and not duplicate
    assert book.wanted == book.awaited == ({"S"} if noticed else set())
    assert bool(notices) == noticed
    assert book.witnesses("S") == ((Mark(first, "x"),) if noticed else ())


@given(st.lists(st.tuples(st.sampled_from("AB"), st.booleans()), min_size=1))
def test_each_stream_has_sequences_of_its_own(answers: list[tuple[str, bool]]) -> None:
    book, _ = watch()
    ends = {"A": 1000, "B": 10}
    batch = []
    for stream, duplicate in answers:
        ends[stream] += 1
        batch.append(one("x", 1 if duplicate else ends[stream], stream=stream, duplicate=duplicate))
    book.begin("A", Mark(1000, "a"))
    book.begin("B", Mark(10, "b"))
    book.acknowledged(batch)
    assert not book.wanted
    book.acknowledged([one("y", 5, stream="B")])
    assert book.wanted == {"B"}


def test_where_answers_overtook_each_other_nothing_waits_until_the_next_look_in_turn() -> None:
    book, _ = watch()
    book.acknowledged([one("a", 10), one("b", 9)])
    assert book.awaited == {"S"}
    book.looked("S", book.witnesses("S"), in_turn=False)
    book.acknowledged([one("c", 12), one("d", 11)])
    assert (book.wanted, book.awaited) == ({"S"}, set()), "it is looked at all the same"
    assert book.witnesses("S") == (Mark(12, "c"),)
    book.looked("S", book.witnesses("S"), in_turn=False)
    book.looked("S", (), in_turn=True)
    book.acknowledged([one("e", 11)])
    assert book.awaited == {"S"}


def test_a_look_after_an_outage_makes_no_later_fall_less_urgent() -> None:
    book, _ = watch()
    book.acknowledged([one("a", 10)])
    book.returned("S")
    book.looked("S", book.witnesses("S"), in_turn=False)
    book.acknowledged([one("b", 10)])
    assert book.awaited == {"S"}


def test_what_is_called_while_somebody_looks_is_still_to_be_looked_for() -> None:
    book, _ = watch()
    book.acknowledged([one("a", 10), one("b", 5)])
    witnesses = book.witnesses("S")
    book.acknowledged([one("c", 20), one("d", 15)])
    book.looked("S", witnesses, in_turn=False)
    assert (book.wanted, book.witnesses("S")) == ({"S"}, (Mark(20, "c"),))
    book.let_go("S")
    assert not book.wanted and not book.awaited
    assert book.witnesses("S") == (Mark(20, "c"),), "for the next look, whenever that is"


def test_a_stream_that_was_never_heard_of_has_no_witness_of_its_outage() -> None:
    book, notices = watch()
    book.returned("S")
    assert not book.wanted and not notices


def test_no_more_witnesses_are_kept_than_a_look_can_ask_for() -> None:
    book, _ = watch()
    for at in range(20, 100, 2):
        book.acknowledged([one(f"id{at}", at), one("back", at - 1)])
    assert len(book.witnesses("S")) == 8


def test_what_a_stream_was_seen_not_to_hold_is_one_more_witness_and_holds_up_nothing() -> None:
    book, notices = watch()
    missing = Mark(2, "a")
    book.suspect("S", missing)
    assert (book.wanted, notices) == (set(), []), "it has acknowledged nothing to us"
    book.acknowledged([one("b", 9)])
    book.suspect("S", missing)
    book.suspect("S", None)
    assert (book.wanted, book.awaited, book.witnesses("S")) == ({"S"}, set(), (missing,))
    book.looked("S", (missing,), in_turn=False)
    assert (book.wanted, book.witnesses("S")) == (set(), ())
