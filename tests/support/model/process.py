"""A relay that works on the model's outbox and streams, and that can be killed and started again."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import relay.daemon.replica
import relay.integrity.marked_tail
import relay.jetstream.reconnect
import relay.rules.stream.unread_ranges
from relay.config.settings import Settings
from relay.daemon.replica import Replica
from relay.postgres.tables import Tables
from tests.support.model.broker import Broker
from tests.support.model.clock import Clock, Loop, told_by
from tests.support.model.outbox import Link, Names, Outbox


class _Presence:
    """The name of a process; no other one is near enough for its end to be noticed."""

    def __init__(self, *_: object) -> None:
        self.member = f"model:{uuid.uuid4().hex}"
        self.notes = ""
        self.allow_nats = ()

    def say(self, _: object) -> None:
        """Report it to nobody."""

    def ended(self, _: object) -> list[str]:
        """Return none."""
        return []


class _Replica(Replica):
    """The real one, connected to the model."""

    def __init__(self, settings: Settings, outbox: Outbox) -> None:
        super().__init__(settings)
        self._outbox = outbox
        self.alive = True

    def _database(self, name: str) -> Any:
        return Link(self._outbox, lambda: self.alive)

    async def _checked_tables(self, _: Any) -> Tables:
        return Names()


class Process:
    """One relay; time passes only in `rest`."""

    def __init__(self, settings: Settings, clock: Clock, outbox: Outbox, broker: Broker) -> None:
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._broker = broker
        self._loop = Loop(clock)
        self._replica: _Replica | None = None
        self._task: asyncio.Task[Any] | None = None
        self._deadly = False
        self.started = 0
        broker.on_deadly = self._meet_deadly

    @contextmanager
    def _here(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(told_by(self._clock))
            stack.enter_context(mock.patch.object(relay.jetstream.reconnect, "connect", self._broker.connect))
            stack.enter_context(mock.patch.object(relay.daemon.replica, "Presence", _Presence))
            # However short a tail is, what is marked in it is not read.
            stack.enter_context(mock.patch.multiple(relay.integrity.marked_tail, _SHORT_TAIL=0, _SPAN=7))
            stack.enter_context(mock.patch.object(relay.rules.stream.unread_ranges, "_WORTH_A_QUESTION", 1))
            yield

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._task is not None

    def in_vain(self) -> set[int]:
        """Return the seqs of what it does not send again, as their marks were taken back each time."""
        term = None if self._replica is None else self._replica._term
        return set() if term is None else set(term._fetcher._scrub._findings._in_vain)

    def start(self) -> None:
        """Start it."""
        with self._here():
            self.started += 1
            self._replica = _Replica(self._settings, self._outbox)
            self._task = self._loop.create_task(self._replica.run())

    def rest(self, seconds: float) -> None:
        """Let time pass. A process that dies meanwhile is dead at once.

        Raises:
            BaseException: What has ended the relay by itself, which nothing should.
        """
        with self._here():
            self._loop.run_until_complete(self._rest(seconds))
        if self._deadly:
            self.kill()

    async def _rest(self, seconds: float) -> None:
        until = self._clock.now + seconds
        while self._clock.now < until and not self._deadly:
            if self._broker.broken is not None:
                raise self._broker.broken
            waiting = {asyncio.ensure_future(asyncio.sleep(min(0.25, until - self._clock.now)))}
            if self._task is not None:
                await asyncio.wait({*waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
                if self._task.done():
                    for one in waiting:
                        one.cancel()
                    if self._broker.broken is not None:
                        raise self._broker.broken
                    raise AssertionError(f"the relay has ended: {self._task.result()}")
            else:
                await asyncio.wait(waiting)

    def _meet_deadly(self) -> None:
        self._deadly = True
        if self._replica is not None:
            self._replica.alive = False

    def kill(self) -> None:
        """End it without a chance to write anything."""
        self._deadly = False
        if self._task is None or self._replica is None:
            return
        self._replica.alive = False
        for client in list(self._broker.clients):
            client.leave()
        self._task.cancel()
        with self._here():
            self._loop.run_until_complete(asyncio.gather(self._task, return_exceptions=True))
        self._task = self._replica = None

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        with self._here():
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
