"""What ``relay projection`` shows: partitions, parked events, what operators did; and whether an event is there."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import SecretStr

from relay.cli.options import table_or_json, with_settings
from relay.cli.projection_view import audit_table, parked_table, partition_table, refresh_table
from relay.cli.table import message
from relay.config.settings import Settings
from relay.errors import ConfigError, Exit, RelayError
from relay.operate.access import checked, connect
from relay.terminal import Redraw
from relay.text import json_line

if TYPE_CHECKING:
    from relay.projection.definition import Definition
    from relay.projection.operator import PartitionStatus, RefreshStatus
    from relay.projection.verify import Settled, Verdict

_name = click.argument("name")


@click.command("list")
@with_settings("--dsn-file")
@table_or_json
def list_projections(settings: Settings, output: str) -> None:
    """List all projections of the database.

    \b
    relay projection list
    """
    from relay.projection.operator import statuses

    with connect(settings) as conn:
        found = statuses(conn)
    for line in [json_line(json.dumps(one._asdict())) for one in found] if output == "json" else partition_table(found):
        click.echo(line)


@click.command()
@with_settings("--dsn-file")
@_name
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="How often, in seconds.",
)
@table_or_json
def status(settings: Settings, name: str, watch: bool, every_s: float, output: str) -> None:
    """Show how far a projection is, what it waits for, and how old its views are. Exit code 7 if it has stopped.

    \b
    relay projection status order_list
    relay projection status order_list --watch
    """
    from relay.projection.operator import refreshes, statuses

    if watch:
        _watch(settings, name, every_s, output)
        return
    with connect(settings) as conn:
        found, views = statuses(conn, name), refreshes(conn, name)
    for line in _lines(found, views, output):
        click.echo(line)
    if any(one.status == "stopped" for one in found):
        raise SystemExit(int(Exit.LOST))


def _lines(found: "Sequence[PartitionStatus]", views: "Sequence[RefreshStatus]", output: str) -> list[str]:
    """Return the partitions of a projection and its materialised views; in JSON each partition names all views."""
    if output == "json":
        refreshes = [one._asdict() for one in views]
        return [json_line(json.dumps({**one._asdict(), "refreshes": refreshes})) for one in found]
    return [*partition_table(found), *(["", *refresh_table(views)] if views else [])]


def _watch(settings: Settings, name: str, every_s: float, output: str) -> None:
    """Show a projection again and again; an outage ends it with the error of any other command."""
    from relay.projection.operator import refreshes, statuses

    live = output == "table" and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    with connect(settings) as conn, ExitStack() as stack:
        picture = stack.enter_context(Redraw(sys.stdout)) if live else None
        while True:
            lines = _lines(statuses(conn, name), refreshes(conn, name), output)
            if picture is None:
                click.echo("\n".join(lines))
            else:
                picture.draw([*lines, "", f"every {every_s:g} s, until Ctrl-C"])
            time.sleep(every_s)


@click.command()
@with_settings("--dsn-file")
@_name
@click.option("--key", help="Only the events of this key.")
@table_or_json
def parked(settings: Settings, name: str, key: str | None, output: str) -> None:
    """List the events that were refused, and those that wait behind them. At most 1,000, the earliest first.

    \b
    relay projection parked order_list
    """
    from relay.projection.operator import parked as read_parked

    with connect(settings) as conn:
        found = read_parked(conn, name, key)
    for line in [json_line(json.dumps(one._asdict())) for one in found] if output == "json" else parked_table(found):
        click.echo(line)


@click.command()
@with_settings("--dsn-file")
@click.argument("name", required=False)
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most N lines."
)
@table_or_json
def audit(settings: Settings, name: str | None, limit: int, output: str) -> None:
    """List what operators have done to projections: who, when, what; the newest first.

    \b
    relay projection audit order_list
    """
    from relay.projection.operator import audit_lines

    with connect(settings) as conn:
        found = audit_lines(conn, name, limit)
    for line in [json_line(json.dumps(one._asdict())) for one in found] if output == "json" else audit_table(found):
        click.echo(line)


@click.command()
@with_settings("--dsn-file")
@_name
@click.argument("token")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 3600),
    default=2.0,
    show_default=True,
    help="The longest to wait, in seconds; 0 looks once.",
)
def wait(settings: Settings, name: str, token: str, timeout_s: float) -> None:
    """Wait until a projection shows an event. Exit code 0 if it does, or if the event is not for it; 1 if not.

    It is not for it if everything up to it is settled, and it left no mark there: it is of a topic that the projection
    does not handle, or a dead letter, which `relay show` tells.

    TOKEN is <origin>.<seq> of the event, as `relay show` and outbox_client.reading.token return it. A seq alone will do
    while the outbox has one origin: it has several once it was restored to an earlier time.

    \b
    relay projection wait order_list 1f0c88aa.4711 --timeout 5
    """
    from relay.projection.waiting import Answer, read_token, wait_applied

    read = read_token(token)
    with connect(settings) as conn:
        answer, reason = wait_applied(conn, name, read, timeout_s)
    click.echo(f"{answer}: {reason}" if reason else str(answer))
    if answer in (Answer.PARKED, Answer.SKIPPED, Answer.TIMED_OUT):
        raise SystemExit(int(Exit.FAULT))


@click.command()
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.argument("projections", nargs=-1, required=True)
@click.option(
    "--outbox-dsn-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Holds the address of the outbox, if the read models are in another database.",
)
def verify(settings: Settings, projections: tuple[str, ...], outbox_dsn_file: Path | None) -> None:
    """Compare projections with the outbox, those in Redis too. Exit code 7 if a delivered event is missing.

    Each delivered event that is still in the outbox, and that the projection has read past, must be settled: applied,
    parked or skipped. Events that were sent without Outbox-Seq, or that lie in a gap that was accepted, are counted
    apart and are not missing; NATS is asked for the first only if an event has left no mark. A projection that cannot
    be compared is told, and the others are compared.

    \b
    relay projection verify projections/
    """
    from relay.config.derived_options import envelopes
    from relay.projection.sources import read_sources
    from relay.projection.verify import verify as compare

    lost, failed = False, None
    outbox_settings = settings
    if outbox_dsn_file is not None:
        place = settings.postgres.model_copy(
            update={"dsn": SecretStr(outbox_dsn_file.read_text("utf-8").strip()), "dsn_file": None}
        )
        outbox_settings = settings.model_copy(update={"postgres": place})
    with connect(outbox_settings) as outbox:
        tables, _ = checked(outbox, settings.postgres.table)
        for definition in read_sources(projections):
            try:
                with _settled(settings, definition) as settled:
                    found = compare(definition, settled, outbox, tables, envelopes(settings))
            except RelayError as error:
                message(f"{definition.name}: cannot be compared: {error}")
                failed = failed or error
                continue
            lost = _tell(definition.name, found, _unnumbered(settings, definition.stream, found)) or lost
    if lost:
        raise SystemExit(int(Exit.LOST))
    if failed is not None:
        raise SystemExit(int(failed.exit_code))


@contextmanager
def _settled(settings: Settings, definition: "Definition") -> "Iterator[Settled]":
    """Open the place in which a projection keeps what it has settled.

    Raises:
        RelayError: It cannot be used, or has no such projection.
    """
    if definition.store == "redis":
        try:
            from relay.projection.in_redis.settled import settled_in_redis
        except ModuleNotFoundError:
            raise ConfigError(["[redis]: needs outbox-relay[redis]"]) from None
        with settled_in_redis(settings, definition.name) as in_redis:
            yield in_redis
        return
    from relay.projection.verify import SettledInPostgres

    with connect(settings) as models:
        yield SettledInPostgres(models, definition.name)


def _unnumbered(settings: Settings, stream: str, found: "Verdict") -> set[int]:
    """Return the unsettled events that were sent without their seq; none if NATS cannot say so."""
    from relay.jetstream.errors import BrokerError
    from relay.projection.verify import find_unnumbered

    if not found.unsettled:
        return set()
    try:
        return asyncio.run(find_unnumbered(settings, stream, found.unsettled))
    except BrokerError as error:
        message(f"NATS cannot say which of the missing events were sent without Outbox-Seq: {error}")
        return set()


def _tell(name: str, found: "Verdict", unnumbered: set[int]) -> bool:
    """Print what was compared; return whether an event is missing."""
    missing = [one.seq for one in found.unsettled if one.seq not in unnumbered]
    if unnumbered:
        message(f"{name}: {len(unnumbered):,} events were sent without Outbox-Seq: not known whether they are settled")
    if found.in_gaps:
        message(f"{name}: {found.in_gaps:,} events lie in a gap that was accepted")
    for stream, seqs in found.elsewhere.items():
        click.echo(f"{name}: {len(seqs):,} events are in stream {stream}, which it does not read: seq {_some(seqs)}")
    if missing:
        click.echo(f"{name}: {len(missing):,} of {found.compared:,} events are missing: seq {_some(missing)}")
    if missing or found.elsewhere:
        return True
    message(f"{name}: {found.compared:,} delivered events compared, none is missing")
    return False


def _some(seqs: Sequence[int]) -> str:
    return ", ".join(map(str, seqs[:20])) + (" ..." if len(seqs) > 20 else "")
