"""``relay projection``: read models kept from the stream."""

import asyncio

import click

from relay.cli.consent import Consent, consenting
from relay.cli.options import with_settings
from relay.cli.projection_look import audit, list_projections, parked, status, verify, wait
from relay.cli.projection_parked import agreed, numbers_option, tell
from relay.cli.projection_redis import redis_group
from relay.cli.table import message
from relay.config.flags import PROJECTION_FLAGS
from relay.config.settings import Settings
from relay.errors import Exit
from relay.operate.access import check_addresses, connect
from relay.operate.changes import who

_sources = click.argument("projections", nargs=-1, required=True)
_name = click.argument("name")


@click.group()
def projection() -> None:
    """Keep read models from the stream: each event exactly once, each key in its order.

    A projection is a file of TOML and SQL, or a Python class. [postgres] says where the read models are.

    \b
    relay projection check projections/
    relay projection run projections/
    relay projection status order_list
    relay projection parked order_list
    """


for _command in (audit, list_projections, parked, status, verify, wait):
    projection.add_command(_command)


@projection.command()
@with_settings(
    "--dsn-file", "--server", "--creds-file", "--http-port", "--log-format", "--log-level", stand_for=PROJECTION_FLAGS
)
@_sources
def run(settings: Settings, projections: tuple[str, ...]) -> None:
    """Keep projections up to date until told to stop: of files, of folders, and of Python classes.

    Several processes may run the same ones: each partition is applied by one of them. Metrics and probes are served
    as [projection_http] says; beside another one on this machine take another port.

    \b
    relay projection run projections/
    relay projection run projections/ my.module:Alarms --http-port 0
    """
    from relay.observe.logs import configure
    from relay.projection.serve import serve
    from relay.projection.sources import read_sources

    check_addresses(settings)
    definitions = read_sources(projections)
    configure(settings.log.format, settings.log.level)
    asyncio.run(serve(definitions, settings))


@projection.command()
@with_settings("--dsn-file", "--server", "--creds-file")
@_sources
def check(settings: Settings, projections: tuple[str, ...]) -> None:
    """Check projections against PostgreSQL and NATS, and change nothing.

    The tables are made and each statement is planned, in a transaction that is rolled back. The newest message that a
    projection handles must carry the headers of the relay. Exit code 8 if there is a fault.

    \b
    relay projection check projections/
    """
    from relay.projection.check import check as find_faults
    from relay.projection.sources import read_sources

    check_addresses(settings)
    definitions = read_sources(projections)
    found = asyncio.run(find_faults(definitions, settings))
    for warning in found.warnings:
        message(f"warning: {warning}")
    for fault in found.faults:
        click.echo(fault)
    if found.faults:
        raise SystemExit(int(Exit.UNFIT))
    message(f"{len(definitions)} checked, no fault")


@projection.command()
@with_settings("--dsn-file")
@_name
@click.option("--key", help="Only the events of this key.")
@numbers_option(required=False)
@consenting
def retry(settings: Settings, name: str, key: str | None, numbers: tuple[int, ...], consent: Consent) -> None:
    """Try parked events again, each key in its order; the projection's owner does it within about a second.

    \b
    relay projection retry order_list --key customer-7 --yes
    """
    _want(settings, name, key, list(numbers) or None, "retry", consent)


@projection.command()
@with_settings("--dsn-file")
@_name
@numbers_option(required=True)
@consenting
def skip(settings: Settings, name: str, numbers: tuple[int, ...], consent: Consent) -> None:
    """Give parked events up: they are never applied, and their keys go on without them.

    \b
    relay projection skip order_list --number 12 --number 14 --yes
    """
    _want(settings, name, None, list(numbers), "skip", consent)


def _want(
    settings: Settings, name: str, key: str | None, numbers: list[int] | None, what: str, consent: Consent
) -> None:
    from relay.projection.operator import check_retry, count_wanted, want

    with connect(settings) as conn:
        counts = count_wanted(conn, name, key, numbers)
        if what == "retry" and numbers:
            check_retry(conn, name, numbers)
        if agreed(what, counts, key, numbers or (), consent):
            tell(what, name, want(conn, name, key, numbers, what, who()), counts[1], "projection")


@projection.command()
@with_settings("--dsn-file")
@_name
@consenting
def pause(settings: Settings, name: str, consent: Consent) -> None:
    """Keep a projection from going on, whoever runs it. It loses nothing.

    \b
    relay projection pause order_list --yes
    """
    from relay.projection import operator

    with connect(settings) as conn:
        operator.statuses(conn, name)
        if consent.given(f"pause {name}"):
            operator.pause(conn, name, who())
            click.echo(f"{name} is paused")


@projection.command()
@with_settings("--dsn-file")
@_name
@click.option("--accept-gap", is_flag=True, help="Go on behind the gap; what lay in it is missing from the model.")
@consenting
def resume(settings: Settings, name: str, accept_gap: bool, consent: Consent) -> None:
    """Let a projection go on that was paused, or has stopped. What made it stop is checked again.

    \b
    relay projection resume order_list --yes
    """
    from relay.projection import operator

    with connect(settings) as conn:
        gaps = [one.gap_last for one in operator.statuses(conn, name) if one.gap_last is not None]
        how = f" behind sequence {max(gaps)} of the stream" if accept_gap and gaps else ""
        if consent.given(f"resume {name}{how}"):
            operator.resume(conn, name, who(), accept_gap=accept_gap)
            click.echo(f"{name} goes on")


@projection.command()
@with_settings("--dsn-file")
@_name
@consenting
def forget(settings: Settings, name: str, consent: Consent) -> None:
    """Delete the position of a projection, and what it has parked. Its own tables stay; drop them with its schema.

    Stop its runners first. The next `relay projection run` makes the tables and reads the stream from its first
    message.

    \b
    psql -c 'DROP SCHEMA order_list CASCADE'
    relay projection forget order_list --yes
    """
    from relay.projection import operator

    with connect(settings) as conn:
        parked_events = sum(one.parked for one in operator.statuses(conn, name))
        if consent.given(f"forget the position of {name}, and {parked_events:,} parked events"):
            operator.forget(conn, name, who())
            click.echo(f"{name} is forgotten")


projection.add_command(redis_group)
