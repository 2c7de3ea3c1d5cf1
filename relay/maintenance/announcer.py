"""Publish the watermark, so that a consumer can tell up to what time it is complete.

The watermark is read from the database, as the least over all shards: whatever it covers is marked, and so is
acknowledged. A value that the broker did not store is not retried: the next one says more. Nothing is published while
a stream lacks what was acknowledged (`relay.maintenance.held_streams`): over a new connection a stream may have come
back without its newest messages, and this must not be the first message behind them.
"""

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay.jetstream.connection import Connection
from relay.maintenance.duty import DutyFailed, LogLine
from relay.maintenance.held_streams import HeldStreams
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.database.origins import Origins
from relay.rules.failure.failures import describe
from relay.rules.sending.send_gate import Gate
from relay.rules.settling.watermark import Watermark

if TYPE_CHECKING:
    from relay.config.sections import WatermarkSection

log = logging.getLogger(__name__)

_ACK_TIMEOUT_S = 5.0
_LOOK_S = 1.0
_LOSSES = (
    "the watermark is not published while a stream lacks events that it had acknowledged: see `relay verify`, which can"
    " send them again"
)


def announcement(outbox: str, origins: Origins, watermark: Watermark) -> bytes:
    """Return the message, JSON.

    It has ``outbox``, ``origin`` (of the seq), ``seq``, ``complete_up_to`` (RFC 3339, UTC, or null) and ``origins``:
    all of this outbox, so that a reader sees whose events the watermark says nothing of.
    """
    at = None if watermark.at is None else datetime.fromtimestamp(watermark.at, UTC)
    complete_up_to = None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    found = {"outbox": outbox, "origin": origins.of(watermark.seq), "seq": watermark.seq}
    return json.dumps({**found, "complete_up_to": complete_up_to, "origins": origins.names}).encode()


class Announcer:
    """Publishes the watermark when it has changed.

    Args:
        section: Where to, and how often to look; the subject must not be empty.
        outbox: The name of the table.
        origins: Which histories its seqs belong to.
        reader: Reads the watermark of all shards.
        gate: Is shut until the streams were looked at.
    """

    longest_pause_s = 60.0

    def __init__(
        self, section: "WatermarkSection", outbox: str, origins: Origins, reader: OutboxReader, gate: Gate
    ) -> None:
        self._subject = section.subject
        self._outbox = outbox
        self._origins = origins
        self._reader = reader
        self._gate = gate
        self._streams = HeldStreams(reader)
        self._published = Watermark()
        self.every_s = section.every_s

    async def turn(self, connection: Connection) -> float:
        """Publish the watermark if it has changed, and the streams hold what it says.

        Raises:
            DutyFailed: It was not stored, as far as is known; or a stream has a loss that waits for the operator.
            BrokerError: The connection has ended; whether it was stored is not known.
        """
        if not self._gate.is_open:
            return self.every_s
        held = self._streams.hold_all(connection)
        now = await self._reader.announced(self._published)
        if now.lost:
            raise self._failed(_LOSSES, f"lost by {', '.join(now.lost)}")
        if not held:
            await self._streams.look(connection, now.seq)
            return min(self.every_s, _LOOK_S)
        watermark = Watermark(now.seq, now.at)
        # A loss shuts the gate before its events are pending again.
        if watermark == self._published or now.is_pending_again or not self._gate.is_open:
            return self.every_s
        failure = await connection.store(
            self._subject, announcement(self._outbox, self._origins, watermark), {}, _ACK_TIMEOUT_S
        )
        if failure is not None:
            raise self._failed("the watermark could not be published; its next value is tried", describe(failure))
        self._published = watermark
        return self.every_s

    def _failed(self, message: str, reason: str) -> DutyFailed:
        return DutyFailed(
            reason,
            LogLine("error", "watermark.unpublished", message, {"subject": self._subject}),
            LogLine("info", "watermark.published", "the watermark is published again"),
        )

    def stand_down(self) -> None:
        """Do nothing: what was published stays true."""
