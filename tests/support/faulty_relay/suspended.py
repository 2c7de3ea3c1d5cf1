"""Have the relay take a freeze of its process for a suspension of its machine: its monotonic clock stands still."""

import time

# The loop asks for the time several times a second.
_FROZEN_S = 1.5


def stand_still() -> None:
    """Take each span in which the process did not ask for the time off the monotonic clock, as Linux does."""
    real, last, away = time.monotonic, time.monotonic(), 0.0

    def monotonic() -> float:
        nonlocal last, away
        now = real()
        if now - last > _FROZEN_S:
            away += now - last
        last = now
        return now - away

    time.monotonic = monotonic
