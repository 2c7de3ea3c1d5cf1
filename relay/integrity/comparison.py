"""Compare delivered rows with what their streams hold, a range of seqs at a time."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from relay.event import Event
from relay.jetstream.connection import Connection
from relay.jetstream.errors import LookupForbidden
from relay.jetstream.stream_reader import StreamReader
from relay.rules.sending.envelopes import Envelopes, Poison
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import DeliveredRow, Fate, Seen, is_same, judge
from relay.rules.stream.streams import StreamState

_TIMEOUT_S = 5.0
# Messages of others between two of ours are read over; across a wider gap a new read begins.
_WIDEST_GAP = 1000
# An event that a server may still remember is sent again this long after the window is over, by two machines' clocks.
_FORGOTTEN_S = 5.0


@dataclass
class Compared:
    """What became of the rows of one stream in one range.

    Attributes:
        verdicts: How many of each.
        lost: Rows to be sent again at once.
        removed: Lost rows too, but out of the middle of a stream that may still remember their ids: sent inside its
            duplicate window they would be dropped as repeats.
        forgotten_s: How long after its delivery a removed row may be sent again, seconds.
        unread: Why the stream could not be read; None if it was, or is another one of the name.
        oldest_intact_at: When the oldest of the intact rows was delivered, Unix seconds; infinite if there is none.
        highest_intact: Where the highest of them lies.
    """

    stream: str
    verdicts: dict[Fate, int] = field(default_factory=dict)
    lost: list[DeliveredRow] = field(default_factory=list)
    removed: list[DeliveredRow] = field(default_factory=list)
    forgotten_s: float = 0.0
    unread: LookupForbidden | None = None
    oldest_intact_at: float = inf
    highest_intact: Mark = field(default_factory=Mark)

    def add(self, row: DeliveredRow, fate: Fate, *, is_hole: bool) -> None:
        """Add a row.

        Args:
            is_hole: It is missing between messages that the stream still holds.
        """
        self.verdicts[fate] = self.verdicts.get(fate, 0) + 1
        if fate is Fate.INTACT:
            self.oldest_intact_at = min(self.oldest_intact_at, row.delivered_at)
            if row.stream_seq > self.highest_intact.stream_seq:
                self.highest_intact = Mark(row.stream_seq, row.event_id)
        elif fate is Fate.LOST:
            (self.removed if is_hole else self.lost).append(row)


class Comparison:
    """Compares over one connection.

    Args:
        seen: What the daemon has saved of each stream.
        envelopes: Say what an event was published on, to tell a stream from another one of its name; None if that
            is known already.
        now: What the database's clock says now, Unix seconds. Deliveries are timed by it.
    """

    def __init__(
        self, connection: Connection, seen: dict[str, Seen], envelopes: Envelopes | None, *, now: float
    ) -> None:
        self._connection = connection
        self._seen = seen
        self._envelopes = envelopes
        self._ahead_s = now - time.time()

    async def compare(self, stream: str, rows: Sequence[DeliveredRow]) -> Compared:
        """Compare rows of one stream with it.

        Args:
            stream: Which one, as the rows name it.
            rows: Delivered rows, which the stream has acknowledged before this call. All of them are UNKNOWN if it
                may not be read, or if what has its name now may be another stream.

        Raises:
            BrokerError: The connection has ended.
        """
        try:
            state = await self._connection.stream_state(stream, _TIMEOUT_S)
            stored = await self._ids(state, rows) if state is not None else {}
        except LookupForbidden as error:
            return Compared(stream, {Fate.UNKNOWN: len(rows)}, unread=error)
        seen = self._seen.get(stream, Seen(stream))
        if not self._is_same(seen, state, stored, rows):
            return Compared(stream, {Fate.UNKNOWN: len(rows)})
        now = time.time() + self._ahead_s
        state = None if state is None else state.by_clock(now)
        begun_at = seen.begun_at
        recreated = state is not None and seen.created not in (None, state.created)
        compared = Compared(stream, forgotten_s=0.0 if state is None else state.facts.duplicate_window_s + _FORGOTTEN_S)
        for row in rows:
            verdict = judge(row, state, stored, begun_at=begun_at, now=now, is_another=recreated)
            if verdict is Fate.LOST and recreated and row.stream_seq < seen.first_seq:
                # It had left the previous stream of this name before that was deleted.
                verdict = Fate.PURGED
            elif verdict is Fate.LOST and state is not None and row.stream_seq <= state.last_seq:
                verdict = await self._confirm(state, row, stored, begun_at, is_another=recreated)
            is_hole = (
                state is not None
                and state.first_seq <= row.stream_seq <= state.last_seq
                and row.stream_seq not in stored
            )
            compared.add(row, verdict, is_hole=is_hole)
        return compared

    def _is_same(
        self, seen: Seen, state: StreamState | None, stored: dict[int, str | None], rows: Sequence[DeliveredRow]
    ) -> bool:
        """Report whether this is the stream that has acknowledged the rows; if it is gone, whether it ever was here."""
        if self._envelopes is None:
            return True
        if state is None:
            return seen.created is not None
        if any(stored.get(row.stream_seq) == row.event_id for row in rows):
            return not state.mirror
        subjects = {self._subject(row) for row in rows} or {None}
        return any(is_same(seen, state, None, subject) for subject in subjects)

    def _subject(self, row: DeliveredRow) -> str | None:
        event = Event(row.seq, row.event_id, row.topic, row.key, b"", None, 0.0, 0, None)
        try:
            return None if self._envelopes is None else self._envelopes.subject(event)
        except Poison:
            return None  # the rules were others when it was sent

    async def _confirm(
        self,
        state: StreamState,
        row: DeliveredRow,
        stored: dict[int, str | None],
        begun_at: float,
        *,
        is_another: bool,
    ) -> Fate:
        """Ask the leader: batches come from any replica, and one that has just come back may be behind."""
        found = await StreamReader(self._connection, state).at(row.stream_seq)
        if found is None:
            stored.pop(row.stream_seq, None)
        else:
            stored[row.stream_seq] = found.message_id
        return judge(row, state, stored, begun_at=begun_at, now=time.time() + self._ahead_s, is_another=is_another)

    async def _ids(self, state: StreamState, rows: Sequence[DeliveredRow]) -> dict[int, str | None]:
        found: dict[int, str | None] = {}
        reading = StreamReader(self._connection, state)
        for first, last in _runs(sorted({row.stream_seq for row in rows})):
            async for page in reading.pages(first, last):
                found.update((one.seq, one.message_id) for one in page)
        return found


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Group ascending sequences into ranges without a wide gap."""
    first = last = None
    for seq in seqs:
        if first is None or last is None:
            first = seq
        elif seq - last > _WIDEST_GAP:
            yield first, last
            first = seq
        last = seq
    if first is not None and last is not None:
        yield first, last
