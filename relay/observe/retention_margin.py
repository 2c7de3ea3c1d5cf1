"""How close a reader is to losing events because its stream keeps no more. Pure: no I/O, the clock is handed in.

A stream drops its oldest messages by age or by size. By age it is known when the oldest event that waits is dropped.
By size nobody knows: then the margin is the history that the stream holds before the reader, in time. Both shrink while
the reader cannot look: events go on to come, and to go.
"""

from typing import NamedTuple


class Kept(NamedTuple):
    """What a stream kept when it was looked at.

    Attributes:
        looked_at: When, Unix seconds.
        max_age_s: It drops messages that are older; 0: none for its age.
        before_s: From its first message to the reader's position, seconds; None if it drops nothing for its size, has
            not begun to, or the time at the position is not known.
    """

    looked_at: float
    max_age_s: float
    before_s: float | None


def margin_s(kept: Kept, lag_s: float, now: float) -> float | None:
    """Return for how long the reader may stand still before it loses an event; None: for ever, as far as is known.

    Args:
        lag_s: The age of the oldest event that waits, 0 without one.
        now: Unix seconds.

    Returns:
        Seconds; 0 if an event may be lost already.
    """
    margins = []
    if kept.max_age_s > 0:
        margins.append(kept.max_age_s - lag_s)
    if kept.before_s is not None:
        margins.append(kept.before_s - max(0.0, now - kept.looked_at))
    return max(0.0, min(margins)) if margins else None
