"""Look whether the rows of adopted tables are copied as agreed: the tables' owners may change their triggers."""

import logging

from relay.jetstream.connection import Connection
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.postgres.outbox_reader import OutboxReader

log = logging.getLogger(__name__)

# Each table is a label of a series.
_LIMIT = 200


class AdoptionWatch:
    """Reports the adoptions of the database to the metrics, and to the log if one breaks."""

    every_s = 30.0
    longest_pause_s = 30.0

    def __init__(self, reader: OutboxReader, metrics: Metrics) -> None:
        self._reader = reader
        self._metrics = metrics
        self._broken: dict[str, str] = {}

    async def turn(self, connection: Connection) -> float:
        """Look at the triggers; they answer whether NATS does or not."""
        found = (await self._reader.adoptions())[:_LIMIT]
        self._metrics.adoptions_seen({one.table: one.sound for one in found})
        broken = {one.table: one.state for one in found if not one.sound}
        for table, state in broken.items():
            if self._broken.get(table) != state:
                message = "the rows of an adopted table are not copied as agreed"
                log_event(log, "error", "adoption.broken", message, table=table, state=state)
        for one in found:
            if one.sound and one.table in self._broken:
                message = "the rows of an adopted table are copied as agreed again"
                log_event(log, "info", "adoption.mended", message, table=one.table)
        self._broken = broken
        return self.every_s

    def stand_down(self) -> None:
        """Show nothing: another relay looks now, and what was seen is growing old."""
        self._metrics.adoptions_seen({})
