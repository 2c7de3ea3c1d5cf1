"""Look at the relay's watermark beside the reading, so that a partition can say up to when it is complete."""

import asyncio
import logging
from collections.abc import Sequence

from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.jetstream.stream_look import last_on, look_at
from relay.observe.logs import event as log_event
from relay.projection.rules.completeness import Completeness, WatermarkSeen, read_watermark
from relay.rules.stream.subjects import covers

log = logging.getLogger(__name__)

_EVERY_S = 1.0
# The right to ask may be missing; completeness is then not known, and the reading goes on.
_FAILED_PAUSE_S = 30.0
_TIMEOUT_S = 5.0


class WatermarkWatch:
    """Reads the newest watermark while a partition is read.

    Args:
        stream: The stream that the partition is read from.
        topics: What the projection handles of it.
        subject: Where the relay publishes its watermark; empty: it does not.
    """

    def __init__(self, connection: Connection, stream: str, topics: Sequence[str], subject: str) -> None:
        self._connection = connection
        self._stream = stream
        self._topics = topics
        self._subject = subject
        self._found = Completeness()

    @property
    def waits(self) -> bool:
        """Whether a watermark waits for the position."""
        return self._found.waits

    def reached(self, position: int) -> WatermarkSeen | None:
        """Return the last watermark that the position has reached, once; None if there is no new one."""
        return self._found.reached(position)

    async def run(self) -> None:
        """Look once a second, for ever; return at once if there is no subject."""
        told = False
        while self._subject:
            try:
                await self._look()
                told = False
                await asyncio.sleep(_EVERY_S)
            except BrokerError as error:
                if not told:
                    told = True
                    log_event(
                        log,
                        "warning",
                        "projection.no_watermark",
                        "the watermark of the relay cannot be read: up to when the read model is complete is not known",
                        subject=self._subject,
                        reason=str(error),
                    )
                await asyncio.sleep(_FAILED_PAUSE_S)

    async def _look(self) -> None:
        facts = await self._connection.stream_of(self._subject, _TIMEOUT_S)
        if facts is None:
            raise BrokerError("no stream holds the watermark")
        found = await last_on(self._connection, facts.name, self._subject)
        mark = None if found is None else read_watermark(found.payload)
        if found is None or mark is None or not self._found.is_new(mark):
            return
        # What the watermark speaks of was stored before it was read: where it was stored is seen now.
        elsewhere = await goes_elsewhere(self._connection, self._stream, self._topics)
        if elsewhere is not None:
            raise BrokerError(elsewhere)
        # The last sequence is asked for after the watermark was read: what the watermark speaks of was stored before.
        same_stream = facts.name == self._stream
        bar = found.stream_seq if same_stream else (await look_at(self._connection, self._stream)).last_seq
        self._found.take(mark, bar)


async def goes_elsewhere(connection: Connection, stream: str, topics: Sequence[str]) -> str | None:
    """Return why events of a topic may be in another stream than the one that is read; None if they are not.

    Raises:
        BrokerError: No answer, or not permitted.
    """
    subjects = (await look_at(connection, stream)).subjects
    if subjects is None:
        return None
    for topic in topics:
        if any(covers(one, topic) for one in subjects):
            continue
        others = [one for one in await connection.streams_of(topic, _TIMEOUT_S) if one != stream]
        if others:
            return f"events of {topic} go to stream {others[0]}, which is not read: {stream} does not take them all"
    return None
