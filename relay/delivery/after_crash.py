"""Start carefully after relays that crashed; `relay.rules.failure.crash_suspects` has the rules."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from relay.delivery.refusals import Refusals
from relay.errors import StatementRefused
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.postgres.shard_leases import Ownership
from relay.rules.failure.crash_suspects import TOLERATED_CRASHES, goes_alone, next_group, own_attempts
from relay.rules.in_hand import InHand
from relay.rules.sending.send_gate import Gate

log = logging.getLogger(__name__)

# A group that is not settled after this long waits for something that no crash explains, seconds.
_PATIENCE_S = 5.0
_TICK_S = 0.25


class AfterCrash:
    """Limits how far may be read, until every event that the crashed relay may have held is settled."""

    def __init__(
        self,
        ownership: Ownership,
        in_hand: InHand,
        gate: Gate,
        reader: OutboxReader,
        writer: OutboxWriter,
        refusals: Refusals,
    ) -> None:
        self._ownership = ownership
        self._in_hand = in_hand
        self._gate = gate
        self._reader = reader
        self._writer = writer
        self._refusals = refusals
        # The relay that crashed held at most this many events.
        self._left = in_hand.limits.events + in_hand.limits.waiting
        # The group that is sent now, by seq; attempts include this time.
        self._group: dict[int, Event] = {}
        # Why the database refused to change the rows of suspects, so that each reason is logged once.
        self._reported: set[str] = set()

    async def next_group(self, above: int, up_to: int) -> int | None:
        """Return the seq up to which may be read, from `above` on; None if no suspect is left up to `up_to`.

        Raises:
            LeaseLost: A dead letter could not be written.
        """
        # Waiting for the broker proves nothing.
        while not self._gate.is_open:
            self._in_hand.room.clear()
            await self._in_hand.room.wait()
        crashes = self._ownership.crashes
        while self._left > 0:
            if crashes <= TOLERATED_CRASHES:
                held = await self._reader.outlines(above, up_to, self._left)
                self._left = 0
                return held[-1].seq if held else None
            suspects = await self._reader.suspects(above, up_to, min(1000, self._left))
            group = [one.event for one in suspects[: next_group([one.event.attempts for one in suspects])]]
            if not group:
                return None
            self._left -= len(group)
            if not self._refusals.is_crasher(group[0].attempts):
                await self._send_out(group)
                return group[-1].seq
            reason = f"the relay ended each time while this event alone was sent, {group[0].attempts} times at least"
            if not await self._refusals.bury_crasher(group[0], suspects[0].version, reason):
                # What was counted was another form of it, so one crash less is held against this one.
                await self._count(self._writer.lower_attempts, group)
        return None

    async def _send_out(self, group: list[Event]) -> None:
        # What still waits for its retry is not sent now.
        self._group = {event.seq: event._replace(attempts=event.attempts + 1) for event in group if not event.postponed}
        if self._group:
            await self._count(self._writer.raise_attempts, list(self._group.values()))
        if goes_alone(group[0].attempts):
            self._refusals.warn_isolated(group[0])

    async def _count(self, write: Callable[[Sequence[Event]], Awaitable[None]], events: Sequence[Event]) -> None:
        """Write the attempts of suspects; a row that the database refuses to change keeps those that it has."""
        try:
            await write(events)
        except StatementRefused as error:
            if len(events) > 1:
                middle = len(events) // 2
                await self._count(write, events[:middle])
                await self._count(write, events[middle:])
            elif str(error) not in self._reported:
                self._reported.add(str(error))
                log_event(
                    log,
                    "error",
                    "start.uncounted",
                    "PostgreSQL refuses to change the row of an event; crashes are not counted in it",
                    event_id=events[0].id,
                    seq=events[0].seq,
                    reason=str(error),
                )

    def cleared(self, event: Event) -> Event:
        """Return an event of the group with the attempts that are its own: crashes are no refusals."""
        if event.seq not in self._group:
            return event
        return event._replace(attempts=own_attempts(event.attempts, refused=event.postponed is not None))

    async def survived(self) -> None:
        """Wait at most 5 seconds until the group is settled; in either case it did not crash the relay.

        Only time in which events may be sent counts: while one connection after another ends, nothing is proved.
        """
        left_s = _PATIENCE_S
        while self._in_hand.can_flow() and left_s > 0:
            began, was_open = time.monotonic(), self._gate.is_open
            self._in_hand.room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._in_hand.room.wait()
            if was_open and self._gate.is_open:
                left_s -= time.monotonic() - began
        if self._group:
            await self._count(self._writer.lower_attempts, list(self._group.values()))
            self._group = {}

    async def end(self) -> None:
        """Forget the relays that crashed."""
        log_event(log, "info", "start.survived", "survived the events that the crashed relay was holding")
        await self._ownership.reset_crashes()
