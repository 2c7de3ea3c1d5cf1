"""What the probes say of a snapshot. Pure: no I/O."""

import logging

from relay.observe.snapshot import STUCK_AFTER_S, Snapshot
from relay.text import printable

log = logging.getLogger(__name__)


def health_faults(now: Snapshot, monotonic: float) -> list[str]:
    """Say why the relay should be restarted, nothing where it should not: only its own progress counts.

    Args:
        now: What the daemon knows of itself.
        monotonic: `time.monotonic` of this moment, seconds.
    """
    faults = []
    still = monotonic - now.last_progress
    if still > STUCK_AFTER_S:
        faults.append(f"the loop has not turned for {still:.0f} s")
    if now.stalled:
        faults.append("there is work and no outage, and nothing was settled for 30 s")
    return faults


def ready_faults(now: Snapshot) -> list[str]:
    """Say why the relay cannot relay at this moment, a line for each reason. A standby is ready: it waits."""
    if now.role in ("starting", "stopping"):
        return [now.role]
    faults = []
    if not now.postgres_up:
        faults.append("postgres down")
    if not now.nats_up and now.role == "active":
        faults.append("nats down")
    faults += [
        printable(f"outage of {hold.scope}: {hold.reason}") for hold in now.holds if hold.failure_class == "outage"
    ]
    return faults
