"""The outbox as the relay sees it. Each method is one statement of ``sql/queries``."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import repeat

from relay.errors import BadValue
from relay.event import Event
from relay.outcomes import DeadLetter
from relay.postgres.database import LOCK_TIMEOUT_S, Database, Row
from relay.postgres.rows import DeadRow, Due, ReusedSeq, StreamStateRow, Suspect, TableRow, Told, Undecided
from relay.postgres.single_value import value
from relay.postgres.tables import Tables, array
from relay.rules.database.adoption import Adoption, Installed, adoption_of
from relay.rules.database.database_state import DatabaseState, StartingPoint
from relay.rules.order.gaps import Holder
from relay.rules.order.seq_bounds import LARGEST
from relay.rules.reading.read_batch_size import SMALL_BYTES, Read, Room
from relay.rules.reading.row_unchanged import Digest
from relay.rules.settling.watermark import Watermark
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import DeliveredRow, Place, Seen

# What one `delivery/fetch_few` reads at most.
_FEW = 64


def _events(rows: list[Row]) -> list[Event]:
    return [Event(*row) for row in rows]


def _most_bytes(room: Room) -> int:
    """Return how large a row of a quick read may be."""
    return max(SMALL_BYTES, room.payload_bytes // room.rows)


def _read(rows: list[Row], is_cut: bool) -> Read:
    """Take the rows of a read up to the first that found no room, which has an id and no payload."""
    crowded_at = None
    ours = rows
    # Hardly any read has such rows, or rows that are not ours: one look tells, since neither has a payload.
    if None in [row[4] for row in rows]:
        crowded_at = next((at for at, row in enumerate(rows) if row[4] is None and row[1] is not None), None)
        rows = rows[:crowded_at]
        ours = [row for row in rows if row[1] is not None]
    # What `Event._make` does, in half of the time.
    events = list(map(tuple.__new__, repeat(Event), ours))
    return Read(events, [row[0] for row in rows], is_cut or crowded_at is not None, crowded_at is not None)


class OutboxReader:
    """What the fetching side reads of some shards. All reads see what is committed; none takes a lock.

    Args:
        shards: Which are ours; None: all.
        of: How many there are.
    """

    def __init__(self, database: Database, tables: Tables, shards: Sequence[int] | None, of: int) -> None:
        self._database = database
        self._run = database.run
        self._run_once = partial(database.run, patient=False)
        self._run_unlocked = partial(database.run, patient=False, lock_timeout_s=LOCK_TIMEOUT_S)
        self._tables = tables
        self._ours = (None if shards is None else array(shards), of)
        # Whether the latest read of what is new brought so little that the next one may ask for few.
        self._were_few = False
        self.ratio = 1.0 if shards is None else len(shards) / of

    @property
    def generation(self) -> int:
        """Rises with each new connection: what was read before may no longer be there."""
        return self._database.generation

    @property
    def payload_type(self) -> str:
        """The type of the payload column that all reads expect."""
        return self._tables.payload_type

    @property
    def has_all(self) -> bool:
        """Whether every shard is ours."""
        return self._ours[0] is None

    async def starting_point(self, *, with_due: bool = False) -> StartingPoint:
        """Return the seq above which fetching begins, and how the database is found.

        Args:
            with_due: Begin below everything that is due, which comes by itself later on otherwise.

        It begins at the lowest watermark, or below the first event that a stream has lost and that is to be sent
        again, so that nothing of its key goes before it. If the sequence was set back below the watermark, it begins
        below every row.
        """
        watermark, *state = (await self._run(self._tables.query("delivery/start"), (self._ours[0],)))[0]
        database = DatabaseState(*state)
        if not database.settles(watermark):
            return StartingPoint(0, database, set_back=True)
        lowest = value(await self._run(self._tables.query("delivery/redeliver_from"), (*self._ours, with_due)))
        return StartingPoint(watermark if lowest is None else min(watermark, lowest - 1), database)

    async def fetch(self, cursor: int, upper: int, room: Room) -> Read:
        """Read our next pending events above `cursor` up to `upper`, in the order of seq.

        Raises:
            TooSlow: It was not done in time.
            BadValue: PostgreSQL failed at a value of a row. A careful read does so only if no row fails by itself.
        """
        if room.careful:
            return _read(*await self._bounded("delivery/fetch_bounded", (cursor, upper), room, self._ours))
        if upper == LARGEST and (few := self._few(cursor, room)) is not None:
            rows, most = await self._run_once(*few, named=True), _FEW
        else:
            quick = (cursor, upper, room.rows, *self._ours, _most_bytes(room))
            rows, most = await self._run_once(self._tables.query("delivery/fetch"), quick), room.rows
        if upper == LARGEST:
            self._were_few = len(rows) < _FEW
        return _read(rows, len(rows) == most)

    def asking(self, cursor: int, room: Room) -> Callable[[], None] | None:
        """Return what sends the read of what is new, which `ahead` or `fetch` takes; None if many rows are expected."""
        few = self._few(cursor, room)
        return None if few is None else self._database.asking(*few)

    async def ahead(self, cursor: int, room: Room) -> Read | None:
        """Return the read that was sent ahead; None if it was not, or does not come whole within a moment."""
        if (few := self._few(cursor, room)) is None or (rows := await self._database.ahead(*few)) is None:
            return None
        self._were_few = len(rows) < _FEW
        return _read(rows, not self._were_few)

    def _few(self, cursor: int, room: Room) -> tuple[bytes, tuple[int, int]] | None:
        """Return the statement that reads few rows above a cursor, and its values; None if many are expected."""
        if room.careful or room.rows < _FEW or not (self.has_all and self._were_few):
            return None
        return self._tables.query("delivery/fetch_few"), (cursor, _most_bytes(room))

    async def outlines(self, cursor: int, upper: int, limit: int) -> list[Event]:
        """Return our next pending events as `fetch` does, without payload, headers and time."""
        return [suspect.event for suspect in await self.suspects(cursor, upper, limit)]

    async def suspects(self, cursor: int, upper: int, limit: int) -> list[Suspect]:
        """Return our next pending events as `outlines` does, with their versions, up to a row that cannot be read."""
        try:
            rows = await self._run(self._tables.query("delivery/outlines"), (cursor, upper, limit, *self._ours))
        except BadValue:
            return await self.suspects(cursor, upper, limit // 2) if limit > 1 else []
        return [Suspect(Event(*outline), version) for *outline, version in rows]

    async def fetch_among(self, cursor: int, upper: int, room: Room) -> Read:
        """Read the next visible rows above `cursor` up to `upper`, in the order of seq, whosever they are.

        Raises:
            TooSlow: It was not done in time.
            BadValue: As `fetch`.
        """
        return _read(*await self._bounded("delivery/fetch_among", (cursor, upper), room, self._ours))

    async def reread(self, los: Sequence[int], his: Sequence[int], room: Room) -> Read:
        """Read pending events that have appeared in the ranges, in the order of seq.

        Raises:
            TooSlow: It was not done in time.
            BadValue: As `fetch`.
        """
        return _read(*await self._bounded("delivery/reread", (array(los), array(his)), room, self._ours))

    async def due(self, after: Due, room: Room) -> tuple[Read, Due]:
        """Read events whose retry is due, the longest due first.

        Args:
            after: Where the previous page ended; `NOTHING_DUE` for the first page.
            room: How much the page may bring.

        Returns:
            The page, and where it ended.

        Raises:
            TooSlow: It was not done in time.
            BadValue: As `fetch`.
        """
        rows, is_cut = await self._bounded("delivery/due", (), room, (*self._ours, *after))
        read = _read([row[:10] for row in rows], is_cut)
        return read, Due(rows[len(read.seqs) - 1][10], read.seqs[-1]) if read.seqs else after

    async def _bounded(
        self, name: str, before: Sequence[object], room: Room, after: Sequence[object]
    ) -> tuple[list[Row], bool]:
        """Run a read whose rows share the room.

        If PostgreSQL fails at a value of a row, each row is tried by itself, in their order. The read ends with the
        first that fails, which comes without its contents and with the server's words.

        Args:
            before: What the statement takes before the number of rows.
            after: What it takes after that.

        Returns:
            The rows, and whether the read ended at a limit.

        Raises:
            BadValue: It failed, and no row fails by itself.
        """
        query = self._tables.query(name)
        size = (room.payload_bytes, room.row_bytes)
        try:
            rows = await self._run_once(query, (*before, room.rows, *after, *size, True))
        except BadValue:
            outlines = await self._run_once(query, (*before, room.rows, *after, *size, False))
            for at, outline in enumerate(outlines):
                why = await self._why_unreadable(outline)
                if why is None:
                    continue
                readable = await self._run_once(query, (*before, at, *after, *size, True)) if at else []
                if [row[0] for row in readable] == [row[0] for row in outlines[:at]]:
                    readable.append((*outline[:9], why, *outline[10:]))
                return readable, True
            raise
        return rows, len(rows) == room.rows

    async def _why_unreadable(self, row: Row) -> str | None:
        """Return what PostgreSQL says when it reads a row; None if it can read it, or it is not ours."""
        seq, event_id, *_ = row
        if event_id is None:
            return None
        try:
            await self._run_once(self._tables.query("delivery/readable"), (seq, event_id))
        except BadValue as error:
            return str(error)
        return None

    async def settled(self, lo: int, hi: int) -> list[tuple[int, int]]:
        """Return the ranges from `lo` to `hi`, ascending, of events that are settled or not ours."""
        rows = await self._run(self._tables.query("delivery/settled"), (lo, hi, *self._ours))
        return [(first, last) for first, last in rows]

    async def drawn(self) -> int | None:
        """Return the last seq that was drawn, 0 before the first; None if this role may not see the sequence."""
        drawn = value(await self._run(self._tables.query("delivery/drawn")))
        return None if drawn is None else int(drawn)

    async def holders(self) -> dict[str, Holder]:
        """Return the transactions that may still commit events."""
        rows = await self._run(self._tables.query("delivery/holders"))
        return {name: Holder(prepared, xid) for name, prepared, xid in rows}

    async def ended(self, xids: Collection[int]) -> list[int]:
        """Return those of the transactions, by their ids, that have ended: all that they will ever show is visible."""
        return [xid for (xid,) in await self._run(self._tables.query("delivery/ended"), (array(xids),))]

    async def announced(self, published: Watermark) -> Told:
        """Return the watermark of all shards, and what keeps it from being published after one that was published."""
        query = self._tables.query("maintenance/announced")
        return Told._make((await self._run(query, (published.seq, published.at)))[0])

    async def now(self) -> float:
        """Return the time by the database's clock, Unix seconds."""
        return float(value(await self._run(self._tables.query("ownership/clock"))))

    async def newest(self) -> int:
        """Return the newest seq that is visible, 0 without any."""
        return int(value(await self._run(self._tables.query("delivery/newest"))))

    async def blocking(self, begin: int) -> list[tuple[int, str]]:
        """Return seq and key of what bars its key: dead letters that were not discarded, and what was given back.

        Args:
            begin: Above this seq fetching begins; what was given back above it comes in its order by itself.
        """
        return [
            (seq, key) for seq, key in await self._run(self._tables.query("delivery/blocking"), (*self._ours, begin))
        ]

    async def undecided(self, seqs: Sequence[int]) -> dict[int, Undecided]:
        """Return those of the dead letters `seqs`, as they are now, that were neither discarded nor delivered."""
        rows = await self._run(self._tables.query("delivery/undecided"), (array(seqs),))
        return {seq: Undecided(*row) for seq, *row in rows}

    async def pending_among(self, seqs: Sequence[int]) -> set[int]:
        """Return those of the seqs whose events are pending: neither delivered, nor dead, nor deleted."""
        return {seq for (seq,) in await self._run(self._tables.query("delivery/pending_among"), (array(seqs),))}

    async def digests(self, seqs: Sequence[int], most_bytes: int) -> dict[int, Digest]:
        """Return what those of the seqs are now whose events are pending.

        Args:
            seqs: Which events.
            most_bytes: A row that is stored in more is not looked into.

        Raises:
            TooSlow: It was not done in time.
            BadValue: PostgreSQL failed at a value of one of the rows.
        """
        rows = await self._run_once(self._tables.query("delivery/digests"), (array(seqs), most_bytes))
        return {seq: Digest._make(row) for seq, *row in rows}

    async def dead_uncopied(self, since: float, limit: int, most_bytes: int | None) -> list[DeadLetter]:
        """Return at most `limit` dead letters of `since` (Unix seconds) or later that were not published since then.

        Payloads and headers of more than `most_bytes` are left out, and all of them if that is None.

        Raises:
            BadValue: PostgreSQL cannot read one of them. With None it does not read what is large in them.
        """
        rows = await self._run(self._tables.query("maintenance/dead_uncopied"), (since, limit, most_bytes))
        return [DeadRow._make(row).dead_letter() for row in rows]

    async def table_facts(self, limit: int) -> TableRow:
        """Return how many dead letters nobody has decided about, at most `limit`, and the table's size in bytes."""
        return TableRow._make((await self._run(self._tables.query("maintenance/dead_letters_and_size"), (limit,)))[0])

    async def adoptions(self) -> list[Adoption]:
        """Return the foreign tables of this database whose rows are copied, into this outbox or another one."""
        return [adoption_of(Installed._make(row)) for row in await self._run(self._tables.query("adopt/installed"))]

    async def streams_seen(self, *, patient: bool = True, of_all: bool = False) -> list[Seen]:
        """Return what the owners of our shards, or of all, last saw of each stream.

        Args:
            patient: Whether to wait while somebody else has locked that table.
            of_all: Whether to ask for all shards.

        Raises:
            Unfinished: Somebody has, or it took too long; only if not patient.
        """
        run = self._run if patient else self._run_unlocked
        rows = await run(self._tables.query("integrity/stream_states"), (None if of_all else self._ours[0],))
        return [StreamStateRow._make(row).seen() for row in rows]

    async def outline_of(self, event_id: str) -> Event | None:
        """Return the event of an id, without payload, headers and time; None if it was deleted."""
        events = _events(await self._run(self._tables.query("integrity/outline_of"), (event_id,)))
        return events[0] if events else None

    async def highest_marks(self, above: int, up_to: int, *, of_all: bool = False) -> list[tuple[str, Mark]]:
        """Return our highest mark of each stream, or that of all shards, in a range of seqs, which must be small."""
        ours = (None, self._ours[1]) if of_all else self._ours
        rows = await self._run(self._tables.query("integrity/highest_marks"), (above, up_to, *ours))
        return [(stream, Mark(stream_seq, event_id)) for stream, stream_seq, event_id in rows]

    async def marked_ranges(
        self, above: int, up_to: int, stream: str, stored: tuple[int, int], since: float
    ) -> list[tuple[int, int]]:
        """Return the sequences of a stream at which delivered events were stored, as ranges, ascending.

        Args:
            above: The events have seqs above this one, whosever they are,
            up_to: and up to this one; the range must be small.
            stream: Which one, as marks name it.
            stored: The first and the last sequence that is asked for.
            since: They were marked then or later, Unix seconds by the database's clock.
        """
        rows = await self._run(self._tables.query("integrity/marked_ranges"), (above, up_to, stream, *stored, since))
        return [(first, last) for first, last in rows]

    async def pending_ids(self, ids: Sequence[str]) -> list[tuple[int, str]]:
        """Return seq and id of those of the message ids, all of them UUIDs, that are pending events of ours."""
        rows = await self._run(self._tables.query("integrity/pending_ids"), ("{" + ",".join(ids) + "}", *self._ours))
        return [(seq, event_id) for seq, event_id in rows]

    async def reused_seqs(self, events: Sequence[tuple[int, str]]) -> list[ReusedSeq]:
        """Return which stored events have a seq that is another row's now, or that is yet to be drawn again.

        Args:
            events: The seq and the id, a UUID, of each.
        """
        seqs, ids = array(seq for seq, _ in events), "{" + ",".join(event_id for _, event_id in events) + "}"
        rows = await self._run(self._tables.query("integrity/reused_seqs"), (seqs, ids))
        return [ReusedSeq._make(row) for row in rows]

    async def delivered(self, above: int, up_to: int, stream: str, stored_above: int) -> list[DeliveredRow]:
        """Return our delivered events of a stream in a range of seqs, which must be small, in the order of seq."""
        rows = await self._run(
            self._tables.query("integrity/delivered"), (above, up_to, stream, stored_above, *self._ours)
        )
        return [DeliveredRow._make(row) for *row, _ in rows]

    async def delivered_to_any(self, above: int, up_to: int) -> dict[str, list[DeliveredRow]]:
        """Return the delivered events of all shards in a range of seqs, which must be small, by stream, in their order.

        Raises:
            Unfinished: Somebody has locked the table, or it took too long.
        """
        found: dict[str, list[DeliveredRow]] = {}
        for *row, stream in await self._run_unlocked(
            self._tables.query("integrity/delivered"), (above, up_to, None, 0, None, 1)
        ):
            found.setdefault(stream, []).append(DeliveredRow._make(row))
        return found

    async def places(self, ids: Sequence[str]) -> dict[str, Place]:
        """Return where those of the message ids, all of them UUIDs, that are delivered events were stored."""
        rows = await self._run(self._tables.query("integrity/places"), ("{" + ",".join(ids) + "}",))
        return {event_id: Place._make(place) for event_id, *place in rows}

    async def next_seq(self, above: int) -> int | None:
        """Return the first seq above one that is in the table, None above the last."""
        rows = await self._run(self._tables.query("delivery/next_seq"), (above,))
        return int(rows[0][0]) if rows else None
