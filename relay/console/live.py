"""What all open pages share: one look at the outbox and at NATS for all of them, and none while nobody looks."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from relay.console.first_look import FIRST_UP_TO, read_first_look
from relay.console.last_hour import LastHour, Slot
from relay.console.seen_streams import OutboxSide, SeenStreams
from relay.errors import RelayError, Unreachable
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.operate.access import Reader, Watcher, foreseen, watching
from relay.operate.broker import broker
from relay.operate.gone_stream import Known, read_subjects, subject_maker
from relay.operate.held import Held, held_for, read_held
from relay.operate.inserted import InsertedTopic, inserted_into, read_inserted
from relay.operate.nats_status import NatsView, StreamView, look
from relay.operate.pace import Pace, pace
from relay.operate.sent_again import SentAgain, read_sent_again
from relay.operate.status import Loss, Status, read_standing, read_status
from relay.operate.stream_room import Limit, of_messages
from relay.outcomes import FailureClass

if TYPE_CHECKING:
    from relay.config.settings import Settings

log = logging.getLogger(__name__)

# How old a look may be before another one is taken, and how long connections are kept when nobody looks.
_FRESH_S = 1.5
_IDLE_S = 30.0
# How long a page waits for the next look if the last one is not older than this; its next refresh shows it then.
_WAIT_S = 0.05
_OLDEST_S = 10.0
# How long a page waits for NATS; its answer is shown with the next look otherwise.
_NATS_WAIT_S = 1.0
_PACE_LOOKS = 6
# From which lag on what is pending is counted by topic, and how often.
_HELD_S, _COUNT_EVERY_S = 2.0, 4.0
# How often it is counted how much is inserted.
_INSERTED_EVERY_S = 15.0
# How often it is looked for what was sent again; at once if a loss was noted, or something is not sent yet.
_AGAIN_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment.

    Attributes:
        at: Unix seconds.
        status: None if PostgreSQL could not be asked.
        fault: Why not.
        nats: None before its first answer.
        slots: The last hour, as far as it was seen.
        held: What is pending by topic, while something keeps it; else None.
        again: What streams had lost and was sent again.
    """

    at: float
    status: Status | None
    fault: str | None
    nats: NatsView | None
    pace: Pace | None
    slots: tuple[Slot, ...]
    held: Held | None = None
    again: tuple[SentAgain, ...] = ()


class Live:
    """Looks when a page asks and the last look is too old. To be used from one event loop."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._looking: asyncio.Task[Look] | None = None
        self._latest: Look | None = None
        self._looked_at = 0.0
        self._seen: deque[Status] = deque(maxlen=_PACE_LOOKS)
        self._last_hour = LastHour()
        self._stack = ExitStack()
        self._watcher: Watcher | None = None
        self._nats_stack = AsyncExitStack()
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[str | None] | None = None
        self._asking: asyncio.Task[NatsView] | None = None
        self._nats: NatsView | None = None
        self._seen_streams = SeenStreams()
        self._subject_of = subject_maker(settings)
        self._held: Held | None = None
        self._held_at = 0.0
        self._inserted: tuple[InsertedTopic, ...] | None = None
        self._inserted_at: float | None = None
        self._again: tuple[SentAgain, ...] = ()
        self._again_at = 0.0
        self._losses: tuple[Loss, ...] = ()
        self._idle: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    async def look(self) -> Look:
        """Return what is seen now; many callers share one look.

        It is at most 1.5 s old, or 10 s if PostgreSQL takes longer than a page should for the next one.
        """
        self._close_later()
        latest, age_s = self._latest, time.monotonic() - self._looked_at
        if latest is not None and age_s <= _FRESH_S:
            return latest
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_again())
        looking = self._looking
        if latest is None or age_s > _OLDEST_S:
            return await asyncio.shield(looking)
        done, _ = await asyncio.wait({looking}, timeout=_WAIT_S)
        return looking.result() if done else latest

    async def close(self) -> None:
        """Let go of the connections; the next look makes others."""
        async with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            for task in (self._asking, self._connecting):
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            self._asking = self._connecting = self._connection = None
            await self._nats_stack.aclose()
            await asyncio.to_thread(self._let_go)
            self._seen.clear()
            self._last_hour.clear()
            self._seen_streams.pause()
            self._latest = self._nats = None

    async def _look_again(self) -> Look:
        async with self._lock:
            self._latest = await self._fresh()
            self._looked_at = time.monotonic()
            return self._latest

    def _close_later(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._close_now)

    def _close_now(self) -> None:
        self._closing = asyncio.create_task(self.close())

    async def _fresh(self) -> Look:
        if self._seen:
            status, fault = await asyncio.to_thread(self._read)
        else:
            status, fault = await self._first()
        if status is None:
            self._seen.clear()
        else:
            self._seen.append(status)
            self._last_hour.add(status)
        nats = await self._nats_of(status.streams if status is not None else ())
        now = time.time()
        held = None if status is None else self._held
        return Look(now, status, fault, nats, pace(self._seen), tuple(self._last_hour.slots(now)), held, self._again)

    async def _first(self) -> tuple[Status | None, str | None]:
        """Ask PostgreSQL for the first time, or after a fault: over several connections, since a page waits for it.

        Meanwhile NATS is connected to.
        """
        if self._connecting is None and self._asking is None:
            self._connecting = asyncio.create_task(self._connect())
        (status, fault), past = await asyncio.gather(
            asyncio.to_thread(self._read),
            asyncio.to_thread(read_first_look, self._settings),
        )
        self._last_hour.clear()
        if status is None or past is None:
            return status, fault
        self._last_hour.fill(past.slots)
        self._again, self._again_at, self._losses = past.again, status.at, status.losses
        return past.completed(status), None

    def _read(self) -> tuple[Status | None, str | None]:
        """Ask PostgreSQL; a connection that has ended meanwhile is made again once."""
        for is_kept in (self._watcher is not None, False):
            try:
                if self._watcher is None:
                    self._watcher = self._stack.enter_context(watching(self._settings))
                with self._watcher.look():
                    before = self._seen[-1] if self._seen else None
                    if before is None:
                        found = read_standing(self._watcher, count_up_to=FIRST_UP_TO)
                    else:
                        found = read_status(self._watcher, before)
                    self._count(self._watcher, found)
                    return found, None
            except RelayError as error:
                self._let_go()
                return None, str(error)
            except psycopg.Error as error:
                self._let_go()
                cause = foreseen(error)
                if cause is None:
                    raise
                if not (is_kept and isinstance(cause, Unreachable)):
                    return None, str(cause)
        raise AssertionError("the second attempt returns")

    def _count(self, reader: Reader, found: Status) -> None:
        """Count what is held, while something is, what is inserted, and what was sent again; not at each look."""
        if not found.waiting and found.lag_s < _HELD_S:
            self._held = None
        elif self._held is None or found.at - self._held_at >= _COUNT_EVERY_S:
            failures, ordering = self._settings.failures, self._settings.delivery.ordering
            blocks = failures.on_dead == "block" and ordering == "key"
            self._held = read_held(reader, found.watermark, found.newest, blocks=blocks, oldest=found.oldest)
            self._held_at = found.at
        # A page waits for the first look: it counts what its advice needs, and the next one, within seconds, the rest.
        # What was sent again is read beside it.
        is_first = not self._seen
        is_full = any(one.failure_class == FailureClass.CAPACITY for one in found.waiting)
        if (is_full or not is_first) and (
            self._inserted_at is None or found.at - self._inserted_at >= _INSERTED_EVERY_S
        ):
            self._inserted, self._inserted_at = read_inserted(reader, found.newest), found.at
        often = any(one.pending for one in self._again) or found.losses != self._losses
        if not is_first and found.at - self._again_at >= (_COUNT_EVERY_S if often else _AGAIN_EVERY_S):
            self._again, self._again_at = read_sent_again(reader, found.newest, found.at), found.at
            self._losses = found.losses

    def _learn(self) -> None:
        """Ask the outbox what those streams took that are gone, and that nobody saw."""
        if self._watcher is None:
            return
        try:
            with self._watcher.look():
                for name in self._seen_streams.strange:
                    self._seen_streams.learn(name, read_subjects(self._watcher, name, self._subject_of))
        except (RelayError, psycopg.Error) as error:
            # The next look says what is wrong with PostgreSQL.
            log.debug("what lost streams took is not known: %s", type(error).__name__)

    def _waits_for(self, stream: StreamView) -> bool:
        """Report whether events wait for a stream, as far as they were counted."""
        return (
            self._held is not None and held_for(stream.name, stream.subjects, self._held, self._subject_of).events > 0
        )

    def _inserted_into(self, stream: StreamView) -> float | None:
        rate = inserted_into(stream.subjects, self._inserted, self._subject_of)
        limit: Limit = "max_bytes" if stream.limit == "max_bytes" else "max_msgs"
        return None if rate is None else of_messages(rate, limit, stream.messages, stream.bytes)

    @property
    def known(self) -> Known:
        """What is known of streams from looks before; for one that nobody saw, the subjects of what it was sent."""
        return Known(self._seen_streams.took, self._seen_streams.growth, self._seen_streams.limits)

    def _let_go(self) -> None:
        self._watcher = None
        with contextlib.suppress(psycopg.Error):
            self._stack.close()

    async def _nats_of(self, streams: Sequence[str]) -> NatsView | None:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(streams))
        done, _ = await asyncio.wait({self._asking}, timeout=_NATS_WAIT_S)
        if done:
            answer, self._asking = self._asking.result(), None
            side = OutboxSide(self._waits_for, self._inserted_into, streams)
            self._nats = self._seen_streams.completed(answer, time.time(), side)
            if self._seen_streams.strange and self._watcher is not None:
                await asyncio.to_thread(self._learn)
                self._nats = self._seen_streams.completed(answer, time.time(), side)
        return self._nats

    async def _ask(self, streams: Sequence[str]) -> NatsView:
        begun, self._connecting = self._connecting, None
        fault = await (self._connect() if begun is None else begun)
        if fault is not None or self._connection is None:
            return NatsView(unreachable=fault)
        try:
            return await look(self._connection, streams)
        except BrokerError as error:
            return NatsView(unreachable=str(error))

    async def _connect(self) -> str | None:
        """Connect to NATS unless that was done; return why it cannot be."""
        if self._connection is not None and self._connection.up:
            return None
        try:
            await self._nats_stack.aclose()
            self._connection = await self._nats_stack.enter_async_context(broker(self._settings))
        except (Unreachable, BrokerError) as error:
            self._connection = None
            return str(error)
        return None
