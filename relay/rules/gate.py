"""Whether anything may be sent now. Pure: the clock is handed in."""

from typing import Protocol


class Lease(Protocol):
    """How long a relay may act as the owner of its shards."""

    until: float
    """Monotonic seconds."""


class Gate:
    """Stands between the lanes and the stream: open once the streams were checked, and only while the lease holds.

    Args:
        lease: The lease of the shards. Once it may belong to another relay nothing more is sent.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.is_open = False

    def open(self) -> None:
        """Let events out: the streams were checked over the connection in use, or cannot be checked."""
        self.is_open = True

    def shut(self) -> None:
        """Let nothing out: the connection has ended, or a stream may have lost events."""
        self.is_open = False

    def may_send(self, now: float) -> bool:
        """Report whether events may be sent at `now`, monotonic seconds."""
        return self.is_open and now < self._lease.until
