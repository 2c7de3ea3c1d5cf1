"""The outbox as the relay sees it: fetch, settle, postpone, bury. Each method is one statement of ``sql/queries``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.database import Database, Row
from relay.event import Event
from relay.losses import DeliveredRow, Seen
from relay.ownership import Watermark
from relay.sql import Tables, array
from relay.tail import Mark


def _events(rows: list[Row]) -> list[Event]:
    return [Event._make(row) for row in rows]


class OutboxReader:
    """What the fetching side reads of some shards. All reads see what is committed; none takes a lock.

    Args:
        shards: Which are ours; None: all.
        of: How many there are.
    """

    def __init__(self, database: Database, tables: Tables, shards: Sequence[int] | None, of: int) -> None:
        self._database = database
        self._run = database.run
        self._tables = tables
        self._ours = (None if shards is None else array(shards), of)
        self.ratio = 1.0 if shards is None else len(shards) / of

    @property
    def generation(self) -> int:
        """Rises with each new connection: what was read before may no longer be there."""
        return self._database.generation

    @property
    def has_all(self) -> bool:
        """Whether every shard is ours."""
        return self._ours[0] is None

    async def starting_point(self) -> tuple[int, int]:
        """Give the seq above which fetching begins, and the newest seq that is visible.

        It begins at the lowest watermark, or below the first event that a stream has lost and that is to be sent
        again, so that nothing of its key goes before it.
        """
        watermark, newest = (await self._run(self._tables.text("start"), (self._ours[0],)))[0]
        lowest = (await self._run(self._tables.text("redeliver_from"), self._ours))[0][0]
        return int(watermark) if lowest is None else min(int(watermark), lowest - 1), int(newest)

    async def fetch(self, cursor: int, upper: int, limit: int) -> list[Event]:
        """Give our next pending events above `cursor` up to `upper`, at most `limit`, in the order of seq."""
        return _events(await self._run(self._tables.text("fetch"), (cursor, upper, limit, *self._ours)))

    async def outlines(self, cursor: int, upper: int, limit: int) -> list[Event]:
        """Give our next pending events as `fetch` does, without payload, headers and time."""
        return _events(await self._run(self._tables.text("outlines"), (cursor, upper, limit, *self._ours)))

    async def fetch_among(self, cursor: int, upper: int, limit: int) -> tuple[list[Event], list[int]]:
        """Read the next visible rows above `cursor` up to `upper`, at most `limit`, whosever they are.

        Returns:
            Our pending events, and the seqs of all rows; both ascending.
        """
        rows = await self._run(self._tables.text("fetch_among"), (cursor, upper, limit, *self._ours))
        return _events([row for row in rows if row[1] is not None]), [row[0] for row in rows]

    async def reread(self, los: Sequence[int], his: Sequence[int], limit: int) -> list[Event]:
        """Give pending events that have appeared in the ranges, at most `limit`, in the order of seq."""
        return _events(await self._run(self._tables.text("reread"), (array(los), array(his), limit, *self._ours)))

    async def due(self, limit: int) -> list[Event]:
        """Give events whose retry is due, at most `limit`, the longest due first."""
        return _events(await self._run(self._tables.text("due"), (limit, *self._ours)))

    async def settled(self, lo: int, hi: int) -> list[tuple[int, int]]:
        """Give the ranges from `lo` to `hi`, ascending, of events that are settled or not ours."""
        rows = await self._run(self._tables.text("settled"), (lo, hi, *self._ours))
        return [(first, last) for first, last in rows]

    async def holders(self) -> dict[str, bool]:
        """Give the transactions that may still commit events; True for a prepared one."""
        return dict(await self._run(self._tables.text("holders")))

    async def watermark(self) -> Watermark:
        """Give the watermark of the whole outbox, whoever owns it."""
        seq, at = (await self._run(self._tables.text("watermark")))[0]
        return Watermark(seq, at)

    async def now(self) -> float:
        """Give the time by the database's clock, Unix seconds."""
        return float((await self._run(self._tables.text("clock")))[0][0])

    async def newest(self) -> int:
        """Give the newest seq that is visible, 0 without any."""
        return int((await self._run(self._tables.text("newest")))[0][0])

    async def blocking(self) -> list[tuple[int, str]]:
        """Give seq and key of our dead letters that have a key and were not discarded."""
        return [(seq, key) for seq, key in await self._run(self._tables.text("blocking"), self._ours)]

    async def undecided(self, seqs: Sequence[int]) -> set[int]:
        """Give those of the dead letters `seqs` that were neither discarded nor, given back, delivered."""
        return {seq for (seq,) in await self._run(self._tables.text("undecided"), (array(seqs),))}

    async def dead_uncopied(self, since: float, limit: int, most_bytes: int) -> list["DeadLetter"]:
        """Give dead letters that died at `since` (Unix seconds) or later and were not published since, at most `limit`.

        Payloads and headers of more than `most_bytes` are left out.
        """
        rows = await self._run(self._tables.text("dead_uncopied"), (since, limit, most_bytes))
        return [DeadLetter(Event._make(row[:9]), row[9], row[10] or "", row[11]) for row in rows]

    async def streams_seen(self) -> list[Seen]:
        """Give what the owners of our shards last saw of each stream."""
        return [
            Seen(stream, created, first_seq, floor, Mark(mark_seq, mark_id), lost, begun_at)
            for stream, created, first_seq, floor, mark_seq, mark_id, lost, begun_at in await self._run(
                self._tables.text("streams_seen"), (self._ours[0],)
            )
        ]

    async def highest_marks(self, above: int, up_to: int) -> list[tuple[str, Mark]]:
        """Give our highest mark of each stream in a range of seqs, which must be small."""
        rows = await self._run(self._tables.text("highest_marks"), (above, up_to, *self._ours))
        return [(stream, Mark(stream_seq, event_id)) for stream, stream_seq, event_id in rows]

    async def pending_ids(self, ids: Sequence[str]) -> list[tuple[int, str]]:
        """Give seq and id of those of the message ids, all of them UUIDs, that are pending events of ours."""
        rows = await self._run(self._tables.text("pending_ids"), ("{" + ",".join(ids) + "}", *self._ours))
        return [(seq, event_id) for seq, event_id in rows]

    async def delivered(self, above: int, up_to: int, stream: str, stored_above: int) -> list[DeliveredRow]:
        """Give our delivered events of a stream in a range of seqs, which must be small, in the order of seq."""
        rows = await self._run(self._tables.text("delivered"), (above, up_to, stream, stored_above, *self._ours))
        return [DeliveredRow(*row[:4]) for row in rows]

    async def places(self, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Give stream and sequence of those of the message ids, all of them UUIDs, that are delivered events."""
        rows = await self._run(self._tables.text("places"), ("{" + ",".join(ids) + "}",))
        return {event_id: (stream, stream_seq) for event_id, stream, stream_seq in rows}

    async def next_seq(self, above: int) -> int | None:
        """Give the first seq above one that is in the table, None above the last."""
        rows = await self._run(self._tables.text("next_seq"), (above,))
        return int(rows[0][0]) if rows else None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that is a dead letter.

    Attributes:
        event: Without its payload and its headers where they were too large to be read.
        died_at: Unix seconds.
        payload_bytes: How large the payload in the table is.
    """

    event: Event
    died_at: float
    reason: str
    payload_bytes: int


# An acknowledged event, to be marked: event, stream, sequence in the stream, whether the stream had it already, and
# when the acknowledgement came (Unix seconds). A plain tuple: one is made for each event, in a fifth of the time.
Delivered = tuple[Event, str, int, bool, float]


@dataclass(frozen=True, slots=True)
class Postponed:
    """A refused event, to be tried again after `delay_s` seconds; `attempts` counts this one."""

    event: Event
    attempts: int
    delay_s: float
    error: str


@dataclass(frozen=True, slots=True)
class Buried:
    """An event that becomes a dead letter.

    Attributes:
        reason: One word for metrics.
        error: The whole story.
    """

    event: Event
    attempts: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Noted:
    """A held event that says why it waits."""

    event: Event
    error: str


class OutboxWriter:
    """What the owner of some shards writes, fenced by their epochs.

    A write of an owner that was replaced without its knowing changes nothing.

    Args:
        fence: Who owns them, as `Ownership.fence` gives it.
    """

    def __init__(self, database: Database, tables: Tables, fence: tuple[str, int]) -> None:
        self._run = database.run
        self._tables = tables
        self._fence = fence

    async def settle(self, stream: str, seqs: Sequence[int], stream_seqs: Sequence[int]) -> int:
        """Mark events delivered, all or none of them.

        Returns:
            How many were not marked before.
        """
        values = (stream, array(seqs), array(stream_seqs), *self._fence)
        return int((await self._run(self._tables.text("settle"), values))[0][0])

    async def still_pending(self, seqs: Sequence[int]) -> int:
        """Give how many of the events are neither delivered nor dead."""
        return int((await self._run(self._tables.text("still_pending"), (array(seqs),)))[0][0])

    async def suspect(self, raised: Mapping[int, int]) -> None:
        """Raise the attempts of pending events that are sent now: seq to attempts."""
        await self._run(self._tables.text("suspect"), (array(raised), array(raised.values()), *self._fence))

    async def outlived(self, raised: Mapping[int, int]) -> None:
        """Lower the attempts of suspects that have not ended the relay, where they are as `suspect` has left them."""
        await self._run(self._tables.text("outlived"), (array(raised), array(raised.values()), *self._fence))

    async def postpone(self, postponed: Postponed) -> None:
        """Write down when an event is tried again."""
        await self._run(
            self._tables.text("postpone"),
            (postponed.event.seq, postponed.delay_s, postponed.attempts, postponed.error, *self._fence),
        )

    async def bury(self, buried: Buried) -> bool:
        """Make an event a dead letter; gives whether it was none and not delivered before."""
        values = (buried.event.seq, buried.attempts, buried.error, *self._fence)
        return bool((await self._run(self._tables.text("bury"), values))[0][0])

    async def dead_copied(self, dead: DeadLetter) -> None:
        """Write down that a dead letter was published to the subject for these."""
        await self._run(self._tables.text("dead_copied"), (dead.event.seq, dead.died_at))

    async def note(self, noted: Noted) -> None:
        """Write down why an event waits."""
        await self._run(self._tables.text("note"), (noted.event.seq, noted.error, *self._fence))

    async def see(self, seen: Seen) -> None:
        """Write down what was seen of a stream; a loss that stands open stays so until a person has closed it."""
        row = (seen.stream, seen.created, seen.first_seq, seen.floor, seen.mark.stream_seq, seen.mark.event_id)
        await self._run(self._tables.text("stream_see"), (*row, seen.begun_at, seen.lost, *self._fence))

    async def unmark(self, stream: str, seqs: Sequence[int], due_at: float, after_delivery_s: float) -> int:
        """Have delivered events sent again that their stream has lost; gives how many.

        Args:
            stream: Where they were.
            seqs: Which.
            due_at: From when on, Unix seconds; events of one key leave in the order of this time, then of seq.
            after_delivery_s: And no sooner than this long after their delivery, seconds.
        """
        values = (array(seqs), stream, due_at, after_delivery_s)
        return int((await self._run(self._tables.text("unmark"), (*values, *self._fence)))[0][0])

    async def prune_delivered(self, above: int, up_to: int, age_s: float) -> tuple[int, float | None, float | None]:
        """Delete the old ones among the delivered events of a small range of seqs, below the watermark alone.

        Returns:
            How many; when the oldest of all was delivered (Unix seconds), and the oldest of those that stay; None
            without any.
        """
        values = (above, up_to, age_s, *self._fence)
        pruned, oldest, oldest_kept = (await self._run(self._tables.text("prune_delivered"), values))[0]
        return int(pruned), oldest, oldest_kept

    async def prune_dead(self, limit: int, age_s: float, discarded_only: bool) -> int:
        """Delete the oldest dead letters, at most `limit`; gives how many."""
        values = (limit, age_s, discarded_only, *self._fence)
        return int((await self._run(self._tables.text("prune_dead"), values))[0][0])
