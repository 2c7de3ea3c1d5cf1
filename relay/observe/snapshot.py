"""What the daemon knows of itself at one moment, for metrics, probes and `relay status`."""

from dataclasses import dataclass
from typing import Literal

# A loop that has not turned for so long is stuck.
STUCK_AFTER_S = 15.0

Role = Literal["starting", "standby", "active", "stopping"]


@dataclass(frozen=True, slots=True)
class HoldView:
    """Events that wait for a stream or a subject to be good again.

    Attributes:
        scope: ``stream NAME`` or ``subject NAME``.
        failure_class: outage, capacity or configuration.
        since: Unix seconds.
        reason: What the broker said last.
        events: How many wait in memory.
    """

    scope: str
    failure_class: str
    since: float
    reason: str
    events: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the daemon.

    Attributes:
        backlog: Events neither delivered nor dead, an estimate from the newest seq.
        oldest_pending_at: Unix seconds at which the oldest pending event was created, None without one.
        in_flight: Events sent and not yet acknowledged.
        waiting: Events in memory behind a failing head or a hold.
        retrying: Events that wait for their retry.
        watermark: Every event of our shards up to this seq is settled.
        watermark_at: Every event of our shards whose commit had returned by then is settled; Unix seconds.
        shards: How many shards are ours.
        last_progress: `time.monotonic` of the last turn of the loop, seconds.
        stalled: There is work and no outage, and nothing was settled for 30 s.
        oldest_retry_at: Unix seconds at which the oldest event that waits for its retry was created.
        gap_since: Unix seconds since which a seq is waited for that an open transaction may hold.
        held_keys: Keys that wait behind a failing head, a hold or a dead letter.
        blocked_keys: Those of them that wait for a person to decide about a dead letter.
    """

    role: Role
    backlog: int
    oldest_pending_at: float | None
    in_flight: int
    waiting: int
    retrying: int
    watermark: int
    watermark_at: float | None
    shards: int
    holds: tuple[HoldView, ...]
    postgres_up: bool
    nats_up: bool
    bell: bool
    last_progress: float
    stalled: bool
    oldest_retry_at: float | None = None
    gap_since: float | None = None
    held_keys: int = 0
    blocked_keys: int = 0

    def troubles(self) -> set[str]:
        """Give the classes of what keeps events from being delivered now: of the holds, or ``database``."""
        classes = {hold.failure_class for hold in self.holds}
        if self.role == "active" and not self.nats_up:
            classes.add("outage")
        if self.role != "stopping" and not self.postgres_up:
            classes.add("database")
        return classes


@dataclass(frozen=True, slots=True)
class ConsumerView:
    """How far a durable consumer of a stream is.

    Attributes:
        pending: Messages that it was not given yet.
        unacknowledged: Messages that it was given and has not acknowledged.
        oldest_at: Unix seconds at which the first message that it has not acknowledged was stored; None without one,
            or where this account may not read messages.
    """

    stream: str
    consumer: str
    pending: int
    unacknowledged: int
    oldest_at: float | None
