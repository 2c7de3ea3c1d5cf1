"""A small outbox in memory, and what each statement of the relay does to it; each write is held against the laws."""

import asyncio
import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from psycopg.adapt import Transformer
from psycopg.pq import Format

from relay.event import Event
from relay.postgres.arrays import BinaryArray
from relay.postgres.database import Locked, TooSlow
from relay.postgres.tables import Tables
from relay.rules.database.table_shape import COLUMNS
from relay.rules.order.seq_bounds import LARGEST
from relay.rules.reading.row_unchanged import digest
from tests.support.model.broker import Broker
from tests.support.model.clock import Clock

# Types of arrays, and how one says of what it is.
_BIGINTS, _UUIDS, _UUID_OID = 1016, 2951, (2950).to_bytes(4, "big")
_LATENCY_S = 0.002
_AWAY_S = 0.2
_ORIGINS = "0:f6a1c2d0-5b0e-4a53-9d2c-6a1f7f3f2b11"
Answer = list[tuple[Any, ...]]


class Names(Tables):
    """Statements by their names: nobody reads SQL here."""

    def query(self, name: str) -> bytes:
        """Return the name."""
        return name.encode()


@dataclass
class Row:
    """One row.

    Attributes:
        begun: How many rows had become visible when it was inserted.
        transaction: Of which transaction it is.
        visible: When it became visible, as a rank among all rows; None before its transaction has committed.
        odd: What the law of a delivery in order, and once, does not hold for: the operator has had a hand in it.
    """

    seq: int
    id: str
    topic: str
    key: str | None
    payload: bytes = field(repr=False)
    created_at: float
    begun: int = 0
    transaction: str = ""
    visible: int | None = None
    attempts: int = 0
    retry_at: float | None = None
    dead_at: float | None = None
    delivered_at: float | None = None
    stream: str | None = None
    stream_seq: int | None = None
    last_error: str | None = None
    odd: bool = False

    @property
    def pending(self) -> bool:
        """Whether it is neither delivered nor dead."""
        return self.delivered_at is None and self.dead_at is None


@dataclass
class Transaction:
    """An open transaction, and the rows that it will show when it commits."""

    name: str
    xid: int
    rows: list[Row] = field(default_factory=list)


@dataclass
class Contents:
    """What a failover to an older copy takes back."""

    rows: dict[int, Row] = field(default_factory=dict)
    drawn: int = 0
    owner: str | None = None
    epoch: int = 0
    crashes: int = 0
    lease_until: float = float("-inf")
    watermark: int = 0
    streams: dict[str, list[Any]] = field(default_factory=dict)


class Outbox:
    """The database, with one shard."""

    def __init__(self, clock: Clock, broker: Broker) -> None:
        self.clock = clock
        self.broker = broker
        self.now = Contents()
        self.open: list[Transaction] = []
        self.server = 1
        # A relay has to connect again when this changes.
        self.connections = 0
        self.begun = 0
        self.up = True
        # Reads of more payload than this outlast the limit of a statement, bytes.
        self.most_bytes = 1 << 40
        # Seqs below the watermark that may be pending: the operator, or a loss of the stream, has given them back.
        self.given_back: set[int] = set()
        # The sequence was set back, and no beat has said so yet.
        self.set_back = False
        # Seqs of rows that somebody has locked.
        self.locked: set[int] = set()
        # A mutant of the statements: a mark names its row by seq alone.
        self.by_seq_alone = False
        self.visible = 0
        self.ever: dict[str, Row] = {}

    # What applications and the operator do.

    def begin(self) -> Transaction:
        """Begin a transaction."""
        self.begun += 1
        self.open.append(Transaction(f"3/{self.begun}", self.begun))
        return self.open[-1]

    def draw(self, transaction: Transaction, topic: str, key: str | None, payload: bytes, event_id: str) -> Row:
        """Insert a row that nobody sees yet."""
        self.now.drawn += 1
        while self.now.drawn in self.now.rows:
            self.now.drawn += 1
        row = Row(self.now.drawn, event_id, topic, key, payload, self.clock.time(), self.visible, transaction.name)
        transaction.rows.append(row)
        return row

    def comes_before(self, one: Row, other: Row) -> bool:
        """Report whether a row is owed its place before another one of its key."""
        if one.transaction == other.transaction:
            return one.seq < other.seq
        return one.visible is not None and one.visible <= other.begun

    def end(self, transaction: Transaction, *, commit: bool) -> None:
        """End a transaction."""
        self.open.remove(transaction)
        if commit:
            for row in transaction.rows:
                self.show(row)

    def show(self, row: Row) -> None:
        """Let a row be seen."""
        self.visible += 1
        row.visible = self.visible
        self.now.rows[row.seq] = row
        self.ever[row.id] = row

    def copy(self) -> Contents:
        """Return a copy, such as a standby has."""
        return copy.deepcopy(self.now)

    def fail_over(self, to: Contents) -> None:
        """Go on with an older copy, on another server."""
        self.now = copy.deepcopy(to)
        self.open.clear()
        self.server += 1
        self.connections += 1000

    def truncate(self, *, restart: bool) -> None:
        """Take every row out; the sequence begins again, or goes on."""
        self.now.rows.clear()
        self.given_back.clear()
        if restart:
            self.now.drawn = 0
            self.set_back = True

    # What the relay asks.

    def answer(self, name: str, given: Sequence[Any]) -> Answer:
        """Run one statement."""
        statement: Callable[..., Answer] = getattr(self, "_" + name.replace("/", "_"))
        try:
            return statement(*given)
        except AssertionError as error:
            self.broker.broken = self.broker.broken or error
            raise

    def _identity(self) -> str:
        return f"server {self.server}"

    def _newest(self) -> int:
        return max(self.now.rows, default=0)

    def _event(self, row: Row, *, outline: bool = False) -> tuple[Any, ...]:
        postponed = None if row.retry_at is None else row.retry_at > self.clock.time()
        payload, created_at = (b"", 0.0) if outline else (row.payload, row.created_at)
        return row.seq, row.id, row.topic, row.key, payload, None, created_at, row.attempts, postponed

    def _pending(self, above: int, up_to: int) -> list[Row]:
        return [row for seq, row in sorted(self.now.rows.items()) if above < seq <= up_to and row.pending]

    def _owned(self, owner: str, epochs: int) -> bool:
        return self.now.owner == owner and self.now.epoch == epochs

    def _named(self, seqs: str, ids: str) -> list[tuple[Row | None, str]]:
        return [(self.now.rows.get(seq), one) for seq, one in zip(numbers(seqs), words(ids), strict=True)]

    def _delivery_start(self, _: object) -> Answer:
        return [(self.now.watermark, self._identity(), self._newest(), self.now.drawn, _ORIGINS)]

    def _delivery_redeliver_from(self, *given: object) -> Answer:
        now = self.clock.time()
        due = [
            row.seq
            for row in self._pending(-(1 << 62), 1 << 62)
            if row.retry_at is not None and row.retry_at <= now and (row.stream_seq is not None or given[-1])
        ]
        return [(min(due, default=None),)]

    def _delivery_fetch(self, cursor: int, upper: int, limit: int, *given: Any) -> Answer:
        """Give no payload of a row that is not small: a read ends before it."""
        most_bytes = given[-1]
        rows = self._pending(cursor, upper)[:limit]
        return [(*self._whole(row, len(row.payload) <= most_bytes), 0) for row in rows]

    def _delivery_fetch_few(self, cursor: int, most_bytes: int) -> Answer:
        return self._delivery_fetch(cursor, LARGEST, 64, most_bytes)

    def _delivery_fetch_bounded(self, cursor: int, upper: int, limit: int, *given: Any) -> Answer:
        return self._bounded(self._pending(cursor, upper)[:limit], *given[-3:])

    def _bounded(self, rows: Sequence[Row], payload_bytes: int, row_bytes: int, _: bool) -> Answer:
        """Return rows as far as they find room together; the first one does, unless it is larger than any may be.

        Raises:
            TooSlow: They hold more than can be read in time.
        """
        answer: Answer = []
        total = 0
        for row in rows:
            size = len(row.payload)
            if size > row_bytes:
                answer.append((*self._event(row)[:4], b"", *self._event(row)[5:], size))
                continue
            total += size
            answer.append((*self._whole(row, total <= payload_bytes or total == size), 0))
        if total > self.most_bytes and len(rows) > 1:
            raise TooSlow("canceling statement due to statement timeout")
        return answer

    def _whole(self, row: Row, fits: bool) -> tuple[Any, ...]:
        event = self._event(row)
        return event if fits else (*event[:4], None, *event[5:])

    def _delivery_outlines(self, cursor: int, upper: int, limit: int, *_: object) -> Answer:
        return [(*self._event(row, outline=True), _version(row)) for row in self._pending(cursor, upper)[:limit]]

    def _delivery_reread(self, lows: str, highs: str, limit: int, *given: Any) -> Answer:
        found: dict[int, Row] = {}
        for low, high in zip(numbers(lows), numbers(highs), strict=True):
            found.update((row.seq, row) for row in self._pending(low - 1, high))
        return self._bounded([row for _, row in sorted(found.items())][:limit], *given[-3:])

    def _delivery_due(self, limit: int, _: object, __: object, after_at: str, after: int, *given: Any) -> Answer:
        now, page = self.clock.time(), (float(after_at), after)
        due = [
            (row.retry_at, row.seq)
            for row in self.now.rows.values()
            if row.pending and row.retry_at is not None and row.retry_at <= now and (row.retry_at, row.seq) > page
        ]
        rows = [self.now.rows[seq] for _, seq in sorted(due)[:limit]]
        return [(*answer, repr(row.retry_at)) for row, answer in zip(rows, self._bounded(rows, *given), strict=True)]

    def _delivery_pending_among(self, seqs: str) -> Answer:
        return [(seq,) for seq in numbers(seqs) if seq in self.now.rows and self.now.rows[seq].pending]

    def _delivery_digests(self, seqs: str, _most_bytes: int) -> Answer:
        digests = []
        for seq in numbers(seqs):
            row = self.now.rows.get(seq)
            if row is not None and row.pending:
                event = Event(*self._event(row))
                digests.append((seq, event.id, event.key, digest(event)))
        return digests

    def _delivery_settled(self, low: int, high: int, *_: object) -> Answer:
        return [(seq, seq) for seq, row in sorted(self.now.rows.items()) if low <= seq <= high and not row.pending]

    def _ownership_columns(self) -> Answer:
        return [("r", name, types[0] if types else "jsonb") for name, types in COLUMNS.items()]

    def _delivery_drawn(self) -> Answer:
        return [(self.now.drawn,)]

    def _delivery_holders(self) -> Answer:
        return [(one.name, False, one.xid) for one in self.open if one.rows]

    def _delivery_ended(self, xids: str) -> Answer:
        at_work = {one.xid for one in self.open}
        return [(xid,) for xid in numbers(xids) if xid not in at_work]

    def _delivery_newest(self) -> Answer:
        return [(self._newest(),)]

    def _delivery_next_seq(self, above: int) -> Answer:
        return [(seq,) for seq in sorted(self.now.rows) if seq > above][:1]

    def _delivery_blocking(self, _: object, __: object, begin: int) -> Answer:
        return [
            (seq, row.key)
            for seq, row in sorted(self.now.rows.items())
            if row.key and (row.dead_at is not None or (row.pending and row.retry_at is not None and seq <= begin))
        ]

    def _delivery_undecided(self, seqs: str) -> Answer:
        return [
            (seq, row.key, row.dead_at is not None, row.retry_at is not None)
            for seq in numbers(seqs)
            if (row := self.now.rows.get(seq)) is not None and row.delivered_at is None
        ]

    def _delivery_mark(self, stream: str, seqs: str, stream_seqs: str, owner: str, epochs: int, ids: str) -> Answer:
        if not self.locked.isdisjoint(numbers(seqs)):
            raise Locked("canceling statement due to lock timeout")
        return [(len(self._mark(stream, seqs, stream_seqs, owner, epochs, ids)),)]

    def _delivery_mark_unlocked(
        self, stream: str, seqs: str, stream_seqs: str, owner: str, epochs: int, ids: str
    ) -> Answer:
        marked = self._mark(stream, seqs, stream_seqs, owner, epochs, ids)
        unlocked = [row.seq for row, _ in self._named(seqs, ids) if row is not None and row.seq not in self.locked]
        return [(self._owned(owner, epochs), marked, unlocked)]

    def _delivery_ours(self, owner: str, epochs: int) -> Answer:
        return [(self._owned(owner, epochs),)]

    def _mark(self, stream: str, seqs: str, stream_seqs: str, owner: str, epochs: int, ids: str) -> list[int]:
        marked = []
        for (row, event_id), stream_seq in zip(self._named(seqs, ids), numbers(stream_seqs), strict=True):
            if row is None or row.delivered_at is not None or row.seq in self.locked:
                continue
            if row.id != event_id and not self.by_seq_alone:
                continue
            if self._owned(owner, epochs):
                stored = self.broker.acknowledged.get(row.id, set())
                assert (stream, stream_seq) in stored, f"G1: {row} is marked, and the stream has never acknowledged it"
                row.delivered_at, row.stream, row.stream_seq = self.clock.time(), stream, stream_seq
                row.retry_at = None
                marked.append(row.seq)
        return marked

    def _delivery_still_pending(self, seqs: str, ids: str) -> Answer:
        named = [(row, event_id) for row, event_id in self._named(seqs, ids) if row is not None]
        other = {row.seq for row, event_id in named if row.id != event_id and not self.by_seq_alone}
        return [(row.seq, row.seq in other) for row, _ in named if row.seq in other or row.pending]

    def _one(self, seq: int, event_id: str, owner: str, epochs: int) -> Row | None:
        row = self.now.rows.get(seq)
        if seq in self.locked:
            raise Locked("canceling statement due to lock timeout")
        if row is None or row.id != event_id or not row.pending or not self._owned(owner, epochs):
            return None
        return row

    def _is_as_read(self, row: Row, key: str | None, sha256: str) -> bool:
        return row.key == key and digest(Event(*self._event(row))) == sha256

    def _delivery_version(self, seq: int, event_id: str) -> Answer:
        row = self.now.rows.get(seq)
        return [(_version(row),)] if row is not None and row.id == event_id and row.pending else []

    def _delivery_readable(self, seq: int, event_id: str) -> Answer:
        row = self.now.rows.get(seq)
        return [(len(row.payload),)] if row is not None and row.id == event_id else []

    def _delivery_postpone(
        self,
        seq: int,
        delay_s: float,
        attempts: int,
        error: str,
        owner: str,
        epochs: int,
        event_id: str,
        _: str,
        key: str | None,
        sha256: str,
        _most_bytes: int,
    ) -> Answer:
        row = self._one(seq, event_id, owner, epochs)
        if row is not None and not self._is_as_read(row, key, sha256):
            row = None
        if row is not None:
            row.retry_at, row.attempts, row.last_error = self.clock.time() + delay_s, attempts, error
        return [(int(row is not None),)]

    def _delivery_bury(
        self,
        seq: int,
        attempts: int,
        error: str,
        owner: str,
        epochs: int,
        event_id: str,
        _: str,
        key: str | None,
        sha256: str,
        _most_bytes: int,
        version: str | None,
    ) -> Answer:
        row = self._one(seq, event_id, owner, epochs)
        if row is not None:
            as_read = self._is_as_read(row, key, sha256) if version is None else _version(row) == version
            row = row if as_read else None
        if row is not None:
            row.dead_at, row.retry_at, row.attempts, row.last_error = self.clock.time(), None, attempts, error
        return [(int(row is not None),)]

    def _delivery_note(
        self,
        seqs: str,
        errors: list[str],
        owner: str,
        epochs: int,
        ids: str,
        _: list[str],
        row_keys: list[str | None],
        digests: list[str],
        _most_bytes: int,
    ) -> Answer:
        noted = 0
        for seq, error, event_id, key, sha256 in zip(numbers(seqs), errors, words(ids), row_keys, digests, strict=True):
            if seq in self.locked:
                continue
            row = self._one(seq, event_id, owner, epochs)
            if row is not None and self._is_as_read(row, key, sha256):
                row.last_error = error
                noted += 1
        return [(noted,)]

    def _delivery_raise_attempts(self, seqs: str, attempts: str, owner: str, epochs: int, ids: str) -> Answer:
        for (row, event_id), tried in zip(self._named(seqs, ids), numbers(attempts), strict=True):
            if row is None or row.id != event_id or not row.pending or row.seq in self.locked:
                continue
            if self._owned(owner, epochs) and row.attempts == tried - 1:
                row.attempts = tried
        return [(0,)]

    def _delivery_lower_attempts(self, seqs: str, attempts: str, owner: str, epochs: int, ids: str) -> Answer:
        for (row, event_id), tried in zip(self._named(seqs, ids), numbers(attempts), strict=True):
            if row is None or row.id != event_id or row.attempts != tried or row.dead_at is not None:
                continue
            if row.seq in self.locked:
                continue
            if self._owned(owner, epochs):
                row.attempts = 0 if row.retry_at is None else max(0, tried - 1)
        return [(0,)]

    def _ownership_beat(
        self,
        member: str,
        ttl_s: float,
        shards: str,
        epochs: str,
        watermark: int,
        _: object,
        identity: str | None,
        _notes: str,
        _allow_nats: str,
    ) -> Answer:
        now = self.clock.time()
        kept = []
        if numbers(shards) == [0] and numbers(epochs) == [self.now.epoch]:
            self.now.lease_until = now + ttl_s
            kept = [0]
            self._persist(watermark, identity)
        self.set_back = False
        free = int(self.now.lease_until < now)
        found = self._identity(), self._newest(), self.now.drawn, _ORIGINS, self._ownership_columns()
        return [(kept, None, free, 1, now, *found)]

    def _persist(self, watermark: int, identity: str | None) -> None:
        watermark = min(watermark, self.now.drawn)
        if identity not in (None, self._identity()) or watermark <= self.now.watermark:
            return
        self.now.watermark = watermark
        if not self.set_back:
            self.hold_complete()

    def hold_complete(self) -> None:
        """Hold that nothing at or below the watermark is pending, or will become visible.

        Raises:
            AssertionError: Something is.
        """
        drawn = [row for one in self.open for row in one.rows]
        early = [
            row
            for row in (*self.now.rows.values(), *drawn)
            if row.seq <= self.now.watermark and row.pending and row.seq not in self.given_back
        ]
        assert not early, f"G9: the watermark is {self.now.watermark}, and below it there is {early}"

    def _ownership_claim(self, member: str, ttl_s: float, _: int) -> Answer:
        now, state = self.clock.time(), self.now
        if state.lease_until < now:
            state.crashes += int(state.owner not in (None, member))
            state.owner, state.epoch, state.lease_until = member, state.epoch + 1, now + ttl_s
        return [(0, state.epoch, state.crashes)] if state.owner == member else []

    def _ownership_reset_crashes(self, member: str) -> Answer:
        if self.now.owner == member:
            self.now.crashes = 0
        return [(1,)]

    def _ownership_lower_watermark(self, shards: str, epochs: str, seq: int) -> Answer:
        if numbers(shards) == [0] and numbers(epochs) == [self.now.epoch]:
            self.now.watermark = min(self.now.watermark, seq)
        return [(1,)]

    def _ownership_release(self, shards: str, epochs: str, watermark: int, _: object, identity: str | None) -> Answer:
        if numbers(shards) == [0] and numbers(epochs) == [self.now.epoch]:
            self.now.owner, self.now.lease_until = None, float("-inf")
            self._persist(watermark, identity)
        return [(1,)]

    def _ownership_leave(self, member: str) -> Answer:
        if self.now.owner == member:
            self.now.owner, self.now.lease_until = None, float("-inf")
        return [(1,)]

    def _ownership_clock(self) -> Answer:
        return [(self.clock.time(),)]

    def _ownership_watermark(self) -> Answer:
        return [(self.now.watermark, None)]

    def _maintenance_dead_letters_and_size(self, _: int) -> Answer:
        return [(0, 0)]

    def _adopt_installed(self) -> Answer:
        return []

    def _integrity_stream_states(self, _: object) -> Answer:
        return [tuple(self.now.streams[name]) for name in sorted(self.now.streams)]

    def _integrity_save_stream_state(
        self,
        stream: str,
        created: str | None,
        first_seq: int,
        floor: int,
        mark_seq: int,
        mark_id: str | None,
        begun_at: float,
        lost: bool,
        repaired_at: float,
        identity: str,
        owner: str,
        epochs: int,
        looked_seq: int | None,
        looked_id: str | None,
    ) -> Answer:
        if identity != self._identity() or not self._owned(owner, epochs):
            return [(0,)]
        known = self.now.streams.get(stream)
        was_lost = known is not None and known[6]
        looked = known[9] if known is not None else []
        if looked_seq is not None:
            looked = [f"{looked_seq} {looked_id}"] if looked_id is not None else []
        self.now.streams[stream] = [
            stream, created, first_seq, floor, mark_seq, mark_id, lost or was_lost, begun_at, repaired_at, looked
        ]  # fmt: skip
        return [(1,)]

    def _integrity_outline_of(self, event_id: str) -> Answer:
        return [self._event(row, outline=True) for row in self.now.rows.values() if row.id == event_id]

    def _integrity_highest_marks(self, above: int, up_to: int, *_: object) -> Answer:
        best: dict[str, Row] = {}
        for row in self.now.rows.values():
            if not above < row.seq <= up_to or row.delivered_at is None or row.stream is None:
                continue
            begun_at = self.now.streams[row.stream][7] if row.stream in self.now.streams else float("-inf")
            known = best.get(row.stream)
            if row.delivered_at > begun_at and (known is None or (row.stream_seq or 0) > (known.stream_seq or 0)):
                best[row.stream] = row
        return [(stream, row.stream_seq, row.id) for stream, row in sorted(best.items())]

    def _integrity_marked_ranges(
        self, above: int, up_to: int, stream: str, first: int, last: int, since: float
    ) -> Answer:
        places = {
            row.stream_seq
            for row in self.now.rows.values()
            if above < row.seq <= up_to
            and row.stream == stream
            and first <= (row.stream_seq or 0) <= last
            and row.delivered_at is not None
            and row.delivered_at >= since
        }
        # Each by itself: the relay joins them.
        return [(place, place) for place in places if place is not None]

    def _integrity_pending_ids(self, ids: str, *_: object) -> Answer:
        wanted = set(words(ids))
        return [(row.seq, row.id) for row in self.now.rows.values() if row.id in wanted and row.pending]

    def _integrity_places(self, ids: str) -> Answer:
        wanted = set(words(ids))
        return [
            (row.id, row.stream, row.stream_seq, row.delivered_at)
            for row in self.now.rows.values()
            if row.id in wanted and row.delivered_at is not None
        ]

    def _integrity_delivered(self, above: int, up_to: int, stream: str, stored_above: int, *_: object) -> Answer:
        return [
            (row.seq, row.id, row.stream_seq, row.delivered_at, row.topic, row.key, row.stream)
            for seq, row in sorted(self.now.rows.items())
            if above < seq <= up_to
            and row.delivered_at is not None
            and row.stream == stream
            and (row.stream_seq or 0) > stored_above
        ]

    def _integrity_mark_lost(
        self,
        seqs: str,
        stream: str,
        due_at: float,
        after_s: float,
        owner: str,
        epochs: int,
        ids: str,
        stream_seqs: str,
    ) -> Answer:
        marked = 0
        for seq, event_id, stream_seq in zip(numbers(seqs), words(ids), numbers(stream_seqs), strict=True):
            row = self.now.rows.get(seq)
            if (
                row is None
                or row.id != event_id
                or (row.stream, row.stream_seq) != (stream, stream_seq)
                or row.delivered_at is None
                or not self._owned(owner, epochs)
            ):
                continue
            row.retry_at, row.delivered_at = max(due_at, row.delivered_at + after_s), None
            self.given_back.add(seq)
            marked += 1
        return [(marked,)]


class Link:
    """One connection of a relay to the outbox: what `relay.postgres.database.Database` is to it.

    Args:
        is_alive: Whether the process is there: one that was killed asks nothing more.

    Attributes:
        up: Whether the database answers; None if nobody asks.
        refusal: What it refuses: nothing.
    """

    refusal = ""

    def __init__(self, outbox: Outbox, is_alive: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._is_alive = is_alive
        self._connected_to: int | None = None
        self._turn = asyncio.Lock()
        self.generation = 0
        self.up: bool | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def run(
        self,
        query: bytes,
        params: Sequence[object] = (),
        *,
        patient: bool = True,
        lock_timeout_s: float | None = None,
        waits: bool = False,
        raises: bool = False,
        named: bool = False,
        changes_rows: bool = False,
    ) -> Answer:
        """Run a statement until its answer has come.

        Raises:
            Locked: It has met a lock.
        """
        outbox = self._outbox
        async with self._turn:
            while True:
                await self._reach()
                if self._connected_to != outbox.connections or not outbox.up:
                    continue
                answer = outbox.answer(query.decode(), params)
                await asyncio.sleep(_LATENCY_S)
                if not self._is_alive():
                    raise asyncio.CancelledError
                # An answer that is lost with its connection is asked for again.
                if self._connected_to == outbox.connections and outbox.up:
                    return answer

    def rest(self) -> None:
        """Note that nobody uses it for a while."""
        self.up = None

    async def _reach(self) -> None:
        await asyncio.sleep(_LATENCY_S)
        while not self._outbox.up:
            self._connected_to = None
            self.up = False
            await asyncio.sleep(_AWAY_S)
        if not self._is_alive():
            raise asyncio.CancelledError
        if self._connected_to != self._outbox.connections:
            self._connected_to = self._outbox.connections
            self.generation += 1
            self.up = True


def _version(row: Row) -> str:
    """Return another text after each change of a row."""
    return repr((row, row.payload))


def numbers(array: str | Iterable[int] | None) -> list[int]:
    """Read an array of integers as the relay writes it."""
    return [int(one) for one in words(array)]


def words(array: Any) -> list[str]:
    """Read an array as the relay writes it, as text or in binary."""
    if array is None:
        return []
    if isinstance(array, BinaryArray):
        of_uuids = array.wire[8:12] == _UUID_OID
        array = Transformer().get_loader(_UUIDS if of_uuids else _BIGINTS, Format.BINARY).load(array.wire)
    return [one for one in array.strip("{}").split(",") if one] if isinstance(array, str) else list(map(str, array))
