"""The clock by which a relay stops sending before its lease runs out."""

import time

# macOS counts a sleep in its monotonic clock, and has no other one for it.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_now() -> float:
    """Return the seconds of a clock that goes on while the machine is suspended, as the database's does.

    `time.monotonic` of Linux stands still meanwhile: a relay that wakes would take its lease for its own, which another
    one has taken over long ago.
    """
    return time.clock_gettime(_CLOCK)
