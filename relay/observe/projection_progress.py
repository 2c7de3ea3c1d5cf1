"""What a process knows of one partition of a projection, for metrics and probes.

Written by the event loop, read by the threads of the HTTP server. The runner is told in a few places; what follows from
it, as the lag, is worked out only when somebody asks.

The lag must not look well while nothing is known. As long as the stream is read, it is the age of the oldest event that
waits. From the moment at which something fails on, events may wait unseen: then the lag grows from that moment, or from
the oldest event that was seen, whichever is older.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from relay.observe.distribution import LATENCY_BUCKETS_S, STAGE_BUCKETS_S, Distribution
from relay.observe.retention_margin import Kept, margin_s

Status = Literal["starting", "standby", "running", "waiting", "stalled", "paused", "stopped"]
FailureKind = Literal["outage", "configuration"]

# An owner that has written nothing for this long is stalled, seconds: it writes each second even if no event comes.
STALLED_AFTER_S = 30.0


class Standing(NamedTuple):
    """What is written down of a partition that this process does not own.

    Attributes:
        status: ``paused``, ``stopped``, or ``standby`` if there is nothing in the way of a runner.
        reason: Why it has stopped, None otherwise.
        complete_up_to: Everything that was committed up to then is settled; Unix seconds, None if not known.
        owner: The name of the run that owns it, None if none does.
    """

    status: Literal["standby", "paused", "stopped"]
    reason: str | None
    position: int
    parked: int
    complete_up_to: float | None
    owner: str | None = None


class Settled(NamedTuple):
    """What a committed transaction has settled, counts of events.

    Attributes:
        position: Everything up to this sequence of the stream is settled.
        parked: How many events are parked now.
        repeats: Events that were settled before.
        ignored: Replays without a seq, which nothing can tell from what was applied.
        created: When each event was created that was due, Unix seconds; those alone of which that is known.
    """

    position: int
    parked: int
    applied: int = 0
    repeats: int = 0
    ignored: int = 0
    refused: int = 0
    skipped: int = 0
    created: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class PartitionView:
    """A partition at one moment; times are Unix seconds, None if it is not known.

    Attributes:
        reason: Why it waits, is stalled or has stopped.
        owned: Whether this process applies it.
        lag_s: The age of the oldest event that waits, or how long nothing has been known.
        pending: How many messages of its subjects come behind the position.
        margin_s: For how long the reader may stand still before the stream drops what it has not read; None: for ever.
    """

    projection: str
    partition: int
    status: Status
    reason: str | None
    owned: bool
    position: int | None
    parked: int | None
    complete_up_to: float | None
    lag_s: float | None
    pending: int | None
    margin_s: float | None


class PartitionProgress:
    """One partition, as far as this process knows.

    Args:
        wall: Unix seconds, for ages of events.
        monotonic: Seconds, for how long nothing was written.

    Attributes:
        applied: Events that were applied; of parked ones only once they are.
        repeats: Events that were passed over: settled before, or replays that cannot be told.
        refused: Events that were refused by themselves.
        skipped: Events that were given up, by the projection's policy or by an operator.
        failures: Why the work was begun again, by kind.
        latency: From the creation of an event to the commit of its effects.
        batches: Time of the transactions that had events to apply.
    """

    def __init__(
        self,
        projection: str = "",
        partition: int = 0,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.projection = projection
        self.partition = partition
        self.applied = 0
        self.repeats = {"settled": 0, "replay": 0}
        self.refused = 0
        self.skipped = 0
        self.failures: dict[FailureKind, int] = {"outage": 0, "configuration": 0}
        self.latency = Distribution(LATENCY_BUCKETS_S)
        self.batches = Distribution(STAGE_BUCKETS_S)
        self._wall = wall
        self._monotonic = monotonic
        self._status: Status = "starting"
        self._reason: str | None = None
        self._owned = False
        self._written_at = 0.0
        self._position: int | None = None
        self._parked: int | None = None
        self._complete_up_to: float | None = None
        self._pending: int | None = None
        self._kept: Kept | None = None
        # Since when an event may wait: None if none does. Means nothing before it was known once.
        self._waits_since: float | None = None
        self._is_lag_known = False

    def not_ours(self, standing: Standing) -> None:
        """Note that another runner may own the partition, and what is written down of it."""
        self._owned = False
        self._status, self._reason = standing.status, standing.reason
        self._position, self._parked = standing.position, standing.parked
        self._complete_up_to = standing.complete_up_to
        self._pending, self._waits_since, self._is_lag_known = None, None, False
        self._kept = None

    def claimed(self) -> None:
        """Note that the partition is ours; it runs once `reading` is told."""
        self._owned = True
        self._status, self._reason = "starting", None
        self._written_at = self._monotonic()

    def reading(self, position: int, parked: int) -> None:
        """Note that the stream is read on from a position; what was waited for is told until something is written."""
        if self._status != "waiting":
            self._status, self._reason = "running", None
        self._position, self._parked = position, parked
        self._written_at = self._monotonic()

    def taking(self, oldest_at: float) -> None:
        """Note that events are applied from now on, the oldest of them created at `oldest_at`, Unix seconds."""
        self._waits_since = oldest_at

    def settled(self, one: Settled, batch_s: float | None) -> None:
        """Count what was committed.

        Args:
            batch_s: How long the transaction took, seconds; None if it had no event to apply.
        """
        self._goes_on()
        self._position, self._parked = one.position, one.parked
        self.applied += one.applied
        self.repeats["settled"] += one.repeats
        self.repeats["replay"] += one.ignored
        self.refused += one.refused
        self.skipped += one.skipped
        now = self._wall()
        self.latency.add([now - at for at in one.created])
        if batch_s is not None:
            self.batches.add((batch_s,))
        self._written_at = self._monotonic()

    def behind(self, events: int, oldest_at: float | None) -> None:
        """Note how many messages come behind the position, and when the oldest of them was stored, if that is known."""
        self._pending = events
        self._is_lag_known = True
        self._waits_since = (oldest_at or self._wall()) if events else None

    def keeps(self, kept: Kept) -> None:
        """Note what the stream keeps."""
        self._kept = kept

    def beat(self) -> None:
        """Note that the lease was renewed after whatever came was applied."""
        self._goes_on()
        self._written_at = self._monotonic()

    def complete(self, up_to: float | None) -> None:
        """Note up to when the partition is complete, Unix seconds."""
        self._complete_up_to = up_to if up_to is not None else self._complete_up_to

    def fails(self, kind: FailureKind, reason: str) -> None:
        """Note that the work was interrupted, and is tried again."""
        self.failures[kind] += 1
        self._status, self._reason = "waiting", reason
        self._lose_sight()

    def stopped(self, reason: str) -> None:
        """Note that the projection has stopped."""
        self._status, self._reason = "stopped", reason
        self._lose_sight()

    def released(self) -> None:
        """Note that the partition is ours no more."""
        self._owned = False

    def _goes_on(self) -> None:
        if self._status == "waiting":
            self._status, self._reason = "running", None

    def _lose_sight(self) -> None:
        self._pending = None
        if self._is_lag_known and self._waits_since is None:
            self._waits_since = self._wall()

    def view(self) -> PartitionView:
        """Return what is known at this moment; safe in the threads of the HTTP server."""
        status, reason = self._status, self._reason
        silent_s = self._monotonic() - self._written_at
        if status == "running" and self._owned and silent_s > STALLED_AFTER_S:
            status, reason = "stalled", f"nothing was written for {silent_s:.0f} s"
        lag_s = None
        if self._is_lag_known:
            since = self._waits_since
            lag_s = 0.0 if since is None else max(0.0, self._wall() - since)
        kept = self._kept
        return PartitionView(
            self.projection,
            self.partition,
            status,
            reason,
            self._owned,
            self._position,
            self._parked,
            self._complete_up_to,
            lag_s,
            self._pending,
            None if kept is None or lag_s is None else margin_s(kept, lag_s, self._wall()),
        )


def created_of(moments: Iterable[float | None]) -> tuple[float, ...]:
    """Return the times that are known."""
    return tuple(at for at in moments if at is not None)
