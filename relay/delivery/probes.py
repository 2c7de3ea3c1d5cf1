"""Probes: of what is held one event is sent from time to time, to find out whether the others can flow again.

While events are held nothing else tells that their stream was set back: it may come back without what it had
acknowledged while our connection to another node stands, or be made again. What it has lost goes before what waits. So
the stream is asked first whether it is there, and then looked at by `relay.integrity.loss_watch`; only then the probe
is sent.
"""

import asyncio
import time
from collections import Counter, defaultdict
from contextlib import suppress

from relay.cancellation import end
from relay.event import Event
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError, LookupRefused
from relay.rules.in_hand import InHand

# A stream that does not say that it is there within this takes no event either, seconds.
_TIMEOUT_S = 0.5
# So often in a row; then the probe is sent all the same: who cannot be asked may take events.
_TRIES = 8
_LOOK_TIMEOUT_S = 10.0
_TICK_S = 0.25
# A stream is looked at so often at most: each look costs a statement. Until then probes wait for the next one.
_SPACING_S = 0.25


class Probes:
    """Sends probes, each after a look at the streams that may have lost what goes before it."""

    def __init__(self, in_hand: InHand) -> None:
        self._in_hand = in_hand
        self._connection: Connection | None = None
        # What is to be sent, by the streams that are looked at before.
        self._waiting: dict[frozenset[str], list[Event]] = defaultdict(list)
        self._wanted = asyncio.Event()
        # How often in a row a stream has not answered, and when one was looked at last (monotonic seconds).
        self._silent: Counter[str] = Counter()
        self._looked_at: dict[str, float] = {}

    def attach(self, connection: Connection) -> None:
        """Ask over this connection from now on."""
        self._connection = connection
        self._silent.clear()
        self._looked_at.clear()

    def send(self, event: Event, subject: str) -> None:
        """Send a probe on a subject, at once if no stream that has acknowledged anything may take it.

        A stream that was gone when this relay started may take any subject of no known stream once it is made again.
        """
        acknowledged = self._in_hand.set_backs.known()
        known = self._in_hand.streams.since(subject, time.monotonic())
        streams = acknowledged & known if known else self._in_hand.streams.never_seen(acknowledged)
        if streams:
            self._waiting[streams].append(event)
            self._wanted.set()
        else:
            self._in_hand.lanes.put_back([event], alone=True)

    async def run(self) -> None:
        """Look at streams, and send what waits for that, for ever. A slow look holds up what waits for it alone."""
        looks: dict[frozenset[str], asyncio.Task[None]] = {}
        wanted = asyncio.create_task(self._wanted.wait())
        try:
            while True:
                await asyncio.wait((wanted, *looks.values()), return_when=asyncio.FIRST_COMPLETED)
                for streams in [streams for streams, look in looks.items() if look.done()]:
                    looks.pop(streams).result()
                if wanted.done():
                    self._wanted.clear()
                    wanted = asyncio.create_task(self._wanted.wait())
                for streams in self._waiting.keys() - looks.keys():
                    looks[streams] = asyncio.create_task(self._look(streams, self._waiting.pop(streams)))
        finally:
            await end(wanted, *looks.values())

    async def _look(self, streams: frozenset[str], events: list[Event]) -> None:
        looked_at = max(self._looked_at.get(stream, -_SPACING_S) for stream in streams)
        await asyncio.sleep(max(0.0, looked_at + _SPACING_S - time.monotonic()))
        answers = await asyncio.gather(*(self._is_looked_at(stream) for stream in streams))
        now = time.monotonic()
        again = [] if all(answers) else [one for one in events if self._in_hand.holds.wait_again(one, now)]
        self._in_hand.lanes.put_back([event for event in events if event not in again], alone=True)
        self._in_hand.to_send.set()

    async def _is_looked_at(self, stream: str) -> bool:
        """Have a stream looked at; return whether a probe may be sent to it: not while it does not answer."""
        connection, set_backs = self._connection, self._in_hand.set_backs
        if connection is None or not connection.up:
            return True  # nothing is sent before it stands again, and the streams were looked at
        try:
            if await connection.stream_state(stream, _TIMEOUT_S) is None:
                return True
        except LookupRefused:
            return True
        except BrokerError:
            self._silent[stream] += 1
            return not connection.up or self._silent[stream] >= _TRIES
        del self._silent[stream]
        set_backs.suspect(stream, None)
        until = time.monotonic() + _LOOK_TIMEOUT_S
        while stream in set_backs.wanted and connection.up and time.monotonic() < until:
            self._in_hand.looked.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._in_hand.looked.wait()
        self._looked_at[stream] = time.monotonic()
        return True
