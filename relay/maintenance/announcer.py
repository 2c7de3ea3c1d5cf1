"""Publish the watermark, so that a consumer can tell that it is complete up to a time.

It is read from the database, as the least over all shards: whatever it covers is marked, and so is acknowledged. Of
several relays the owner of shard 0 publishes. A value that the broker did not take is not tried again, the next one
says more.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from relay.jetstream.connection import BrokerError, Connection
from relay.observe.logs import event as log_event
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.failures import describe
from relay.rules.watermark import Watermark

log = logging.getLogger(__name__)

_ACK_TIMEOUT_S = 5.0
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class AnnounceOptions:
    """Where the watermark is published; the fields follow the ``[watermark]`` section.

    Attributes:
        subject: A subject of a stream, or ``$KV.bucket.key``; empty: nowhere.
        every_s: Seconds between two looks; what has not changed is not published again.
    """

    subject: str = ""
    every_s: float = 1.0


def announcement(outbox: str, watermark: Watermark) -> bytes:
    """Give the message: a JSON object with ``outbox``, ``seq`` and ``complete_up_to`` (RFC 3339, UTC, or null)."""
    at = None if watermark.at is None else datetime.fromtimestamp(watermark.at, UTC)
    complete_up_to = None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"outbox": outbox, "seq": watermark.seq, "complete_up_to": complete_up_to}).encode()


class Announcer:
    """Publishes the watermark while there is a connection.

    Args:
        outbox: The name of the table.
        may_work: Asked before each look: of several relays one is enough.
    """

    def __init__(
        self, options: AnnounceOptions, *, outbox: str, reader: OutboxReader, may_work: Callable[[], bool]
    ) -> None:
        self._options = options
        self._outbox = outbox
        self._reader = reader
        self._may_work = may_work
        self._connection: Connection | None = None
        self._pause_s = options.every_s
        self._told: str | None = None
        self._published = Watermark()

    def attach(self, connection: Connection) -> None:
        """Publish over this connection."""
        self._connection = connection
        self._pause_s = self._options.every_s

    def detach(self) -> None:
        """Publish no more."""
        self._connection = None

    async def run(self) -> None:
        """Publish for ever; ends at once where no subject is configured."""
        while self._options.subject:
            connection = self._connection
            if connection is not None and connection.up and self._may_work():
                watermark = await self._reader.watermark()
                if watermark != self._published:
                    await self._publish(connection, watermark)
            await asyncio.sleep(self._pause_s)

    async def _publish(self, connection: Connection, watermark: Watermark) -> None:
        payload = announcement(self._outbox, watermark)
        try:
            failure = await connection.store(self._options.subject, payload, {}, _ACK_TIMEOUT_S)
        except BrokerError as error:
            log.debug("the connection ended while the watermark was published: %s", error)
            return
        if failure is None:
            self._published = watermark
            self._pause_s = self._options.every_s
            if self._told is not None:
                self._told = None
                log_event(log, "info", "watermark.published", "the watermark is published again")
            return
        self._pause_s = min(self._pause_s * 2, max(_LONGEST_PAUSE_S, self._options.every_s))
        reason = describe(failure)
        if reason != self._told:
            self._told = reason
            log_event(
                log,
                "error",
                "watermark.unpublished",
                "the watermark could not be published; its next value is tried",
                subject=self._options.subject,
                reason=reason,
            )
