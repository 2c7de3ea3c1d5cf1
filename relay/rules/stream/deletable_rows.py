"""Whether delivered rows may be deleted: only while their stream is seen to hold what it has acknowledged. No I/O.

The rows are all that a loss can be healed from. So a stream that nobody can look at now keeps its rows, whatever the
last look has found. What it holds of the newest event says nothing of older ones: it may have been lost, and filled up
again by others. So some of the rows themselves are looked for before they are deleted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import DeliveredRow, Seen, contradicts, suspicious
from relay.rules.stream.streams import StreamState

_AT_RANDOM = 3
_UNHEALED = "does not hold what it has acknowledged, and no relay has healed it yet: see `relay verify`"


def keeps_rows(seen: Seen, state: StreamState | None, ids: Mapping[int, str | None]) -> str | None:
    """Return why the rows of a stream must stay, to be read after its name; None if the old ones may be deleted.

    Args:
        seen: What was last seen of it, with the highest mark that is known.
        state: What it is now; None if there is none of its name.
        ids: What it holds at the mark and at those of the last looks: message ids by sequence, as for `suspicious`.
    """
    if seen.lost:
        return "has lost events: see `relay verify`, and heal it with `relay verify --redeliver`"
    if state is None:
        return "is gone: what it held can only be sent again from the rows"
    looked = (one for one in seen.looked if one.stream_seq)
    if suspicious(seen, state, ids.get(seen.mark.stream_seq)) or any(
        contradicts(one, state, ids.get(one.stream_seq)) for one in looked
    ):
        return _UNHEALED
    if seen.created not in (None, state.created):
        # A copy that was restored is one too: a relay compares it, and takes it for the same from then on.
        return "was made again, and no relay has compared it with the outbox yet: see `relay verify`"
    return None


def spot_checks(
    rows: Sequence[DeliveredRow], seen: Seen, state: StreamState, now: float, draw: Callable[[int], int]
) -> list[DeliveredRow]:
    """Return which of some delivered rows a stream is to be asked for before they are deleted; a handful.

    What follows a loss was delivered after a pause, and lies anywhere. So the ends of the rows are looked at, by seq
    and by sequence, the last one before the longest pause, and some at random. What it may have let go by now proves
    nothing.

    Args:
        rows: Those of the stream, in the order of seq.
        seen: What was last seen of it.
        state: What it is now.
        now: Unix seconds.
        draw: Draws a number from 0 to below the one that it is given.
    """
    oldest = max(seen.begun_at, now - state.max_age_s if state.max_age_s else 0.0)
    lowest = max(seen.first_seq, state.first_seq)
    held = [row for row in rows if row.stream_seq >= lowest and row.delivered_at >= oldest]
    if not held:
        return []
    by_place = sorted(held, key=_place)
    by_time = sorted(held, key=lambda row: (row.delivered_at, row.stream_seq))
    pauses = [(after.delivered_at - before.delivered_at, at) for at, (before, after) in enumerate(pairwise(by_time))]
    _, before_pause = max(pauses, default=(0.0, 0))
    ends = [held[0], held[-1], by_place[0], by_place[-1], by_time[before_pause]]
    return list(dict.fromkeys((*ends, *(held[draw(len(held))] for _ in range(_AT_RANDOM)))))


def _place(row: DeliveredRow) -> int:
    return row.stream_seq


def first_lost(rows: Iterable[DeliveredRow], state: StreamState, ids: Mapping[int, str | None]) -> Mark | None:
    """Return the first row that is not where it was stored although it should be, as a mark; None without one.

    Args:
        rows: What the stream was asked for.
        state: What it is now.
        ids: What it holds there: message ids by sequence, as for `suspicious`.
    """
    marks = (Mark(row.stream_seq, row.event_id) for row in rows)
    return next((mark for mark in marks if contradicts(mark, state, ids.get(mark.stream_seq))), None)
