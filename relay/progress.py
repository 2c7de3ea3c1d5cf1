"""What the daemon knows of itself at one moment, for metrics, probes and `relay status`."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["starting", "standby", "active", "stopping"]


@dataclass(frozen=True, slots=True)
class HoldView:
    """Events that wait for the broker, a stream or a subject to be good again.

    Attributes:
        scope: ``broker``, ``stream NAME`` or ``subject NAME``.
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
        watermark: Every event up to this seq is settled.
        last_progress: `time.monotonic` of the last turn of the loop, seconds.
        stalled: There is work and no outage, and nothing was settled for 30 s.
    """

    role: Role
    backlog: int
    oldest_pending_at: float | None
    in_flight: int
    waiting: int
    retrying: int
    watermark: int
    holds: tuple[HoldView, ...]
    postgres_up: bool
    nats_up: bool
    bell: bool
    last_progress: float
    stalled: bool
