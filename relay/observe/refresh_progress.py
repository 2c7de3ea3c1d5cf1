"""What a process knows of a materialised view that a projection refreshes, for metrics.

Several runners look at one view, and one of them refreshes it: each says what it has seen last, at most a minute old.
"""

import time
from collections.abc import Callable


class RefreshProgress:
    """One view, as far as this process knows.

    Args:
        wall: Unix seconds.

    Attributes:
        took_s: How long the last refresh that succeeded took; None if none is known.
        failures: How many refreshes in a row have failed.
    """

    def __init__(self, projection: str = "", view: str = "", *, wall: Callable[[], float] = time.time) -> None:
        self.projection = projection
        self.view = view
        self.took_s: float | None = None
        self.failures = 0
        self._wall = wall
        self._refreshed_at: float | None = None

    @property
    def age_s(self) -> float | None:
        """Seconds since the beginning of the last refresh that succeeded; None if none is known."""
        return None if self._refreshed_at is None else max(0.0, self._wall() - self._refreshed_at)

    def seen(self, age_s: float | None, took_s: float, failures: int) -> None:
        """Note what is written down of the view; an age of None: it was never refreshed."""
        self._refreshed_at = None if age_s is None else self._wall() - age_s
        self.took_s = None if age_s is None else took_s
        self.failures = failures

    def refreshed(self, took_s: float) -> None:
        """Note that it was refreshed just now."""
        self.seen(took_s, took_s, 0)

    def failed(self) -> None:
        """Note that a refresh has failed."""
        self.failures += 1
