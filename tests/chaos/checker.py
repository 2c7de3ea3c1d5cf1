"""Judge a history: what was committed, against what the streams hold and what the consumer saw. Pure.

The order that a key is owed is that of visibility: an event comes before another of its key where its transaction
was answered before the other was begun, or where both are of one transaction and its seq is lower. Of two that
overlap in time either may be first.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from math import inf

from tests.chaos.history import Fault, History, Insert, Note, Row, Seen, Stored, Transaction, Watermark


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

    def counts(self) -> dict[str, int]:
        """Give how many there are of each, by name."""
        return {one.name: len(getattr(self, one.name)) for one in fields(self)}

    def __bool__(self) -> bool:
        """Tell whether anything is wrong."""
        return any(self.counts().values())


def check(history: History) -> Findings:
    """Hold a whole history against the laws."""
    rows = {row.id: row for row in history.of(Row)}
    stored = list(history.of(Stored))
    transactions = list(history.of(Transaction))
    findings = Findings()
    _completeness(rows, stored, transactions, findings)
    _order(transactions, stored, findings)
    _consumer(stored, list(history.of(Seen)), findings)
    watermarks = list(history.of(Watermark))
    _watermarks(rows.values(), watermarks, findings)
    _completeness_in_time(rows, transactions, watermarks, findings)
    findings.odd = [note.text for note in history.of(Note) if note.wrong]
    findings.odd += [
        f"{fault.kind} {fault.target}: no recovery" for fault in history.of(Fault) if fault.recovered_at is None
    ]
    return findings


def _completeness(
    rows: dict[str, Row], stored: Sequence[Stored], transactions: Iterable[Transaction], findings: Findings
) -> None:
    times: dict[str, int] = defaultdict(int)
    at: dict[tuple[str, int], str] = {}
    for message in stored:
        times[message.id] += 1
        at[message.stream, message.seq] = message.id
        if message.id not in rows:
            findings.phantom.append(f"{message.id} at {message.stream}:{message.seq}")
    findings.duplicated = [f"{id_}: {count} times" for id_, count in times.items() if count > 1]
    for row in rows.values():
        name = f"{row.id} (seq {row.seq}, key {row.key})"
        if row.id not in times and row.settled != "dead":
            findings.lost.append(f"{name}: {row.settled}")
        if row.settled == "pending":
            findings.stuck.append(name)
        if row.settled == "dead":
            findings.dead.append(name)
        if row.settled == "delivered" and at.get((row.stream or "", row.stream_seq or 0)) != row.id:
            findings.mismarked.append(f"{name}: {row.stream}:{row.stream_seq}")
    for transaction in transactions:
        for insert in transaction.inserts:
            if transaction.outcome == "committed" and insert.id not in rows:
                findings.forgotten.append(insert.id)
            if transaction.outcome == "rolled back" and insert.id in rows:
                findings.phantom.append(f"{insert.id}: rolled back, and in the outbox")


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


def _watermarks(rows: Iterable[Row], watermarks: Sequence[Watermark], findings: Findings) -> None:
    """Hold that everything up to a watermark was settled when it was read, and that it never moved back."""
    highest = 0
    for mark in watermarks:
        if mark.seq < highest:
            findings.early.append(f"the watermark moved back from {highest} to {mark.seq}")
        highest = max(highest, mark.seq)
    ordered = sorted(rows, key=lambda row: row.seq)
    latest, who, at = 0.0, None, 0
    for mark in sorted(watermarks, key=lambda mark: (mark.seq, -mark.read_at)):
        while at < len(ordered) and ordered[at].seq <= mark.seq:
            row = ordered[at]
            settled_at = inf if row.settled_at is None else row.settled_at
            if settled_at > latest:
                latest, who = settled_at, row
            at += 1
        if who is not None and latest > mark.read_at:
            findings.early.append(f"seq {who.seq} was settled after watermark {mark.seq}")


def _completeness_in_time(
    rows: dict[str, Row], transactions: Iterable[Transaction], watermarks: Sequence[Watermark], findings: Findings
) -> None:
    """Hold that everything whose commit had returned by the time of a watermark was settled when it was read.

    That this time never moves back is not asked here: it is read through a clock that two processes share.
    """
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
    known = [(mark.complete_at, mark.read_at) for mark in watermarks if mark.complete_at is not None]
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
    """Give the smallest value that so large a share of the values does not exceed; nan without any."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def recoveries(history: History) -> dict[str, list[float]]:
    """Give the seconds from "the component is back" to "the consumer has all that was committed by then", by kind."""
    found: dict[str, list[float]] = defaultdict(list)
    for fault in history.of(Fault):
        if fault.recovered_at is not None:
            found[fault.kind].append(fault.recovered_at - fault.back_at)
    return dict(found)
