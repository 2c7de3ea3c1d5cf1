"""Mutants: a relay that breaks one of its promises on purpose, to show that the checks can fail."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import relay.maintenance.retention
import relay.projection.term
from relay.daemon.replica import Replica
from relay.integrity.tail_search import TailSearch
from relay.integrity.watched import Watched
from relay.jetstream.connection import Connection
from relay.jetstream.frames import Message
from relay.postgres import outbox_reader as outbox
from relay.postgres.shard_leases import Ownership
from relay.projection.ports import Move
from relay.projection.store import Conn, Store, search_path
from relay.rules.order.gaps import Gaps
from relay.rules.reading.scrub_pass import ScrubPass
from relay.rules.replicas.relay_names import Member
from relay.rules.sending.envelopes import Envelopes
from relay.rules.sending.send_gate import Gate


def apply(name: str) -> None:
    """Break the promise of that name.

    Raises:
        KeyError: There is no such mutant.
    """
    MUTANTS[name]()


def _replace(owner: Any, name: str, by: Any) -> None:
    # A mutant of something that is no longer there would be no mutant.
    if not hasattr(owner, name):
        raise AttributeError(f"{owner!r} has no {name}: the mutant has to follow the code")
    setattr(owner, name, by)


def tidy() -> None:
    """Let retention, and a runner between looks at its stream, rest for a moment; no promise is broken."""
    _replace(relay.maintenance.retention, "_IDLE_PAUSE_S", 0.05)
    _replace(relay.projection.term, "_LOOK_S", 0.3)


def _settle_early() -> None:
    """Take an event for stored as soon as it was handed to the connection, not when it is acknowledged.

    Without the healing, which would find most of what is lost by this.
    """
    publish = Connection.publish

    async def unacknowledged(self: Connection, messages: Sequence[Message]) -> None:
        await publish(self, messages)
        self._listener.stored(
            [(token, subject.partition(".")[0].upper(), token, False) for token, subject, _, _ in messages]
        )

    _replace(Connection, "publish", unacknowledged)
    os.environ["RELAY_HEALING__ON_LOSS"] = "alert"


def _no_gaps() -> None:
    """Go by the cursor alone: what becomes visible behind it is never looked for."""

    def forget(*_: object) -> None: ...

    def nothing(*_: object) -> None: ...

    _replace(Gaps, "passed", forget)
    _replace(ScrubPass, "step", nothing)


def _no_leases() -> None:
    """Let every replica take itself for the owner, whoever else does, and send without looking at a lease."""

    share = Replica._share

    async def anyway(self: Replica, ownership: Ownership) -> float:
        # One name for all, so that the fence lets each of them write.
        ownership.presence.member = Member("mutant", 1, "00000000", None)
        await share(self, ownership)
        query = b"SELECT shard, epoch FROM outbox_shards WHERE owner = $1"
        rows = await ownership.database.run(query, (ownership.member,))
        ownership.epochs.update(rows)
        return 0

    def may_always_send(*_: object) -> bool:
        return True

    _replace(Replica, "_share", anyway)
    _replace(Gate, "may_send", may_always_send)


def _no_look_up() -> None:
    """Begin a term without reading what the streams hold of the term before it."""

    async def unread(_: TailSearch, __: Connection, watched: Watched) -> None:
        watched.searched_up_to(0)

    _replace(TailSearch, "read", unread)


def _deadly(owner: Any, name: str, is_met: Callable[..., bool]) -> None:
    """End the process, as a crash in a library would, when a function meets an event of the topic orders.deadly."""
    act = getattr(owner, name)

    def meet(*arguments: Any) -> Any:
        if is_met(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments)

    _replace(owner, name, meet)


def _deadly_to_send() -> None:
    _deadly(Envelopes, "make", lambda _, event, *__: event.topic == "orders.deadly")


def _deadly_to_read() -> None:
    # Without its payload it is harmless: a row may be too large for memory.
    _deadly(outbox, "_read", lambda rows, _: any(row[2] == "orders.deadly" and row[4] for row in rows))


def _position_first() -> None:
    """Let a runner of read models commit the position first, and the effects a moment later."""
    moving = Store.moving

    @asynccontextmanager
    async def apart(self: Store, epoch: int, move: Move, *, piped: bool = False) -> AsyncIterator[Conn]:
        async with moving(self, epoch, move, piped=piped):
            pass
        # So long that a session is nearly always in between, also on a laden machine, on which few events come.
        await asyncio.sleep(2)
        conn = await self._database.connection()
        async with conn.transaction():
            await conn.execute("SELECT set_config('search_path', %s, true)", (search_path(self._definition),))
            yield conn

    _replace(Store, "moving", apart)


MUTANTS: dict[str, Callable[[], None]] = {
    "settle-early": _settle_early,
    "no-gaps": _no_gaps,
    "no-leases": _no_leases,
    "no-look-up": _no_look_up,
    "deadly-to-send": _deadly_to_send,
    "deadly-to-read": _deadly_to_read,
    "position-first": _position_first,
}
OF_RUNNERS = frozenset({"position-first"})
"""Those that are for the runners of read models, and not for relays."""
