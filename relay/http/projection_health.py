"""What the probes of `relay projection run` answer. Pure but for the clock."""

import time
from collections import Counter

from relay.http.health import not_turned
from relay.observe.projection_metrics import ProjectionMetrics
from relay.observe.projection_progress import PartitionView
from relay.observe.snapshot import STUCK_AFTER_S, UNREADY_AFTER_S
from relay.text import printable

# What keeps events from a read model without anybody having asked for it.
_FAULTS = ("starting", "waiting", "stalled", "stopped")


class ProjectionProbes:
    """The probes of a process that keeps projections up to date."""

    def __init__(self, metrics: ProjectionMetrics) -> None:
        self._metrics = metrics

    def health_faults(self) -> list[str]:
        """Return why the process should be restarted: its event loop is stuck. Nothing else is helped by that."""
        return not_turned(time.monotonic() - self._metrics.turned_at, STUCK_AFTER_S)

    def ready_faults(self) -> list[str]:
        """Return each partition that does not flow, with the reason; one that an operator has paused is none."""
        stuck = not_turned(time.monotonic() - self._metrics.turned_at, UNREADY_AFTER_S)
        return stuck or ready_faults(self._metrics.views())

    def standing(self) -> str:
        """Return how many partitions do what, such as ``2 running, 1 paused``."""
        found = Counter(one.status for one in self._metrics.views())
        return ", ".join(f"{number} {status}" for status, number in sorted(found.items()))


def ready_faults(views: list[PartitionView]) -> list[str]:
    """Return each partition that does not flow, with the reason."""
    return [
        printable(
            f"{one.projection} partition {one.partition}: {one.status}" + (f": {one.reason}" if one.reason else "")
        )
        for one in views
        if one.status in _FAULTS
    ]
