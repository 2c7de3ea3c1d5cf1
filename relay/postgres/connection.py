"""A connection to PostgreSQL that costs nothing while it waits."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from relay.postgres.large_results import Parts, pause

# Seconds; what a connection waits for wakes it at once.
_INTERVAL_S = 60.0

T = TypeVar("T")


class Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection that wakes for what comes, and not ten times a second to see whether somebody pressed Ctrl-C.

    That is the driver's default, also in asyncio, where a task is cancelled without it. An idle relay takes 0.7 %
    of a core instead of 0.95 (docs/operations/benchmarks.md). Large results are read in few wakes.
    """

    def wait(
        self, gen: PQGen[T], interval: float = _INTERVAL_S, timeout: float | None = None
    ) -> Coroutine[Any, Any, T]:
        """Wait as the driver does, but for the interval and the pauses of a large result."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        return self._wait(gen, interval)

    async def _wait(self, gen: PQGen[T], interval: float) -> T:
        parts = Parts(gen, self.pgconn.socket)
        while not await super().wait(parts.next_part(), interval):
            await pause()
        return parts.result[0]
