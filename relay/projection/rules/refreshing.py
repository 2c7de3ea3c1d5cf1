"""When a materialised view is refreshed. Pure: no I/O, no clock."""

import re
from typing import NamedTuple

_EVERY = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_VIEW = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_MAX_EVERY_S = 366 * 86_400.0

# How soon it is noticed that something was applied, once a refresh is due.
LOOK_S = 5.0


class Refresh(NamedTuple):
    """A materialised view of a projection, refreshed on a schedule without a lock that stops readers.

    Attributes:
        view: Its name, in the projection's schema. It needs a unique index of plain columns, without WHERE.
        every_s: How often at most, in seconds, from one beginning to the next.
        always: Refresh it although nothing was applied since: its query reads a clock, or other tables.
    """

    view: str
    every_s: float
    always: bool = False

    @property
    def fault(self) -> str | None:
        """Return what is wrong with it; None if nothing is."""
        if not _VIEW.fullmatch(self.view):
            return f"view {self.view!r}: must be a plain lower-case name, of a view in the projection's schema"
        if not 1 <= self.every_s <= _MAX_EVERY_S:
            return f"view {self.view}: every must be 1 second to 366 days"
        return None


class Known(NamedTuple):
    """What is known of a view.

    Attributes:
        age_s: Seconds since the beginning of the last refresh that succeeded; None if none has.
        took_s: How long that one took.
        retry_in_s: Seconds until it may be tried again after a failure; None if the last one succeeded.
        is_changed: Whether something was applied since.
        is_populated: Whether the view can be read at all.
    """

    age_s: float | None
    took_s: float
    retry_in_s: float | None
    is_changed: bool
    is_populated: bool


def wait_s(refresh: Refresh, known: Known) -> float:
    """Return how many seconds to wait until a view is looked at again; 0: refresh it now.

    A refresh that takes longer than its period leaves the server at least as much time without one.
    """
    if known.retry_in_s is not None:
        return max(0.0, known.retry_in_s)
    if known.age_s is not None and known.is_populated:
        left_s = max(refresh.every_s, 2 * known.took_s) - known.age_s
        if left_s > 0:
            return left_s
    if known.is_changed or refresh.always or not known.is_populated:
        return 0.0
    return min(refresh.every_s, LOOK_S)


def read_every(text: str) -> float:
    """Return the seconds of ``30s``, ``5m``, ``1h`` or ``1d``.

    Raises:
        ValueError: It is none of these.
    """
    found = _EVERY.fullmatch(text)
    if found is None:
        raise ValueError("must be a whole number with a unit: 30s, 5m, 1h or 1d")
    return float(int(found[1]) * _SECONDS[found[2]])
