"""Mutants: a relay that breaks one of its promises on purpose, to show that the checks can fail."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import relay.app
from relay.database import Database
from relay.fetcher import Fetcher
from relay.gaps import Gaps
from relay.jetstream import Connection, Message
from relay.publisher import Publisher
from relay.reconcile import Reconciler
from relay.sql import Tables


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


def _settle_early() -> None:
    """Take an event for stored as soon as it was handed to the connection, not when it is acknowledged.

    Without the healing, which would find most of what is lost by this.
    """
    publish = Connection.publish

    async def unacknowledged(self: Connection, messages: Sequence[Message]) -> None:
        await publish(self, messages)
        for token, subject, _, _ in messages:
            self._listener.stored(token, subject.partition(".")[0].upper(), token, False)

    _replace(Connection, "publish", unacknowledged)
    os.environ["RELAY_HEALING__ON_LOSS"] = "alert"


def _no_gaps() -> None:
    """Go by the cursor alone: what becomes visible behind it is never looked for."""

    def forget(*_: object) -> None: ...

    async def nothing(_: object) -> int:
        return 0

    _replace(Gaps, "passed", forget)
    _replace(Fetcher, "_scrub", nothing)


def _no_leases() -> None:
    """Let every replica take itself for the owner, whoever else does, and send without looking at a lease."""

    async def anyway(database: Database, tables: Tables, shard: int, owner: str, ttl_s: float) -> int:
        rows = await database.run(b"SELECT epoch FROM outbox_shards WHERE shard = $1", (shard,))
        return int(rows[0][0])

    made = Publisher.__init__

    def may_always_send(self: Publisher, *options: Any, **parts: Any) -> None:
        made(self, *options, **(parts | {"may_send": lambda: True}))

    _replace(relay.app, "claim", anyway)
    _replace(Publisher, "__init__", may_always_send)


def _no_look_up() -> None:
    """Begin a term without reading what the streams hold of the term before it."""

    async def unread(*_: object) -> None: ...

    _replace(Reconciler, "_read_tail", unread)


MUTANTS: dict[str, Callable[[], None]] = {
    "settle-early": _settle_early,
    "no-gaps": _no_gaps,
    "no-leases": _no_leases,
    "no-look-up": _no_look_up,
}
