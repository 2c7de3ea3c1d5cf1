"""Look at the table as a whole: how large it is, and which dead letters wait for the operator."""

import logging

from relay.jetstream.connection import Connection
from relay.observe.metrics import Metrics
from relay.postgres.outbox_reader import OutboxReader

log = logging.getLogger(__name__)

# Counting on would cost more than it tells.
COUNTED = 10_000


class TableFacts:
    """Reports the table to the metrics."""

    every_s = 30.0
    longest_pause_s = 30.0

    def __init__(self, reader: OutboxReader, metrics: Metrics) -> None:
        self._reader = reader
        self._metrics = metrics

    async def turn(self, connection: Connection) -> float:
        """Look at the table; it answers whether NATS does or not."""
        facts = await self._reader.table_facts(COUNTED)
        self._metrics.table(facts.undecided, facts.size_bytes)
        return self.every_s

    def stand_down(self) -> None:
        """Keep what was seen: an outage of NATS decides about no dead letter. The end of the term forgets it."""
