"""Delete what is old enough, in short steps that nobody waits for."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from relay.observe.metrics import Metrics
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter

# Seqs of one step: at most so many rows are deleted at a time, in some 10 ms.
SPAN = 1000
DEAD_STEP = 500
# Between two steps while there is something to delete: 9,000 rows a second at most.
_STEP_PAUSE_S = 0.1
_IDLE_PAUSE_S = 10.0
# A few events that were delivered late must not hide that what follows them is old enough.
_LOOK_AHEAD = 10
# And they are left behind, until all is gone through again.
_AGAIN_S = 3600.0


@dataclass(frozen=True)
class RetentionOptions:
    """How long rows are kept; the fields follow the ``[retention]`` section.

    Attributes:
        delivered_age_s: Seconds after delivery; 0 keeps them for ever.
        dead_age_s: Seconds after it became a dead letter; 0 keeps them for ever.
        discarded_only: Keys wait for dead letters, so only those are deleted that a person has let be.
    """

    delivered_age_s: float = 0.0
    dead_age_s: float = 0.0
    discarded_only: bool = False


class Retention:
    """Deletes, from the lowest seq on.

    Args:
        watermark: Gives the seq up to which every event is settled: beyond it nothing is deleted.
        may_work: Asked before each step: False while the streams cannot be looked at, since what they may have lost
            would be sent again from the rows.
    """

    def __init__(
        self,
        options: RetentionOptions,
        *,
        reader: OutboxReader,
        writer: OutboxWriter,
        metrics: Metrics,
        watermark: Callable[[], int],
        may_work: Callable[[], bool],
    ) -> None:
        self._options = options
        self._reader = reader
        self._writer = writer
        self._metrics = metrics
        self._watermark = watermark
        self._may_work = may_work
        self._cursor = 0
        self._began_at = time.monotonic()
        metrics.retention_age_s = options.delivered_age_s

    async def run(self) -> None:
        """Delete for ever; ends at once where everything is kept."""
        options = self._options
        while options.delivered_age_s or options.dead_age_s:
            busy = False
            if self._may_work():
                if options.delivered_age_s:
                    busy = await self._prune_delivered()
                if options.dead_age_s:
                    busy = await self._prune_dead() or busy
            await asyncio.sleep(_STEP_PAUSE_S if busy else _IDLE_PAUSE_S)

    async def _prune_delivered(self) -> bool:
        """Go through the next ranges of seqs; gives whether anything was deleted."""
        if time.monotonic() - self._began_at > _AGAIN_S:
            self._began_at = time.monotonic()
            self._cursor = 0
        cursor, total = self._cursor, 0
        oldest: list[float] = []
        young = False
        for _ in range(_LOOK_AHEAD):
            following = await self._reader.next_seq(cursor)
            if following is None or following > self._watermark():
                break
            cursor = following - 1
            pruned, oldest_here, oldest_kept = await self._writer.prune_delivered(
                cursor, cursor + SPAN, self._options.delivered_age_s
            )
            self._metrics.pruned("delivered", pruned)
            total += pruned
            cursor += SPAN
            if oldest_here is not None:
                oldest.append(oldest_here)
            if oldest_kept is not None:
                young = True
            elif pruned or not young:
                # Nothing delivered is left up to here, but for what was delivered late.
                self._cursor = min(cursor, self._watermark())
            if pruned:
                await asyncio.sleep(_STEP_PAUSE_S)
        self._metrics.oldest_delivered_at = min(oldest, default=0.0)
        return total > 0

    async def _prune_dead(self) -> bool:
        """Delete some dead letters; gives whether there may be more."""
        pruned = await self._writer.prune_dead(DEAD_STEP, self._options.dead_age_s, self._options.discarded_only)
        self._metrics.pruned("dead", pruned)
        return pruned == DEAD_STEP
