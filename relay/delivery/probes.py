"""Probes: of what is held one event is sent from time to time, to find out whether the others can flow again.

While events are held nothing else tells that their stream was set back: it may come back without what it had
acknowledged while our connection to another node stands, or be made again. What it has lost goes before what waits. So
the stream is asked first whether it is there, and then looked at by `relay.integrity.loss_watch`; only then the probe
is sent. While it is gone, and no stream takes the subject, the probe knocks (`relay.rules.stream.knocks`): it could
meet the stream as it is made again, before anybody has looked.
"""

import asyncio
import time
from collections import Counter, defaultdict
from contextlib import suppress
from enum import Enum, auto

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


class _Way(Enum):
    """The way of a probe: free; not free yet, or nobody knows; or its stream is gone, and no other one is known."""

    FREE = auto()
    WAIT = auto()
    GONE = auto()


class Probes:
    """Sends probes, each after a look at the streams that may have lost what goes before it."""

    def __init__(self, in_hand: InHand) -> None:
        self._in_hand = in_hand
        self._connection: Connection | None = None
        # What is to be sent, and on which subject, by the streams that are looked at before.
        self._waiting: dict[frozenset[str], list[tuple[Event, str]]] = defaultdict(list)
        self._wanted = asyncio.Event()
        # How often in a row nobody has answered about a stream, or about a subject; when a stream was looked at last
        # (monotonic seconds).
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
            self._waiting[streams].append((event, subject))
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

    async def _look(self, streams: frozenset[str], probes: list[tuple[Event, str]]) -> None:
        looked_at = max(self._looked_at.get(stream, -_SPACING_S) for stream in streams)
        await asyncio.sleep(max(0.0, looked_at + _SPACING_S - time.monotonic()))
        answers = dict(zip(streams, await asyncio.gather(*map(self._is_looked_at, streams)), strict=True))
        gone = {stream for stream, one in answers.items() if one is _Way.GONE}
        if _Way.WAIT in answers.values():
            ways = [_Way.WAIT] * len(probes)
        elif gone:
            ways = await asyncio.gather(*(self._is_taken(subject, gone) for _, subject in probes))
        else:
            ways = [_Way.FREE] * len(probes)
        now, sent = time.monotonic(), []
        for (event, _), way in zip(probes, ways, strict=True):
            if way is _Way.GONE:
                self._in_hand.streams.begun.knocks.begin(event.seq)
            if way is not _Way.WAIT or not self._in_hand.holds.wait_again(event, now):
                sent.append(event)
        self._in_hand.lanes.put_back(sent, alone=True)
        self._in_hand.to_send.set()

    async def _is_taken(self, subject: str, gone: set[str]) -> _Way:
        """Find out whether a stream takes a subject, other than those that were gone a moment ago: these come first."""
        connection = self._connection
        if connection is None or not connection.up:
            return _Way.FREE
        try:
            names = await connection.streams_of(subject, _TIMEOUT_S)
        except LookupRefused:
            return _Way.FREE
        except BrokerError:
            return self._unanswered(connection, subject)
        self._silent.pop(subject, None)
        if not names:
            return _Way.FREE if self._in_hand.streams.begun.is_elsewhere(subject) else _Way.GONE
        return _Way.WAIT if gone.intersection(names) else _Way.FREE

    async def _is_looked_at(self, stream: str) -> _Way:
        """Have a stream looked at; a probe may be sent to one that was, or cannot be."""
        connection, set_backs = self._connection, self._in_hand.set_backs
        if connection is None or not connection.up:
            return _Way.FREE  # nothing is sent before it stands again, and the streams were looked at
        try:
            if await connection.stream_state(stream, _TIMEOUT_S) is None:
                # One that was never seen may belong to another account: then it is none of those that can be asked.
                return _Way.GONE if self._in_hand.streams.was_seen(stream) else _Way.FREE
        except LookupRefused:
            return _Way.FREE
        except BrokerError:
            return self._unanswered(connection, stream)
        self._silent.pop(stream, None)
        set_backs.suspect(stream, None)
        until = time.monotonic() + _LOOK_TIMEOUT_S
        while stream in set_backs.wanted and connection.up and time.monotonic() < until:
            self._in_hand.looked.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._in_hand.looked.wait()
        self._looked_at[stream] = time.monotonic()
        return _Way.FREE

    def _unanswered(self, connection: Connection, about: str) -> _Way:
        """Take it that nobody has answered about a stream, or about a subject."""
        self._silent[about] += 1
        return _Way.FREE if not connection.up or self._silent[about] >= _TRIES else _Way.WAIT
