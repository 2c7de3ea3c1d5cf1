"""Judge a history: what was committed, against what the streams hold and what the consumer saw. Pure.

The order that a key is owed is that of visibility: an event comes before another of its key if its transaction
was answered before the other was begun, or if both are of one transaction and its seq is lower. Of two that
overlap in time either may be first.

What the database itself has lost (a standby was promoted that lacked it, or a crash took a commit that was answered
with ``synchronous_commit = off``) is owed to nobody: it may be in a stream or not, and is counted apart. So is what the
operator has taken out of the table, and what was stored twice in a stream while it could not be looked at.

Nothing else is excused, and the figures add up: what is in the outbox at the end is ``committed`` and ``unanswered``
without ``removed`` and ``lost_commits``, and each of its events is stored; beside them the streams hold
``stored_of_removed`` and ``stored_of_lost_commits``.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf

from tests.chaos.history import (
    Fault,
    History,
    Insert,
    Note,
    Removed,
    Row,
    Seen,
    Setback,
    Stored,
    Transaction,
    Unreadable,
    Watermark,
)
from tests.chaos.models import judge

# The longest from the answer to a commit until it is noted, seconds: the run is busy, too.
_TAKEN_UP_S = 1.0
# For as long after it was hidden a stream may not be asked again, seconds (`relay.integrity.watched.PATIENCE_S`), and
# for as long may an event wait for its acknowledgement, its turn and the consumer then.
_DONE_WITHOUT_S = 10.0 + 5.0


@dataclass
class Findings:
    """What is wrong with a history; each a list of lines that name the event.

    Attributes:
        lost: Committed, and in no stream and not a dead letter.
        phantom: In a stream, and never committed.
        reordered: In a stream before an event of its key that had to come first.
        duplicated: Twice in the streams.
        stuck: Neither delivered nor dead at the end.
        dead: A dead letter: no fault of a server or of the network may cost an event its life.
        mismarked: Marked with a stream sequence at which another message stands.
        forgotten: Answered as committed, and not in the outbox at the end.
        unseen: In a stream, and never given to the consumer.
        misseen: Given to the consumer as another message than the stream holds, or out of the stream's order.
        early: Below a watermark in seq or in time, and settled only after it was read.
        odd: Notes of the run that something went wrong.
        model_missed: Of the read models, like the others of these names: `tests.chaos.models.ModelFindings`.
    """

    lost: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    mismarked: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    misseen: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    model_missed: list[str] = field(default_factory=list)
    model_twice: list[str] = field(default_factory=list)
    model_foreign: list[str] = field(default_factory=list)
    model_reordered: list[str] = field(default_factory=list)
    model_behind: list[str] = field(default_factory=list)
    model_stopped: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return how many there are of each, by name."""
        return {one.name: len(getattr(self, one.name)) for one in fields(self)}

    def __bool__(self) -> bool:
        """Report whether anything is wrong."""
        return any(self.counts().values())


def check(history: History) -> Findings:
    """Hold a whole history against the laws."""
    rows = {row.id: row for row in history.of(Row)}
    stored = list(history.of(Stored))
    transactions = list(history.of(Transaction))
    findings = Findings()
    _completeness(history, rows, stored, transactions, findings)
    _order(transactions, stored, findings)
    _consumer(stored, list(history.of(Seen)), findings)
    epochs = _epochs(history, list(rows.values()))
    for epoch in epochs:
        _watermarks(epoch, findings)
        _completeness_in_time(epoch, transactions, findings)
    findings.odd = [note.text for note in history.of(Note) if note.wrong]
    findings.odd += [
        f"{fault.kind} {fault.target}: no recovery" for fault in history.of(Fault) if fault.recovered_at is None
    ]
    of_models = asdict(judge(history))
    return replace(findings, **{f"model_{name}": found for name, found in of_models.items()})


def excused(history: History) -> dict[str, int]:
    """Return how much of each is there that is no finding, for the reasons that the module names."""
    rows = {row.id for row in history.of(Row)}
    removed = {row.id for row in history.of(Removed)} - rows
    stored = {message.id for message in history.of(Stored)}
    answered: set[str] = set()
    unanswered: set[str] = set()
    for transaction in history.of(Transaction):
        if transaction.outcome != "rolled back":
            ids = answered if transaction.outcome == "committed" else unanswered
            ids.update(insert.id for insert in transaction.inserts)
    # Whether a commit without an answer was one is seen by what is left of it.
    unanswered &= rows | removed | stored
    gone = _lost_by_the_database(history, rows).difference(removed).intersection(answered | unanswered)
    return {
        "unanswered": len(unanswered),
        "removed": len(removed),
        "stored_of_removed": len(removed & stored),
        "lost_commits": len(gone),
        "stored_of_lost_commits": len(gone & stored),
        "twice_unreadable": len(_twice(history.of(Stored)).keys() - _duplicated(history).keys()),
    }


def _lost_by_the_database(history: History, rows: Iterable[str]) -> set[str]:
    """Return the events whose commit may have been lost by the database, and that are not there at the end."""
    setbacks = [one for one in history.of(Setback) if one.kind != "truncated"]
    return {
        insert.id
        for transaction in history.of(Transaction)
        if transaction.outcome != "rolled back"
        if any(
            one.since <= transaction.ended_at <= one.until + _TAKEN_UP_S
            for one in setbacks
            if one.kind == "failover" or not transaction.durable
        )
        for insert in transaction.inserts
    }.difference(rows)


def _twice(stored: Iterable[Stored]) -> dict[str, int]:
    times: dict[str, int] = defaultdict(int)
    for message in stored:
        times[message.id] += 1
    return {id_: count for id_, count in times.items() if count > 1}


def _duplicated(history: History) -> dict[str, int]:
    """Return what is stored twice and need not be: whoever stored it again could look at the stream."""
    hidden: dict[str, list[Unreadable]] = defaultdict(list)
    for one in history.of(Unreadable):
        hidden[one.stream].append(one)
    at = {(seen.stream, seen.seq): seen.at for seen in history.of(Seen)} if hidden else {}
    firsts: set[tuple[str, str]] = set()
    unexcused: list[Stored] = []
    for message in history.of(Stored):
        place = message.stream, message.id
        seen_at = at.get((message.stream, message.seq), inf)
        is_again = place in firsts
        if not is_again or not any(
            one.since <= seen_at <= one.until + _DONE_WITHOUT_S for one in hidden.get(message.stream, ())
        ):
            unexcused.append(message)
        firsts.add(place)
    return _twice(unexcused)


def _completeness(
    history: History,
    rows: Mapping[str, Row],
    stored: Sequence[Stored],
    transactions: Iterable[Transaction],
    findings: Findings,
) -> None:
    removed = {row.id: row for row in history.of(Removed) if row.id not in rows}
    gone = _lost_by_the_database(history, rows)
    at = {(message.stream, message.seq): message.id for message in stored}
    ids = set(at.values())
    findings.phantom += [
        f"{message.id} at {message.stream}:{message.seq}"
        for message in stored
        if message.id not in rows and message.id not in removed and message.id not in gone
    ]
    findings.duplicated = [f"{id_}: {count} times" for id_, count in _duplicated(history).items()]
    for row in rows.values():
        name = f"{row.id} (seq {row.seq}, key {row.key})"
        if row.id not in ids and row.settled != "dead":
            findings.lost.append(f"{name}: {row.settled}")
        if row.settled == "pending":
            findings.stuck.append(name)
        if row.settled == "dead":
            findings.dead.append(name)
        if row.settled == "delivered" and at.get((row.stream or "", row.stream_seq or 0)) != row.id:
            findings.mismarked.append(f"{name}: {row.stream}:{row.stream_seq}")
    for removal in removed.values():
        name = f"{removal.id} (seq {removal.seq}, key {removal.key}), deleted by the operator"
        if removal.settled == "delivered" and removal.id not in ids:
            findings.lost.append(f"{name}: delivered")
        elif removal.settled == "delivered" and at.get((removal.stream or "", removal.stream_seq or 0)) != removal.id:
            findings.mismarked.append(f"{name}: {removal.stream}:{removal.stream_seq}")
    tried: set[str] = set()
    for transaction in transactions:
        for insert in transaction.inserts:
            tried.add(insert.id)
            if transaction.outcome == "committed" and not (
                insert.id in rows or insert.id in removed or insert.id in gone
            ):
                findings.forgotten.append(insert.id)
            if transaction.outcome == "rolled back" and (insert.id in rows or insert.id in removed):
                findings.phantom.append(f"{insert.id}: rolled back, and in the outbox")
    findings.phantom += [f"{id_}: nobody wrote it, and in the outbox" for id_ in rows if id_ not in tried]


@dataclass(frozen=True, slots=True)
class _Owed:
    insert: Insert
    transaction: int
    visible_at: float


def _order(transactions: Iterable[Transaction], stored: Sequence[Stored], findings: Findings) -> None:
    """Hold the first place of each event against those of its key."""
    owed = {
        insert.id: _Owed(
            insert, transaction.number, transaction.ended_at if transaction.outcome == "committed" else inf
        )
        for transaction in transactions
        for insert in transaction.inserts
    }
    places: dict[tuple[str, str], list[_Owed]] = defaultdict(list)
    placed: set[str] = set()
    for message in stored:
        one = owed.get(message.id)
        if one is not None and one.insert.key is not None and message.id not in placed:
            placed.add(message.id)
            places[message.stream, one.insert.key].append(one)
    for (stream, key), events in places.items():
        # From the end: the earliest visibility of all that come later in the stream.
        soonest, first = inf, ""
        lowest: dict[int, int] = {}
        for one in reversed(events):
            behind = lowest.get(one.transaction)
            if soonest < one.insert.begun_at:
                findings.reordered.append(f"{first} behind {one.insert.id} in {stream}, key {key}")
            elif behind is not None and behind < one.insert.seq:
                findings.reordered.append(f"seq {behind} behind seq {one.insert.seq} in {stream}, key {key}")
            if one.visible_at < soonest:
                soonest, first = one.visible_at, one.insert.id
            lowest[one.transaction] = min(one.insert.seq, lowest.get(one.transaction, one.insert.seq))


def _consumer(stored: Iterable[Stored], seen: Iterable[Seen], findings: Findings) -> None:
    holds = {(message.stream, message.seq): message.id for message in stored}
    given: set[tuple[str, int]] = set()
    last: dict[str, int] = {}
    for message in seen:
        place = (message.stream, message.seq)
        if holds.get(place) != message.id:
            findings.misseen.append(f"{message.id} at {message.stream}:{message.seq}, there stands {holds.get(place)}")
        elif message.seq <= last.get(message.stream, 0):
            findings.misseen.append(f"{message.id} at {message.stream}:{message.seq} after {last[message.stream]}")
        given.add(place)
        last[message.stream] = max(message.seq, last.get(message.stream, 0))
    findings.unseen = [f"{id_} at {stream}:{seq}" for (stream, seq), id_ in holds.items() if (stream, seq) not in given]


@dataclass(frozen=True, slots=True)
class _Epoch:
    """A stretch of the run in which the outbox only went on.

    Attributes:
        rows: Those of its end that were settled in it or before, and, in the last one, those that never were.
        watermarks: Those that were read in it.
    """

    rows: Sequence[Row]
    watermarks: Sequence[Watermark]


def _epochs(history: History, rows: Sequence[Row]) -> list[_Epoch]:
    """Part a run at its setbacks: marks and seqs before one say nothing about what comes after it.

    A dead letter is settled, and is not any more once the operator has it sent again: these are left out.
    """
    sent_again = {insert.id for one in history.of(Transaction) if one.number < 0 for insert in one.inserts}
    rows = [row for row in rows if row.id not in sent_again]
    setbacks = sorted((one for one in history.of(Setback) if one.kind != "crash"), key=lambda one: one.at)
    begins = [one.at for one in setbacks]
    last = len(begins)
    marks: list[list[Watermark]] = [[] for _ in range(last + 1)]
    for mark in history.of(Watermark):
        marks[bisect_right(begins, mark.read_at)].append(mark)
    epochs: list[_Epoch] = []
    for number, watermarks in enumerate(marks):
        if number and setbacks[number - 1].kind == "truncated" and epochs[-1].watermarks:
            # Until a relay has noticed that the sequence began again, the watermark is that of the table before.
            old = epochs[-1].watermarks[-1].seq
            first = next((at for at, mark in enumerate(watermarks) if mark.seq < old), len(watermarks))
            watermarks = watermarks[first:]
        known = [
            row
            for row in rows
            if (number == last if row.settled_at is None else bisect_right(begins, row.settled_at) <= number)
        ]
        epochs.append(_Epoch(known, watermarks))
    return epochs


def _watermarks(epoch: _Epoch, findings: Findings) -> None:
    """Hold that everything up to a watermark was settled when it was read, and that it never moved back."""
    highest = 0
    for mark in epoch.watermarks:
        if mark.seq < highest:
            findings.early.append(f"the watermark moved back from {highest} to {mark.seq}")
        highest = max(highest, mark.seq)
    ordered = sorted(epoch.rows, key=lambda row: row.seq)
    latest, who, at = 0.0, None, 0
    for mark in sorted(epoch.watermarks, key=lambda mark: (mark.seq, -mark.read_at)):
        while at < len(ordered) and ordered[at].seq <= mark.seq:
            row = ordered[at]
            settled_at = inf if row.settled_at is None else row.settled_at
            if settled_at > latest:
                latest, who = settled_at, row
            at += 1
        if who is not None and latest > mark.read_at:
            findings.early.append(f"seq {who.seq} was settled after watermark {mark.seq}")


def _completeness_in_time(epoch: _Epoch, transactions: Iterable[Transaction], findings: Findings) -> None:
    """Hold that everything whose commit had returned by the time of a watermark was settled when it was read.

    That this time never moves back is not asked here: it is read through a clock that two processes share.
    """
    rows = {row.id: row for row in epoch.rows}
    ended = sorted(
        (
            (transaction.ended_at, row)
            for transaction in transactions
            if transaction.outcome == "committed"
            for insert in transaction.inserts
            if (row := rows.get(insert.id)) is not None
        ),
        key=lambda pair: pair[0],
    )
    latest, who, at = 0.0, None, 0
    known = [(mark.complete_at, mark.read_at) for mark in epoch.watermarks if mark.complete_at is not None]
    for complete_at, read_at in sorted(known, key=lambda mark: (mark[0], -mark[1])):
        while at < len(ended) and ended[at][0] <= complete_at:
            row = ended[at][1]
            settled_at = inf if row.settled_at is None else row.settled_at
            if settled_at > latest:
                latest, who = settled_at, row
            at += 1
        if who is not None and latest > read_at:
            findings.early.append(f"seq {who.seq} was settled after the outbox was complete up to a time after it")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed; nan without any."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def recoveries(history: History) -> dict[str, list[float]]:
    """Return the seconds from "the component is back" to "the consumer has all that was committed by then", by kind."""
    found: dict[str, list[float]] = defaultdict(list)
    for fault in history.of(Fault):
        if fault.recovered_at is not None:
            found[fault.kind].append(fault.recovered_at - fault.back_at)
    return dict(found)
