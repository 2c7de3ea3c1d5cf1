"""Whether anything may be sent now, and why not. Pure: the clock is handed in."""

from typing import Protocol

from relay.rules.stream.set_back_suspects import SetBackSuspects


class Lease(Protocol):
    """How long a relay may act as the owner of its shards."""

    until: float
    """Seconds of `relay.lease_clock`."""


class Source(Protocol):
    """Where events are read."""

    @property
    def generation(self) -> int:
        """Which connection they are read over; rises with each new one."""


class Gate:
    """Stands between the lanes and the stream: open while there is no reason to keep it shut, and the lease holds.

    An event that was read over a new connection to the database may have been stored already, by a relay whose marks
    that database has lost in a failover. So nothing is sent that may have been read over a connection for which the
    streams were not searched.

    Args:
        lease: The lease of the shards. Once it may belong to another relay nothing more is sent.
        source: Where the events come from.
        set_backs: A stream that may have lost something is looked at before anything is sent.
    """

    def __init__(self, lease: Lease, source: Source, set_backs: SetBackSuspects) -> None:
        self._lease = lease
        self._source = source
        self._set_backs = set_backs
        self._reasons: set[str] = set()
        self._searched: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the streams were checked, over the connections in use, and since one may have lost something."""
        return not (self._reasons or self._set_backs.awaited) and self._searched == self._source.generation

    def searched(self, generation: int) -> None:
        """Note that the streams were searched for all that is read over this connection, or cannot be searched."""
        self._searched = generation

    def release(self, reason: str) -> None:
        """Drop a reason to let nothing out."""
        self._reasons.discard(reason)

    def shut(self, reason: str) -> None:
        """Let nothing out until `release` is called with the same reason."""
        self._reasons.add(reason)

    def may_send(self, now: float) -> bool:
        """Report whether events may be sent at `now`, seconds of `relay.lease_clock`."""
        return self.is_open and now < self._lease.until
