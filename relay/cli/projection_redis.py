"""``relay projection redis``: what an operator sees of models in Redis, and asks of their owners."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from relay.cli.consent import Consent, consenting
from relay.cli.options import with_settings
from relay.cli.projection_parked import agreed, numbers_option, tell
from relay.config.settings import Settings
from relay.errors import ConfigError, RelayError
from relay.text import json_line

if TYPE_CHECKING:
    from relay.projection.in_redis.client import Client

T = TypeVar("T")

_name = click.argument("name")
_partition = click.option(
    "--partition", type=int, help="Of the events, if several partitions have parked one of a number."
)


@click.group("redis", short_help="Look at models in Redis, and repair them.")
def redis_group() -> None:
    """Look at projections whose model is in the Redis of [redis] url, and decide about what they have parked.

    \b
    relay projection redis list
    relay projection redis retry device_stats --yes
    """


@redis_group.command("list")
@with_settings()
def list_projections(settings: Settings) -> None:
    """List every partition, a line of JSON each.

    \b
    relay projection redis list
    """
    from relay.projection.in_redis import operator

    for one in _ask(settings, operator.statuses):
        click.echo(json_line(json.dumps(one._asdict())))


@redis_group.command()
@with_settings()
@_name
def parked(settings: Settings, name: str) -> None:
    """List the events that were refused, and those that wait behind them, a line of JSON each.

    \b
    relay projection redis parked device_stats
    """
    from relay.projection.in_redis import operator

    for one in _ask(settings, lambda client: operator.parked(client, name)):
        click.echo(json_line(json.dumps(one._asdict())))


@redis_group.command()
@with_settings()
@_name
@click.option("--key", help="Only the events of this key.")
@numbers_option(required=False)
@_partition
@consenting
def retry(
    settings: Settings,
    name: str,
    key: str | None,
    numbers: tuple[int, ...],
    partition: int | None,
    consent: Consent,
) -> None:
    """Try parked events again, each key in its order; the projection's owner does it within about a second.

    \b
    relay projection redis retry device_stats --key device-7 --yes
    """
    _want(settings, name, "retry", consent, key=key, numbers=numbers, partition=partition)


@redis_group.command()
@with_settings()
@_name
@numbers_option(required=True)
@_partition
@consenting
def skip(settings: Settings, name: str, numbers: tuple[int, ...], partition: int | None, consent: Consent) -> None:
    """Give parked events up: they are never applied, and their keys go on without them.

    \b
    relay projection redis skip device_stats --number 12 --number 14 --yes
    """
    _want(settings, name, "skip", consent, numbers=numbers, partition=partition)


def _want(
    settings: Settings,
    name: str,
    what: str,
    consent: Consent,
    *,
    key: str | None = None,
    numbers: Sequence[int] = (),
    partition: int | None = None,
) -> None:
    from relay.projection.in_redis import operator
    from relay.projection.operator import following

    chosen = _ask(
        settings,
        lambda client: operator.matching(client, name, key=key, numbers=numbers or None, partition=partition),
    )
    if what == "retry" and numbers:
        _ask(settings, lambda client: operator.check_retry(client, name, chosen))
    behind = following(chosen, _ask(settings, lambda client: operator.parked(client, name)))
    if agreed(what, (len(chosen), behind), key, numbers, consent):
        count = _ask(settings, lambda client: operator.want(client, name, chosen, what))
        tell(what, name, count, behind, "projection redis")


@redis_group.command()
@with_settings()
@_name
@consenting
def pause(settings: Settings, name: str, consent: Consent) -> None:
    """Keep a projection from going on, whoever runs it. It loses nothing.

    \b
    relay projection redis pause device_stats --yes
    """
    from relay.projection.in_redis import operator

    _ask(settings, lambda client: operator.statuses(client, name))
    if consent.given(f"pause {name}"):
        _ask(settings, lambda client: operator.pause(client, name))
        click.echo(f"{name} is paused")


@redis_group.command()
@with_settings()
@_name
@click.option("--accept-gap", is_flag=True, help="Go on behind the gap; what lay in it is missing from the model.")
@consenting
def resume(settings: Settings, name: str, accept_gap: bool, consent: Consent) -> None:
    """Let a projection go on that was paused, or has stopped. What made it stop is checked again.

    \b
    relay projection redis resume device_stats --yes
    """
    from relay.projection.in_redis import operator

    if consent.given(f"resume {name}{' behind its gap' if accept_gap else ''}"):
        _ask(settings, lambda client: operator.resume(client, name, accept_gap=accept_gap))
        click.echo(f"{name} goes on")


def _ask(settings: Settings, work: "Callable[[Client], Awaitable[T]]") -> T:
    """Do something with the Redis of the settings.

    Raises:
        RelayError: It cannot be used.
    """
    try:
        from relay.projection.in_redis.client import RedisFault
        from relay.projection.in_redis.service import open_client
    except ModuleNotFoundError:
        raise ConfigError(["[redis]: needs outbox-relay[redis]"]) from None

    async def connected() -> T:
        async with open_client(settings) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    except RedisFault as error:
        raise RelayError(str(error)) from None
