"""Projections where they are kept, in this database and in the Redis of the settings: how far, and what is parked."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import psycopg

from relay.console.changes.carry_out import operator_settings
from relay.console.site import Site
from relay.errors import ConfigError, RelayError
from relay.operate.access import Reader, connect
from relay.projection import operator
from relay.projection.operator import BEHIND, NoProjection, ParkedEvent, PartitionStatus

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.projection.in_redis.client import Client

T = TypeVar("T")
Store = Literal["postgres", "redis"]
Choice = Literal["retry", "skip"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a store says.

    Attributes:
        note: Why it says nothing; None if it does.
    """

    store: Store
    partitions: Sequence[PartitionStatus]
    note: str | None


async def standings(site: Site) -> list[Standing]:
    """Return what each store says of its projections; Redis only if its address is set."""
    found = [await _in_postgres(site)]
    if has_redis(site.settings):
        try:
            from relay.projection.in_redis.operator import statuses

            found.append(Standing("redis", await _ask_redis(site.settings, statuses), None))
        except RelayError as error:
            found.append(Standing("redis", (), str(error)))
    return found


async def parked(site: Site, store: Store, name: str, key: str | None = None) -> list[ParkedEvent]:
    """Return the parked events of a projection, in their order.

    Raises:
        RelayError: There is no such projection, or it cannot be asked.
    """
    if store == "redis":
        from relay.projection.in_redis.operator import parked as parked_in_redis

        return await _ask_redis(site.settings, lambda client: parked_in_redis(client, name, key))
    return await site.read(lambda reader: operator.parked(reader.cursor.connection, name, key))


async def want(site: Site, store: Store, name: str, events: Sequence[ParkedEvent], what: Choice, acting: str) -> int:
    """Ask the owner to retry or skip parked events; return how many are still parked and were asked for.

    Raises:
        RelayError: It cannot be asked. Nothing was changed.
        psycopg.Error: PostgreSQL refuses it.
    """
    if store == "redis":
        from relay.projection.in_redis.operator import want as want_in_redis

        return await _ask_redis(site.settings, lambda client: want_in_redis(client, name, events, what))
    numbers = [one.number for one in events]

    def work() -> int:
        with connect(operator_settings(site.settings)) as conn:
            return operator.want(conn, name, None, numbers, what, acting)

    return await site.run(work)


def has_redis(settings: "Settings") -> bool:
    """Report whether a Redis is set."""
    return settings.redis.url is not None or settings.redis.url_file is not None


def was_refused(event: ParkedEvent) -> bool:
    """Report whether a parked event was refused itself; the others wait behind one of their key."""
    return event.reason != BEHIND


async def _in_postgres(site: Site) -> Standing:
    def look(reader: Reader) -> Standing:
        conn = reader.cursor.connection
        try:
            with conn.transaction():
                return Standing("postgres", operator.statuses(conn), None)
        except NoProjection as none:
            return Standing("postgres", (), str(none))
        except psycopg.errors.InsufficientPrivilege:
            note = "this login may not read the schema of the projections: GRANT USAGE and SELECT to see them"
            return Standing("postgres", (), note)

    return await site.read(look)


async def _ask_redis(settings: "Settings", work: "Callable[[Client], Awaitable[T]]") -> T:
    """Do something with the Redis of the settings.

    Raises:
        RelayError: It cannot be used.
    """
    try:
        from relay.projection.in_redis.client import RedisFault
        from relay.projection.in_redis.service import open_client
    except ModuleNotFoundError:
        raise ConfigError(["[redis]: needs outbox-relay[redis]"]) from None
    try:
        async with open_client(settings) as client:
            return await work(client)
    except RedisFault as error:
        raise RelayError(str(error)) from None
