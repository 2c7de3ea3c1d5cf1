"""The state of the outbox at one moment, from the database alone. Cheap on a table of any size."""

import time
from dataclasses import dataclass, replace
from itertools import starmap
from typing import Literal, NamedTuple

from relay.operate.access import Reader
from relay.operate.delivered import DeliveredSlot, Mark, changed_since, marks_from, read_delivered, slot_of
from relay.operate.message_size import LargeDead
from relay.postgres.migrate import newest_version
from relay.rules.database.origins import Origins
from relay.rules.replicas.differing_settings import differing
from relay.text import elapsed

# So far every count is exact; beyond it says "more than". It keeps each query to tenths of a second.
COUNT_UP_TO = 100_000
# How many seqs are searched for what is pending, from the watermark on.
SCAN_SEQS = 1_000_000
# What was delivered lately lies around the watermark, and, while one event keeps that back, among the newest.
LATELY_SEQS = 50_000
LATELY_S = 60.0
# Among how many dead letters those are looked for that were too large, and of how many topics a payload is read.
_LARGE, _LARGE_TOPICS = 5_000, 5


@dataclass(frozen=True, slots=True)
class Count:
    """A count, exact or a lower bound."""

    events: int
    bound: Literal["", "more than ", "at least "] = ""

    def __str__(self) -> str:
        return f"{self.bound}{self.events:,}"


class Waiting(NamedTuple):
    """A reason for which pending events wait, and the first event on which it is written.

    Attributes:
        noted: On how many events it is written.
        failure_class: As it is stored with the reason.
    """

    reason: str
    noted: int
    seq: int
    topic: str
    created_at: float
    failure_class: str | None


class Loss(NamedTuple):
    """A stream that has lost events which it had acknowledged; times in Unix seconds.

    Attributes:
        lost_at: Since when nobody has healed it; None: it was.
        repaired_at: When they were given back to be sent again, if the stream was not seen to hold a later event since.
    """

    stream: str
    lost_at: float | None
    repaired_at: float | None


class Shard(NamedTuple):
    """One shard: who owns it, and how far it is; times in Unix seconds.

    Attributes:
        owner: None if it was never owned.
        lease_left_s: Seconds until the lease expires, negative since it has; None if it was never owned.
        watermark: Every event of the shard up to this seq is settled.
        watermark_at: So is every event that was committed before this time.
    """

    number: int
    owner: str | None
    epoch: int
    lease_left_s: float | None
    watermark: int
    watermark_at: float | None

    @property
    def held(self) -> bool:
        """Whether somebody holds its lease."""
        return self.owner is not None and self.lease_left_s is not None and self.lease_left_s > 0


class Oldest(NamedTuple):
    """The oldest pending event; Unix seconds."""

    seq: int
    id: str
    topic: str
    key: str | None
    created_at: float
    last_error: str | None


class DeadReason(NamedTuple):
    """How many dead letters have a reason."""

    reason: str
    events: int


@dataclass(frozen=True, slots=True)
class Status:
    """What the database says at one moment; times in Unix seconds.

    Attributes:
        known_version: The newest schema version that this relay knows.
        origin: Which history of the outbox its newest seqs belong to.
        shards: All of them, in their order.
        watermark: Every event up to this seq is settled.
        newest: The highest seq in the table.
        oldest: The oldest pending event, None without one.
        next_retry_at: When the first of those in retry is due.
        waiting: Why pending events wait.
        dead_mark: The same as long as the dead letters are the same ones.
        delivered: How many were delivered in the last `delivered_s` seconds.
        reasons_of: Of how many of the newest dead letters the reasons are; None: of all that were counted.
        streams: The streams that were published to.
        dead_since: When the oldest of the dead letters that were counted was given up.
        losses: Streams that have lost events.
        differing: The settings in which the relays that work differ.
        large: Dead letters that a stream has refused for their size.
        slots: What was delivered by the clock, in every slot that may have changed since the earlier look.
        last_delivered_at: When the last event was delivered, as far as any look has seen.
        marks: How far everything was settled at looks before, as far back as the next one needs it.
        notes: What relays that work say of themselves: the name of each, and what it works in spite of.
    """

    at: float
    table: str
    payload_type: str
    version: int
    known_version: int
    origin: str
    shards: list[Shard]
    watermark: int
    newest: int
    backlog: Count
    oldest: Oldest | None
    retry: Count
    next_retry_at: float | None
    waiting: list[Waiting]
    dead: Count
    dead_mark: str
    dead_by_reason: list[DeadReason]
    delivered: Count
    delivered_s: float
    streams: list[str]
    dead_since: float | None = None
    losses: tuple[Loss, ...] = ()
    differing: tuple[str, ...] = ()
    large: tuple[LargeDead, ...] = ()
    slots: tuple[DeliveredSlot, ...] = ()
    last_delivered_at: float | None = None
    marks: tuple[Mark, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    reasons_of: int | None = None

    @property
    def lag_s(self) -> float:
        """The age of the oldest pending event, seconds; 0 without one, infinite if it is not known."""
        return 0.0 if self.oldest is None else elapsed(self.oldest.created_at, self.at)

    @property
    def owned(self) -> bool:
        """Whether some relay works."""
        return any(shard.held for shard in self.shards)


def read_status(reader: Reader, before: Status | None = None) -> Status:
    """Ask the database for everything.

    Args:
        before: An earlier look, from which on deliveries are counted; None: those of the last minute.
    """
    found = read_standing(reader, before)
    begin = slot_of(found.at - LATELY_S) if before is None else changed_since(before.at)
    marks = () if before is None else marks_from((*before.marks, Mark(before.at, before.watermark)), begin)
    from_seq = marks[0].watermark if marks else found.watermark
    if not marks or marks[0].at > begin:
        from_seq -= LATELY_SEQS
    middle = from_seq + 2 * LATELY_SEQS
    ranges = [(from_seq, middle), (max(middle, found.newest - LATELY_SEQS), found.newest)]
    slots, count = read_delivered(reader, ranges, begin, found.delivered_s)
    # An earlier look with the very same dead letters.
    same = before if before is not None and before.dead_mark == found.dead_mark else None
    reasons = None if same is None or same.reasons_of is not None else same.dead_by_reason
    all_searched = found.newest <= middle + LATELY_SEQS and (before is not None or count < LATELY_SEQS)
    return replace(
        found,
        dead_by_reason=read_dead_reasons(reader) if reasons is None else reasons,
        large=read_large(reader) if same is None else same.large,
        delivered=Count(count, "" if all_searched else "at least "),
        slots=slots,
        last_delivered_at=max((one.last_at for one in slots if one.last_at), default=found.last_delivered_at),
        marks=marks,
    )


def read_standing(reader: Reader, before: Status | None = None, count_up_to: int | None = None) -> Status:
    """Ask the database for what `read_status` returns, but for the reasons of dead letters and for deliveries.

    Args:
        before: As `read_status` takes it.
        count_up_to: So far every count is exact; None: `COUNT_UP_TO`.

    Returns:
        Without reasons, and with none or more deliveries.
    """
    most = COUNT_UP_TO if count_up_to is None else count_up_to
    watermark, newest = reader.row("operate/range")
    at = time.time()
    upper = min(newest, watermark + SCAN_SEQS)
    pending, *reasons = [_Pending._make(row) for row in reader.rows("operate/pending", (watermark, upper, most + 1))]
    retry, next_retry_at = reader.row("operate/retrying", (most + 1,))
    dead, dead_mark, dead_since = reader.row("operate/dead_count", (most + 1,))
    return Status(
        at=at,
        table=reader.tables.events,
        payload_type=reader.tables.payload_type,
        version=reader.version,
        known_version=newest_version(),
        origin=Origins(reader.row("operate/origin")[0]).of(newest + 1),
        shards=read_shards(reader),
        watermark=watermark,
        newest=newest,
        backlog=_backlog(pending.events, most, all_searched=upper == newest),
        oldest=pending.as_oldest(),
        retry=_bounded(retry, most),
        next_retry_at=next_retry_at,
        waiting=[reason.as_waiting() for reason in reasons],
        dead=_bounded(dead, most),
        dead_mark=dead_mark,
        dead_by_reason=[],
        delivered=Count(0, "at least "),
        delivered_s=LATELY_S if before is None else at - before.at,
        streams=[stream for stream, *_ in reader.rows("operate/streams")],
        differing=tuple(differing(member for member, _ in reader.rows("migrate/beats"))),
        dead_since=dead_since,
        notes=tuple((member, note) for member, notes in reader.rows("operate/notes") for note in notes.splitlines()),
        losses=tuple(starmap(Loss, reader.rows("operate/losses"))),
        last_delivered_at=None if before is None else before.last_delivered_at,
    )


class _Pending(NamedTuple):
    """All pending events or those with one reason to wait, and the first of them; its columns are null without one."""

    events: int
    reason: str | None
    failure_class: str | None
    seq: int | None
    id: str | None
    topic: str | None
    key: str | None
    created_at: float | None
    last_error: str | None

    def as_oldest(self) -> Oldest | None:
        if self.seq is None or self.id is None or self.topic is None or self.created_at is None:
            return None
        return Oldest(self.seq, self.id, self.topic, self.key, self.created_at, self.last_error)

    def as_waiting(self) -> Waiting:
        oldest = self.as_oldest()
        if oldest is None or self.reason is None:
            raise AssertionError("a reason stands on an event")
        return Waiting(self.reason, self.events, oldest.seq, oldest.topic, oldest.created_at, self.failure_class)


def read_dead_reasons(reader: Reader, newest: int | None = None) -> list[DeadReason]:
    """Return the most frequent reasons of dead letters; `newest`: of so many of the newest ones."""
    rows = reader.rows("operate/dead", (COUNT_UP_TO + 1 if newest is None else newest,))
    return [DeadReason(str(reason), int(count)) for reason, count in rows[:10]]


def read_large(reader: Reader) -> tuple[LargeDead, ...]:
    """Return the dead letters that a stream has refused for their size, by topic: of the newest 5,000, 5 topics."""
    return tuple(starmap(LargeDead, reader.rows("operate/dead_large", (_LARGE, _LARGE_TOPICS))))


def _backlog(pending: int, most: int, *, all_searched: bool) -> Count:
    return _bounded(pending, most) if all_searched or pending > most else Count(pending, "at least ")


def read_shards(reader: Reader) -> list[Shard]:
    """Return all shards, in their order."""
    return [Shard._make(row) for row in reader.rows("operate/shards")]


def read_oldest(reader: Reader, above: int, up_to: int) -> Oldest | None:
    """Return the oldest pending event of a range of seqs (`above` not included), None without one."""
    rows = reader.rows("operate/oldest", (above, up_to))
    return Oldest._make(rows[0]) if rows else None


def _bounded(count: int, most: int) -> Count:
    return Count(count) if count <= most else Count(most, "more than ")
