"""Keep the outbox and its streams consistent: nothing is sent before the streams were looked at.

The gate is shut over each new connection to NATS until each stream was compared with the marks (`loss_watch`), and over
each new connection to the database until the tails were searched for events that may be stored without a mark
(`tail_search`): an earlier owner may have sent them, or the database may have lost their marks in a failover.

A stream that does not answer is waited for a while, one that may not be looked at is not; then events flow without.
"""

import asyncio
import logging
import time
from contextlib import suppress

from relay.errors import StreamHealed
from relay.integrity.loss_watch import LossWatch
from relay.integrity.tail_search import TailSearch
from relay.integrity.watched import Watched, WatchedStreams
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError, LookupRefused
from relay.observe.logs import event as log_event
from relay.postgres.database import Unfinished
from relay.rules.in_hand import InHand
from relay.rules.sending.send_gate import Gate
from relay.rules.stream.streams import split

log = logging.getLogger(__name__)

_TICK_S = 0.25
_STEP_S = 1.0
# After so many marks with the next tick: what lies above the floor is searched after a crash, 25 us a message.
_MUCH = 5_000
_LOCKED_PAUSE_S = 5.0
_CONNECTED = "the streams were not looked at over this connection"


class Reconciler:
    """Stands between the connection and the publisher."""

    def __init__(
        self, in_hand: InHand, gate: Gate, streams: WatchedStreams, losses: LossWatch, tails: TailSearch
    ) -> None:
        self._in_hand = in_hand
        self._gate = gate
        self._streams = streams
        self._losses = losses
        self._tails = tails
        self._connection: Connection | None = None
        self._wake = in_hand.look_for_wanted
        self._step_at = 0.0
        # Not sooner, however much was marked since the last step.
        self._soonest_at = 0.0
        self._marked = 0
        gate.shut(_CONNECTED)

    def attach(self, connection: Connection) -> None:
        """Look at the streams over this connection before anything is sent over it."""
        self._connection = connection
        self._tails.connected()
        for one in (watched := list(self._streams)):
            one.connected()
        # A look that is denied would let each new connection wait for nothing: whether the right was given meanwhile
        # shows beside. Silence may be that of a server that has just started, and is waited for.
        if watched and all(one.denied for one in watched):
            self._gate.release(_CONNECTED)
            self._in_hand.may_flow()
        self._wake.set()

    def detach(self) -> None:
        """Ask nothing more: the connection has ended."""
        self._connection = None
        self._gate.shut(_CONNECTED)

    async def run(self) -> None:
        """Look after the streams for ever.

        Raises:
            StreamHealed: Lost events are pending again; the term has to begin again to send them in their order.
        """
        while True:
            await self._recall()
            connection = self._connection
            if connection is not None and connection.up:
                await self._turn(connection)
            if time.monotonic() >= (self._soonest_at if self._has_marked_much() else self._step_at):
                self._step_at = time.monotonic() + _STEP_S
                self._marked = self._in_hand.floors.sum_of_marks()
                self._losses.report_repairs()
                await self.save()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._wake.wait()
            self._wake.clear()

    def rooms(self) -> tuple[tuple[str, float], ...]:
        """Return how much room each stream has that has a limit and could be looked at last: 0 to 1."""
        return self._streams.rooms()

    def refused(self) -> tuple[int, str]:
        """Return of how many streams the database refuses to save what is kept, and why that of the last one."""
        return self._streams.refused()

    async def save(self) -> None:
        """Let floors rise, and save what has changed.

        While somebody has locked that table nothing is saved: a relay that begins then has more to search.
        """
        try:
            await self._streams.save()
        except Unfinished:
            self._step_at = self._soonest_at = time.monotonic() + _LOCKED_PAUSE_S

    def _has_marked_much(self) -> bool:
        return self._in_hand.floors.sum_of_marks() - self._marked >= _MUCH

    async def _recall(self) -> None:
        """Begin with what the database holds, once for each connection to it."""
        while not self._streams.is_current:
            await self._streams.recall()
            self._tails.begin_again()
        self._losses.report_open()

    async def _turn(self, connection: Connection) -> None:
        was_open = self._gate.is_open
        await self._look(connection)
        await self._search(connection)
        if connection is not self._connection or not connection.up:
            return
        if all(one.looked_over is connection for one in self._streams):
            self._gate.release(_CONNECTED)
        if self._tails.knows_all and all(one.searched for one in self._streams):
            self._gate.searched(self._streams.generation)
        if self._gate.is_open and not was_open:
            self._in_hand.may_flow()

    async def _look(self, connection: Connection) -> None:
        """Look at each stream that is due: all at once, so that a silent one keeps no other waiting for long."""
        now = time.monotonic()
        names = {one.name for one in self._streams if self._losses.due(one, connection, now)}
        # What was marked before a stream had a domain has its plain name. It lies in the same one, and goes first.
        names.update([split(name)[1] for name in names])
        due = sorted((one for one in self._streams if one.name in names), key=lambda one: "/" in one.name)
        set_backs = self._in_hand.set_backs
        # Nothing waits for a look that is denied, or at a stream that nothing is marked in yet.
        for name in set_backs.wanted - {one.name for one in due}:
            set_backs.let_go(name)
        if not due:
            return
        await self._streams.take_up_losses()
        looks = await asyncio.gather(*(self._losses.look(connection, one) for one in due), return_exceptions=True)
        healed: list[StreamHealed] = []
        for watched, look in zip(due, looks, strict=True):
            try:
                if isinstance(look, BaseException):
                    raise look
                await self._losses.act(watched, look)
            except BrokerError as error:
                self._troubled(connection, watched, error)
            except StreamHealed as loss:
                # Nothing is sent before the next term, so what others have lost can go back in this one.
                healed.append(loss)
            else:
                in_turn = watched.looked_over is not connection or now >= watched.look_at
                set_backs.looked(watched.name, look.witnesses, in_turn=in_turn)
                room = None if look.reader is None else look.reader.state.room
                next_at = self._losses.next_look_at()
                watched.looked(connection, look.mark, next_at, room=room, at_namesake=not look.same)
                if not look.same:
                    self._report(
                        watched, "the stream of this name is another one than the one that acknowledges events"
                    )
        self._losses.report_open()
        if len(healed) == 1:
            raise healed[0]
        if healed:
            raise StreamHealed(f"events that {len(healed)} streams have lost are pending again")

    async def _search(self, connection: Connection) -> None:
        """Search what was not searched, and look for single events that were asked for."""
        for watched in self._streams:
            # Not before it was compared: a stream that was rolled back ends below its floor.
            if not watched.searched and watched.looked_over is connection:
                try:
                    await self._tails.read(connection, watched)
                except BrokerError as error:
                    self._troubled(connection, watched, error)
        if not self._tails.knows_all:
            await self._tails.read_of_unknown(connection)
        if await self._tails.answer(connection):
            self._in_hand.may_flow()

    def _troubled(self, connection: Connection, watched: Watched, error: BrokerError) -> None:
        """Try a stream again for a while; without the right to ask, or after that, do without it."""
        denied = isinstance(error, LookupRefused)
        if connection.up and watched.troubled(connection, time.monotonic(), self._losses.next_look_at(), denied=denied):
            self._in_hand.set_backs.let_go(watched.name)
            self._report(watched, str(error))

    def _report(self, watched: Watched, reason: str) -> None:
        if watched.is_news():
            log_event(
                log,
                "warning",
                "streams.unreadable",
                "the stream cannot be read: an event may be stored twice after an outage longer than the duplicate"
                " window, and what the stream loses is not noticed",
                stream=watched.name,
                reason=reason,
            )
