"""How long a connection may leave pings unanswered. Pure: no clock.

An answer to a ping stands behind all that was sent before: on a slow link it takes as long as that. If a connection
is given up the next one begins with the first byte again, and a large event would never be sent. So each one that ends
in this way gives the next one twice the time, up to a bound, until one has lived for a while.
"""

_MOST_DOUBLINGS = 4
# A connection that has lived so long has shown that its link is quick enough, seconds.
CALM_S = 120.0


class PingPatience:
    """The pause between two pings; a connection ends with the third in a row that is not answered.

    Args:
        interval_s: The usual pause, seconds.
    """

    def __init__(self, interval_s: float) -> None:
        self._usual_s = interval_s
        self._doublings = 0

    @property
    def interval_s(self) -> float:
        """The pause for the next connection, seconds."""
        return self._usual_s * 2.0**self._doublings

    def calm(self) -> float:
        """Note that a connection has lived for `CALM_S`; return the pause that it has from now on, the usual one."""
        self._doublings = 0
        return self._usual_s

    def unanswered(self) -> None:
        """Note that a connection has ended because its pings were not answered."""
        self._doublings = min(self._doublings + 1, _MOST_DOUBLINGS)
