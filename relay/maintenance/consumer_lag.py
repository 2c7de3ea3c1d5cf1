"""Look at the durable consumers of the streams that we publish to: how far the read models are."""

import logging
from typing import TYPE_CHECKING

from relay.jetstream.connection import Connection
from relay.jetstream.consumer_info import consumers_of
from relay.jetstream.errors import LookupForbidden
from relay.maintenance.duty import DutyFailed, LogLine
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.observe.snapshot import ConsumerView
from relay.rules.stream.stream_floors import Floors

if TYPE_CHECKING:
    from relay.config.sections import ConsumersSection

log = logging.getLogger(__name__)

# Each consumer is a label of three series: a bound against a stream with a durable for each browser.
_LIMIT = 200
# Until something was sent, and its stream is known.
_SHORT_PAUSE_S = 1.0


class ConsumerLag:
    """Looks at the consumers and reports them to the metrics.

    Args:
        section: Which consumers, and how often.
        floors: Knows the streams that we publish to.
        metrics: Shows the consumers.
    """

    longest_pause_s = 600.0

    def __init__(self, section: "ConsumersSection", floors: Floors, metrics: Metrics) -> None:
        self._names = section.names
        self._floors = floors
        self._metrics = metrics
        self._reported_limit = False
        self.every_s = section.poll_every_s

    async def turn(self, connection: Connection) -> float:
        """Look at the consumers of each stream.

        Raises:
            DutyFailed: This account has no right to ask, or nobody answers.
            BrokerError: The connection has ended, or a stream cannot answer now.
        """
        streams = list(self._floors.marks)
        if not streams:
            self.stand_down()
            return min(self.every_s, _SHORT_PAUSE_S)
        # Shown again only when all were read: an old value must not pass for a new one.
        seen: list[ConsumerView] = []
        readable = False
        try:
            for stream in streams:
                seen += await consumers_of(connection, stream, self._names)
            readable = True
        except LookupForbidden as error:
            raise DutyFailed(
                str(error),
                LogLine(
                    "info",
                    "consumers.unreadable",
                    "the consumers of the streams cannot be looked at: how far the read models are is not shown",
                ),
            ) from error
        finally:
            if not readable:
                self.stand_down()
        self._report_limit(len(seen))
        self._metrics.consumers_seen(seen[:_LIMIT])
        return self.every_s

    def stand_down(self) -> None:
        """Show nothing: what was seen is growing old."""
        self._metrics.consumers_unreadable()

    def _report_limit(self, consumers: int) -> None:
        if consumers > _LIMIT and not self._reported_limit:
            self._reported_limit = True
            log_event(
                log,
                "warning",
                "consumers.many",
                f"only {_LIMIT} consumers are shown in the metrics; choose some by [consumers] names",
                consumers=consumers,
            )
