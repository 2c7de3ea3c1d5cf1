"""The checker of the chaos runs: it finds what is wrong, all of it, and nothing else."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.checker import check, excused, percentile, recoveries
from tests.chaos.history import (
    Entry,
    Fault,
    History,
    Insert,
    Note,
    Outcome,
    Removed,
    Row,
    Seen,
    Setback,
    Settled,
    Stored,
    Transaction,
    Unreadable,
    Watermark,
    read,
)

KEYS = ("a", "b", None)


@dataclass
class Course:
    """A history as it should be, open to be spoiled."""

    transactions: list[Transaction] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    watermarks: list[Watermark] = field(default_factory=list)

    def history(self) -> History:
        entries: list[Entry] = [*self.transactions, *self.rows, *self.stored, *self.seen, *self.watermarks]
        return History(entries)

    def counts(self) -> dict[str, int]:
        """Return what the checker finds, without what it does not."""
        return {what: count for what, count in check(self.history()).counts().items() if count}

    def owed(self) -> dict[str, tuple[Transaction, Insert]]:
        return {insert.id: (one, insert) for one in self.transactions for insert in one.inserts}


@st.composite
def courses(draw: st.DrawFn, min_transactions: int = 0) -> Course:
    """Transactions that overlap in time, delivered in an order that visibility permits."""
    course = Course()
    chance = random.Random(draw(st.integers(0, 2**32)))
    open_: list[tuple[int, list[Insert]]] = []
    visible: list[Insert] = []
    now, seq = 0.0, 0
    for number in range(draw(st.integers(min_transactions, 12))):
        inserts = []
        for _ in range(draw(st.integers(1, 4))):
            now, seq = now + 1, seq + 1
            inserts.append(Insert(f"id{seq}", seq, draw(st.sampled_from(KEYS)), now))
        open_.append((number, inserts))
        while open_ and chance.random() < 0.5:
            now = _end(course, open_.pop(chance.randrange(len(open_))), visible, now, draw)
    for one in open_:
        now = _end(course, one, visible, now, draw)
    for place, insert in enumerate(visible, 1):
        course.stored.append(Stored("S", place, insert.id))
        course.seen.append(Seen("S", place, insert.id, now))
        course.rows.append(Row(insert.id, insert.seq, insert.key, "delivered", "S", place, now + place))
    return course


def _end(course: Course, open_: tuple[int, list[Insert]], visible: list[Insert], now: float, draw: st.DrawFn) -> float:
    outcomes: tuple[Outcome, ...] = ("committed", "committed", "committed", "rolled back", "unknown")
    outcome = draw(st.sampled_from(outcomes))
    number, inserts = open_
    course.transactions.append(Transaction(number, outcome, now + 1, tuple(inserts)))
    if outcome == "committed" or (outcome == "unknown" and draw(st.booleans())):
        visible += inserts
    return now + 1


@given(courses())
def test_a_history_as_it_should_be_has_no_findings(course: Course) -> None:
    findings = check(course.history())
    assert not findings, findings


@given(courses(min_transactions=1), st.data())
def test_each_message_taken_out_is_lost(course: Course, data: st.DataObject) -> None:
    taken = data.draw(st.sets(st.sampled_from(course.stored or [Stored("S", 0, "")])))
    course.stored = [message for message in course.stored if message not in taken]
    ids = {message.id for message in taken if message.id}
    course.seen = [message for message in course.seen if message.id not in ids]
    found = check(course.history())
    assert {line.split()[0] for line in found.lost} == ids
    # Its mark names a place where nothing stands.
    assert len(found.mismarked) == len(ids)
    assert not (found.phantom or found.reordered or found.duplicated or found.unseen or found.misseen)


@given(courses(), st.integers(1, 5))
def test_each_message_that_nobody_committed_is_a_phantom(course: Course, more: int) -> None:
    last = len(course.stored)
    course.stored += [Stored("S", last + at, f"ghost{at}") for at in range(1, more + 1)]
    course.seen += [Seen("S", last + at, f"ghost{at}", 0.0) for at in range(1, more + 1)]
    assert course.counts() == {"phantom": more}


@given(courses(min_transactions=2))
def test_a_rolled_back_event_in_the_outbox_is_a_phantom(course: Course) -> None:
    rolled_back = [one for one in course.transactions if one.outcome == "rolled back"]
    ids = [insert.id for one in rolled_back for insert in one.inserts]
    course.rows += [Row(id_, 10**6 + at, None, "dead", None, None, None) for at, id_ in enumerate(ids)]
    found = check(course.history())
    assert len(found.phantom) == len(ids)


@given(courses(min_transactions=1), st.data())
def test_a_message_stored_again_is_a_duplicate_and_no_disorder(course: Course, data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(course.stored), max_size=4)) if course.stored else []
    for at, message in enumerate(again, len(course.stored) + 1):
        course.stored.append(Stored("S", at, message.id))
        course.seen.append(Seen("S", at, message.id, 0.0))
    expected = {"duplicated": len({message.id for message in again})} if again else {}
    assert course.counts() == expected


@given(courses(min_transactions=2), st.data())
def test_reordered_is_what_a_look_at_every_pair_calls_so(course: Course, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(course.stored))
    course.stored = [replace(message, seq=place) for place, message in enumerate(shuffled, 1)]
    owed = course.owed()
    wrong = set()
    for at, first in enumerate(course.stored):
        for later in course.stored[at + 1 :]:
            (one, x), (two, y) = owed[first.id], owed[later.id]
            committed = two.outcome == "committed"
            if x.key is not None and x.key == y.key:
                before = committed and two.ended_at < x.begun_at
                if before or (one.number == two.number and y.seq < x.seq):
                    wrong.add(first.id)
    # One line for each event that stands too early.
    assert len(check(course.history()).reordered) == len(wrong)


@given(courses(min_transactions=1), st.data())
def test_what_is_pending_at_the_end_is_stuck_and_where_it_is_in_no_stream_lost(
    course: Course, data: st.DataObject
) -> None:
    waits = data.draw(st.sets(st.sampled_from(course.rows))) if course.rows else set()
    course.rows = [
        replace(row, settled="pending", stream=None, stream_seq=None, settled_at=None) if row in waits else row
        for row in course.rows
    ]
    assert course.counts() == ({"stuck": len(waits)} if waits else {})
    ids = {row.id for row in waits}
    course.stored = [message for message in course.stored if message.id not in ids]
    course.seen = [message for message in course.seen if message.id not in ids]
    assert course.counts() == ({"stuck": len(waits), "lost": len(waits)} if waits else {})


def one_each() -> Course:
    """Three events of one key, one after the other."""
    course = Course()
    for n in (1, 2, 3):
        insert = Insert(f"id{n}", n, "a", n * 10.0)
        course.transactions.append(Transaction(n, "committed", n * 10.0 + 1, (insert,)))
        course.rows.append(Row(f"id{n}", n, "a", "delivered", "S", n, 100.0 + n))
        course.stored.append(Stored("S", n, f"id{n}"))
        course.seen.append(Seen("S", n, f"id{n}", 0.0))
    course.watermarks = [Watermark(0, 100.0), Watermark(1, 101.5, 20.9), Watermark(3, 104.0, 32.0)]
    return course


def _swap_marks(course: Course) -> None:
    first, second, third = course.rows
    course.rows = [replace(first, stream_seq=2), replace(second, stream_seq=1), third]


def _swap_messages(course: Course) -> None:
    course.stored[1:] = [Stored("S", 2, "id3"), Stored("S", 3, "id2")]
    course.seen[1:] = [Seen("S", 2, "id3", 0.0), Seen("S", 3, "id2", 0.0)]
    course.rows[1:] = [replace(course.rows[1], stream_seq=3), replace(course.rows[2], stream_seq=2)]


def _forget_a_row(course: Course) -> None:
    del course.rows[2], course.stored[2], course.seen[2]


def _miss_one(course: Course) -> None:
    del course.seen[2]


def _bury(course: Course) -> None:
    course.rows[2] = Row("id3", 3, "a", "dead", None, None, 103.0)
    del course.stored[2], course.seen[2]


SPOILED: dict[str, tuple[Callable[[Course], None], dict[str, int]]] = {
    "nothing": (lambda course: None, {}),
    "marks of two events changed": (_swap_marks, {"mismarked": 2}),
    "the later event first": (_swap_messages, {"reordered": 1}),
    "the database forgot a commit": (_forget_a_row, {"forgotten": 1}),
    "a dead letter": (_bury, {"dead": 1}),
    "the consumer missed one": (_miss_one, {"unseen": 1}),
    "the consumer was given the first again": (lambda course: course.seen.append(course.seen[0]), {"misseen": 1}),
    "the consumer was given another": (
        lambda course: course.seen.append(Seen("S", 4, "id9", 0.0)),
        {"misseen": 1},
    ),
    "a watermark before the event": (lambda course: course.watermarks.append(Watermark(3, 102.0)), {"early": 1}),
    "complete up to a time before the event": (
        lambda course: course.watermarks.append(Watermark(3, 104.0, 31.5)),
        {},
    ),
    "complete up to a time after the event, too soon": (
        lambda course: course.watermarks.insert(2, Watermark(1, 102.5, 31.0)),
        {"early": 1},
    ),
    "a watermark that moves back": (lambda course: course.watermarks.append(Watermark(2, 105.0)), {"early": 1}),
}


@pytest.mark.parametrize("name", SPOILED)
def test_each_fault_alone_is_called_by_its_name(name: str) -> None:
    course = one_each()
    spoil, expected = SPOILED[name]
    spoil(course)
    assert course.counts() == expected


def test_what_the_run_notes_as_wrong_and_a_fault_without_recovery_are_findings() -> None:
    fault = Fault("leader killed", "n1", 0.0, 1.0, None)
    found = check(History([Note(0.0, "fine"), Note(0.0, "r1 ended by itself", wrong=True), fault]))
    assert found.odd == ["r1 ended by itself", "leader killed n1: no recovery"]


def test_a_file_is_judged_as_the_run_was(tmp_path: Path) -> None:
    course = one_each()
    _swap_messages(course)
    file = tmp_path / "history.jsonl"
    with file.open("w", encoding="utf-8") as sink:
        history = History(file=sink)
        for kind in (Transaction, Row, Stored, Seen, Watermark):
            for entry in course.history().of(kind):
                history.add(entry)
        history.add(Fault("link cut", "r0", 1.0, 2.0, 2.5))
    assert check(read(file)) == check(history)
    assert recoveries(read(file)) == {"link cut": [0.5]}


@given(st.lists(st.floats(0, 100), min_size=1))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[float]) -> None:
    found = percentile(values, 0.95)
    assert sum(value <= found for value in values) >= 0.95 * len(values)
    assert sum(value < found for value in values) < 0.95 * len(values)


def test_a_commit_that_a_failover_has_lost_is_owed_to_nobody_and_counted_apart() -> None:
    course = one_each()
    del course.rows[1]
    found = check(course.history())
    assert found.forgotten == ["id2"] and len(found.phantom) == 1
    history = course.history()
    history.add(Setback("failover", 50.0, 20.5, 22.0))
    assert not check(history)
    assert excused(history)["lost_commits"] == excused(history)["stored_of_lost_commits"] == 1


def test_a_crash_may_take_only_what_was_answered_without_a_promise() -> None:
    course = one_each()
    del course.rows[1], course.stored[1], course.seen[1]
    history = course.history()
    history.add(Setback("crash", 50.0, 20.5, 22.0))
    assert check(history).forgotten == ["id2"]
    course.transactions[1] = replace(course.transactions[1], durable=False)
    history = course.history()
    history.add(Setback("crash", 50.0, 20.5, 22.0))
    assert not check(history)


@pytest.mark.parametrize(("settled", "lost"), [("pending", 0), ("delivered", 1)])
def test_what_the_operator_has_deleted_is_lost_only_if_it_was_called_delivered(settled: Settled, lost: int) -> None:
    course = one_each()
    del course.rows[1], course.stored[1], course.seen[1]
    history = course.history()
    history.add(Removed("id2", 2, "a", settled, "S", 2))
    assert check(history).counts() == {**dict.fromkeys(check(history).counts(), 0), "lost": lost}
    assert excused(history)["removed"] == 1


def test_marks_and_watermarks_of_before_a_failover_say_nothing_about_what_came_after() -> None:
    course = one_each()
    course.rows[2] = replace(course.rows[2], settled_at=120.0)
    course.watermarks.append(Watermark(1, 115.0))
    assert len(check(course.history()).early) > 1
    history = course.history()
    history.add(Setback("failover", 110.0, 50.0, 51.0))
    assert not check(history)
    history.add(Watermark(3, 118.0))
    assert len(check(history).early) == 1


def test_the_watermark_of_before_a_truncation_stands_until_a_relay_has_noticed() -> None:
    course = one_each()
    history = course.history()
    history.add(Setback("truncated", 104.5, 50.0, 50.0))
    for mark in (Watermark(3, 105.0), Watermark(0, 106.0), Watermark(2, 107.0)):
        history.add(mark)
    assert not check(history)


@pytest.mark.parametrize(("seen_at", "excused_now"), [(9.9, 0), (10.0, 1), (26.9, 1), (27.1, 0)])
def test_twice_in_a_stream_while_it_could_not_be_looked_at_is_counted_apart(seen_at: float, excused_now: int) -> None:
    course = one_each()
    course.stored.append(Stored("S", 4, "id1"))
    course.seen.append(Seen("S", 4, "id1", seen_at))
    history = course.history()
    assert len(check(history).duplicated) == 1
    assert excused(history)["twice_unreadable"] == 0
    history.add(Unreadable("S", 10.0, 12.0))
    assert len(check(history).duplicated) == 1 - excused_now
    assert excused(history)["twice_unreadable"] == excused_now


def test_a_row_that_nobody_has_written_is_a_phantom() -> None:
    course = one_each()
    course.rows.append(Row("id9", 9, "a", "dead", None, None, 200.0))
    assert course.counts() == {"phantom": 1, "dead": 1}


def test_what_was_rolled_back_and_deleted_by_the_operator_is_a_phantom() -> None:
    course = one_each()
    del course.rows[1], course.stored[1], course.seen[1]
    course.transactions[1] = replace(course.transactions[1], outcome="rolled back")
    history = course.history()
    history.add(Removed("id2", 2, "a", "pending", None, None))
    assert len(check(history).phantom) == 1


def test_what_the_operator_has_deleted_was_marked_with_its_place() -> None:
    course = one_each()
    del course.rows[1]
    history = course.history()
    history.add(Removed("id2", 2, "a", "delivered", "S", 3))
    assert len(check(history).mismarked) == 1


@given(courses(min_transactions=1), st.data())
def test_the_figures_add_up(course: Course, data: st.DataObject) -> None:
    every = sorted(row.id for row in course.rows)
    taken = data.draw(st.sets(st.sampled_from(every))) if every else set()
    lost = {row.id for row in course.rows if row.id not in taken and data.draw(st.booleans())}
    committed = sum(len(one.inserts) for one in course.transactions if one.outcome == "committed")
    stored = len(course.stored)
    removed = [Removed(row.id, row.seq, row.key, "delivered", "S", row.stream_seq) for row in course.rows]
    course.rows = [row for row in course.rows if row.id not in taken | lost]
    history = course.history()
    for one in removed:
        if one.id in taken:
            history.add(one)
    history.add(Setback("failover", 0.0, 0.0, 1e9))
    figures = excused(history)
    assert not check(history).counts()["phantom"]
    gone = figures["removed"] + figures["lost_commits"]
    assert len(course.rows) == committed + figures["unanswered"] - gone
    assert stored == len(course.rows) + figures["stored_of_removed"] + figures["stored_of_lost_commits"]
