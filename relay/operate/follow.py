"""Follow what becomes of events, by looking at the outbox again and again."""

import time
from collections.abc import Iterable

from relay.operate.access import Reader
from relay.operate.changes import Tell
from relay.operate.events import ListedEvent
from relay.operate.filters import Filters
from relay.rules.reading.tail_reading import Following

# How many seqs one look passes over, and how many open events it looks at.
_SPAN = 5_000
_TURN = 20_000
# How many events may be pending at the start, and be followed; how many that wait for a retry are looked for.
_OPEN = 200_000
_RETRYING = 5_000
_LAST_SEQS = 50_000
# How many of the newest dead letters are looked at, as they may be given back and delivered between two looks.
_DEAD = 1_000
# How far below the newest seq one may still be committed when we begin.
_LATE_SEQS = 5_000


class Follower:
    """Finds what has been settled since the last look."""

    def __init__(self, filters: Filters, lines: int, tell: Tell) -> None:
        """Prepare the first look.

        Args:
            filters: Only `topic` and `key` are looked at.
            lines: How many of the last settled events are returned first.
            tell: Called if not all pending events can be followed.
        """
        self._tell = tell
        self._filters = filters
        self._by = filters.params()[:2]
        self._lines = lines
        self._following: Following | None = None
        # The dead letters that were there, the newest last.
        self._dead: dict[int, None] = {}

    def look(self, reader: Reader) -> tuple[list[ListedEvent], bool]:
        """Return what was settled since the last look, in that order, and whether there is more to read at once."""
        now = time.monotonic()
        if self._following is None:
            return self._begin(reader, now), False
        following = self._following
        (newest,) = reader.row("delivery/newest")
        # Given back by an operator, or lost by a stream: these may lie anywhere.
        given_back = reader.rows("operate/tail_pending", (0, 0, *self._by, _RETRYING))
        following.open(seq for (seq,) in given_back if seq <= following.cursor)
        following.open(self._no_longer_dead(reader))
        turn = following.turn(_TURN, now)
        looked_at = [ListedEvent._make(row) for row in reader.rows("operate/tail_among", (turn, *self._by))]
        settled = [event for event in looked_at if event.settled]
        following.open(event.seq for event in looked_at if not event.settled)
        up_to = min(newest, following.cursor + _SPAN)
        if up_to > following.cursor:
            settled += self._advance(reader, following, up_to, now)
        following.settled([event.seq for event in settled])
        settled.sort(key=_by_time)
        self._keep_dead(event.seq for event in settled if event.state == "dead")
        return settled, up_to < newest

    def _keep_dead(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            self._dead[seq] = None
        for seq in list(self._dead)[:-_DEAD]:
            del self._dead[seq]

    def _no_longer_dead(self, reader: Reader) -> list[int]:
        """Return the dead letters that were given back: by now they may be delivered, and wait for no retry."""
        seqs = [seq for (seq,) in reader.rows("operate/tail_given_back", (list(self._dead),))] if self._dead else []
        for seq in seqs:
            del self._dead[seq]
        return seqs

    def _begin(self, reader: Reader, now: float) -> list[ListedEvent]:
        watermark, newest = reader.row("operate/range")
        self._following = Following(newest)
        pending = reader.rows("operate/tail_pending", (watermark, newest, *self._by, _OPEN))
        if len(pending) == _OPEN:
            self._tell(f"only {_OPEN:,} of the pending events are followed")
        above = max(watermark, newest - _LATE_SEQS)
        missing = reader.rows("operate/tail_missing", (above, newest))
        self._following.passed(newest, (seq for (seq,) in pending), (seq for (seq,) in missing), now)
        self._keep_dead(seq for (seq,) in reversed(reader.rows("operate/tail_dead", (*self._by, _DEAD))))
        return last_settled(reader, self._filters, self._lines) if self._lines else []

    def _advance(self, reader: Reader, following: Following, up_to: int, now: float) -> list[ListedEvent]:
        bounds = (following.cursor, up_to)
        missing = [seq for (seq,) in reader.rows("operate/tail_missing", bounds)]
        if len(missing) == up_to - following.cursor:
            # Nothing there at all: the sequence was set ahead, say.
            (first,) = reader.row("delivery/next_seq", (up_to,))
            following.passed(first - 1, (), missing, now)
            return []
        rows = reader.rows("operate/list_any", (*self._filters.params(), *bounds, up_to - following.cursor))
        events = [ListedEvent._make(row) for row in rows]
        following.passed(up_to, (event.seq for event in events if not event.settled), missing, now)
        return [event for event in events if event.settled]


def last_settled(reader: Reader, filters: Filters, lines: int) -> list[ListedEvent]:
    """Return the last events that were delivered, at most `lines`, among the newest 50,000 seqs; in that order.

    Args:
        filters: Only `topic` and `key` are looked at.
    """
    (newest,) = reader.row("delivery/newest")
    bounds = (max(0, newest - _LAST_SEQS), newest, lines)
    rows = reader.rows("operate/list_delivered", (*filters.params(), *bounds))
    return sorted(map(ListedEvent._make, rows), key=_by_time)


def _by_time(event: ListedEvent) -> tuple[float, int]:
    return event.settled_at, event.seq
