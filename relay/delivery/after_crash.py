"""Begin with care after relays that ended without a word: see `relay.rules.crash_suspects` for the rules."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from relay.errors import LeaseLost
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.outcomes import Buried
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.postgres.ownership import Ownership
from relay.rules.crash_suspects import FORGIVEN, goes_alone, is_convicted, next_group, own_attempts

log = logging.getLogger(__name__)

# A group that is not settled after so long waits for something that no crash explains, seconds.
_PATIENCE_S = 5.0


class AfterCrash:
    """Says how far may be read, until all that the last relay may have had in its hands has proved harmless.

    Args:
        most: So many events may have been in the hands of the relay that ended.
        max_attempts: From so many attempts on an event that is alone is given up.
        may_send: Whether events would be sent now: waiting for the broker is no trial.
        room: Set when events were settled, and when they may be sent.
        accuse: Told of an event that is sent alone now.
        convict: Makes a dead letter of an event, which is still to be written.
    """

    def __init__(
        self,
        *,
        ownership: Ownership,
        reader: OutboxReader,
        writer: OutboxWriter,
        most: int,
        max_attempts: int,
        may_send: Callable[[], bool],
        room: asyncio.Event,
        accuse: Callable[[Event], None],
        convict: Callable[[Event, str], Buried],
        metrics: Metrics,
    ) -> None:
        self._ownership = ownership
        self._reader = reader
        self._writer = writer
        self._left = most
        self._max_attempts = max_attempts
        self._may_send = may_send
        self._room = room
        self._accuse = accuse
        self._convict = convict
        self._metrics = metrics
        # What is on trial now: seq to attempts, those of the trial included.
        self._group: dict[int, int] = {}

    async def next_group(self, above: int, up_to: int) -> int | None:
        """Give the seq up to which may be read, from `above` on; None where no suspect is left up to `up_to`.

        Raises:
            LeaseLost: A dead letter could not be written.
        """
        while not self._may_send():
            self._room.clear()
            await self._room.wait()
        ended = self._ownership.crashes
        while self._left > 0:
            if ended <= FORGIVEN:
                suspects = await self._reader.outlines(above, up_to, self._left)
                self._left = 0
                return suspects[-1].seq if suspects else None
            suspects = await self._reader.outlines(above, up_to, min(1000, self._left))
            group = suspects[: next_group([event.attempts for event in suspects])]
            if not group:
                return None
            self._left -= len(group)
            if not is_convicted(group[0].attempts, self._max_attempts):
                await self._send_out(group)
                return group[-1].seq
            reason = f"the relay ended each time while this event alone was sent, {group[0].attempts} times at least"
            buried = self._convict(group[0], reason)
            if not await self._writer.bury(buried) and await self._writer.still_pending([group[0].seq]):
                raise LeaseLost(f"event {group[0].id} could not be settled: another relay owns shards")
            self._metrics.dead(buried.reason)
        return None

    async def _send_out(self, group: list[Event]) -> None:
        # What still waits for its retry is not sent now.
        self._group = {event.seq: event.attempts + 1 for event in group if not event.postponed}
        if self._group:
            await self._writer.suspect(self._group)
        if goes_alone(group[0].attempts):
            self._accuse(group[0])

    def cleared(self, event: Event) -> Event:
        """Give an event of the group with the attempts that are its own: relays that ended are no refusals."""
        if event.seq not in self._group:
            return event
        return event._replace(attempts=own_attempts(event.attempts, refused=event.postponed is not None))

    async def outlived(self, in_hand: Callable[[], int]) -> None:
        """Wait until the group is settled, or for 5 seconds: then it is not what ended the relay."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while in_hand():
                    self._room.clear()
                    await self._room.wait()
        if self._group:
            await self._writer.outlived(self._group)
            self._group = {}

    async def end(self) -> None:
        """Forget the relays that ended."""
        log_event(log, "info", "start.survived", "nothing that the last relay had in hand ends this one")
        await self._ownership.absolve()
