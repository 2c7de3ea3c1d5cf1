"""How far the read models are: the durable consumers of the streams that we publish to, looked at now and then."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from relay.jetstream.connection import BrokerError, Connection, LookupForbidden
from relay.jetstream.consumer_info import consumers_of
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.observe.snapshot import ConsumerView

log = logging.getLogger(__name__)

# Each consumer is a label of three series: a bound against a stream with a durable for each browser.
_MOST = 200
# Where nobody answers, the pause doubles up to this, seconds.
_LONGEST_PAUSE_S = 600.0
# Until something was sent, and its stream is known.
_SHORT_PAUSE_S = 1.0


@dataclass(frozen=True)
class ConsumerOptions:
    """Which consumers are looked at; the fields follow the ``[consumers]`` section.

    Attributes:
        names: Patterns of durable names such as ``orders-*``; empty: all of them.
    """

    watch: bool = True
    names: Sequence[str] = ()
    poll_every_s: float = 15.0


class Consumers:
    """Looks at the consumers while there is a connection, and tells the metrics.

    Args:
        streams: Gives the names of the streams that we publish to.
        may_look: Asked before each look: several relays on one outbox need not all look.
    """

    def __init__(
        self,
        options: ConsumerOptions,
        *,
        streams: Callable[[], Iterable[str]],
        metrics: Metrics,
        may_look: Callable[[], bool] = lambda: True,
    ) -> None:
        self._options = options
        self._streams = streams
        self._metrics = metrics
        self._may_look = may_look
        self._connection: Connection | None = None
        self._pause_s = options.poll_every_s
        self._told_many = self._told_forbidden = False

    def attach(self, connection: Connection) -> None:
        """Look over this connection."""
        self._connection = connection
        self._pause_s = self._options.poll_every_s

    def detach(self) -> None:
        """Look no more, and show nothing: what was seen is growing old."""
        self._connection = None
        self._show((), readable=False)

    def _show(self, seen: Sequence[ConsumerView], *, readable: bool) -> None:
        self._metrics.consumers = seen
        self._metrics.consumers_readable = readable

    async def run(self) -> None:
        """Look for ever; ends at once where nobody wants to know."""
        if not self._options.watch:
            return
        try:
            while True:
                connection, streams = self._connection, list(self._streams())
                if connection is not None and connection.up and streams and self._may_look():
                    await self._look(connection, streams)
                    await asyncio.sleep(self._pause_s)
                else:
                    self._show((), readable=False)
                    await asyncio.sleep(min(self._pause_s, _SHORT_PAUSE_S))
        finally:
            self.detach()

    async def _look(self, connection: Connection, streams: Sequence[str]) -> None:
        seen: list[ConsumerView] = []
        try:
            for stream in streams:
                seen += await consumers_of(connection, stream, self._options.names)
        except BrokerError as error:
            self._missed(connection, error)
            return
        if len(seen) > _MOST and not self._told_many:
            self._told_many = True
            log_event(
                log,
                "warning",
                "consumers.many",
                f"only {_MOST} consumers are shown in the metrics; choose some by [consumers] names",
                consumers=len(seen),
            )
        self._pause_s = self._options.poll_every_s
        if connection is self._connection:
            self._show(seen[:_MOST], readable=True)

    def _missed(self, connection: Connection, error: BrokerError) -> None:
        """Look more and more seldom where this account has no right to, or nobody answers."""
        self._show((), readable=False)
        self._pause_s = min(self._pause_s * 2, max(_LONGEST_PAUSE_S, self._options.poll_every_s))
        if connection.up and isinstance(error, LookupForbidden) and not self._told_forbidden:
            self._told_forbidden = True
            log_event(
                log,
                "info",
                "consumers.unreadable",
                "the consumers of the streams cannot be looked at: how far the read models are is not shown",
                reason=str(error),
            )
