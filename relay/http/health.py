"""What the probes of the relay answer, from a snapshot. No I/O."""

import time
from collections.abc import Callable

from relay.observe.snapshot import STUCK_AFTER_S, UNREADY_AFTER_S, Snapshot
from relay.text import printable


class RelayProbes:
    """The probes of a relay.

    Args:
        snapshot: The state of the daemon; called from other threads than the loop's.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def health_faults(self) -> list[str]:
        """Return why the relay should be restarted."""
        return health_faults(self._snapshot(), time.monotonic())

    def ready_faults(self) -> list[str]:
        """Return why the relay cannot relay at this moment."""
        return ready_faults(self._snapshot(), time.monotonic())

    def standing(self) -> str:
        """Return the role of the relay, and a line for each thing that it works in spite of."""
        now = self._snapshot()
        return "\n".join([now.role, *now.notes()])


def health_faults(now: Snapshot, monotonic: float) -> list[str]:
    """Return why the relay should be restarted, nothing if it should not: only its own progress counts.

    Args:
        now: What the daemon knows of itself.
        monotonic: `time.monotonic` of this moment, seconds.
    """
    faults = not_turned(monotonic - now.last_progress, STUCK_AFTER_S)
    if now.term.stalled:
        faults.append("events could be sent, and nothing was settled for 30 s")
    return faults


def not_turned(still_s: float, longest_s: float) -> list[str]:
    """Return the fault of an event loop that has stood still for so long, nothing if that is not too long."""
    return [f"the loop has not turned for {still_s:.0f} s"] if still_s > longest_s else []


def ready_faults(now: Snapshot, monotonic: float) -> list[str]:
    """Return why the relay cannot relay at this moment, a line for each reason. A standby is ready: it waits.

    Args:
        now: What the daemon knows of itself. If it is old, nothing flows, and no more is known.
        monotonic: `time.monotonic` of this moment, seconds.
    """
    stuck = not_turned(monotonic - now.last_progress, UNREADY_AFTER_S)
    if stuck:
        return stuck
    refused = [printable(now.postgres_refusal)] if now.postgres_refusal else []
    if now.role == "stopping":
        return [now.role]
    if now.role == "starting":
        return [now.role, *refused]
    faults = []
    if not now.postgres_up:
        faults += refused or ["postgres down"]
    if now.outbox_fault:
        faults.append(now.outbox_fault)
    if now.role == "active" and not now.changing_over:
        if now.term.nats_trouble is not None:
            faults.append(printable(f"nats down: {now.term.nats_trouble}"))
        elif now.term.paused is not None and now.postgres_up:
            faults.append(f"nothing is sent: {now.term.paused}")
    if now.term.refusal is not None:
        faults.append(printable(now.term.refusal))
    faults += [printable(f"outage of {one}") for one in now.term.outages]
    untold = sum(one.holds for one in now.term.held if one.failure_class == "outage") - len(now.term.outages)
    if untold > 0:
        faults.append(f"outage of {untold} more streams and subjects")
    return faults
