"""``relay status``: the state of the outbox, from the database and from NATS."""

import asyncio
import json
import os
import sys
import time
from collections import deque
from contextlib import ExitStack

import click

from relay.cli.nats_watch import NatsWatch
from relay.cli.options import table_or_json, with_settings
from relay.cli.status_view import for_people, for_programs
from relay.cli.table import message
from relay.cli.watch import looks
from relay.config.settings import Settings
from relay.operate.access import reading
from relay.operate.nats_status import NatsView, ask_nats
from relay.operate.pace import pace
from relay.operate.status import Status, read_status
from relay.terminal import Redraw
from relay.text import json_line

# Seconds over which the pace is measured.
_PACE_S = 10.0
# Seconds that NATS has to answer before the first picture.
_FIRST_S = 1.0


@click.command()
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.2, 3600),
    metavar="SECONDS",
    default=2.0,
    show_default=True,
    help="How often with --watch.",
)
@click.option("--no-nats", is_flag=True, help="Ask the database alone.")
@table_or_json
def status(settings: Settings, watch: bool, every_s: float, no_nats: bool, output: str) -> None:
    """Show the state of the outbox: who relays, how far, what waits and why, and how far the read models are.

    Cheap on a table of any size: it looks above the watermark. Counts are exact up to 100,000. Lag is the age of the
    oldest pending event.

    \b
    relay status
    relay status --watch
    relay status --output json | jq .backlog.events
    """
    if watch:
        _watch(settings, every_s, no_nats, output)
        return
    with reading(settings) as reader:
        found = read_status(reader)
    nats = None if no_nats else asyncio.run(ask_nats(settings, found.streams))
    if output == "json":
        click.echo(json_line(json.dumps(for_programs(found, nats), ensure_ascii=False)))
        return
    for line in for_people(found, nats):
        click.echo(line)
    _advise(found)


def _advise(found: Status) -> None:
    if found.backlog.events and not found.owned:
        message("no relay owns the outbox now: start one with `relay run`")
    elif found.oldest is not None and (found.waiting or found.oldest.last_error):
        message(f"why an event waits, and what happens next: `relay explain {found.oldest.seq}`")
    if found.dead.events:
        message("see the dead letters with `relay dead list`, by topic and reason with `relay dead summary`")


def _watch(settings: Settings, every_s: float, no_nats: bool, output: str) -> None:
    live = output == "table" and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    seen: deque[Status] = deque(maxlen=max(2, round(_PACE_S / every_s) + 1))
    with ExitStack() as stack:
        picture = stack.enter_context(Redraw(sys.stdout)) if live else None
        watch = None if no_nats else NatsWatch(settings, every_s)

        def lost(text: str) -> None:
            seen.clear()
            message(text)
            if picture is not None:
                picture.forget()

        for found in looks(settings, lambda reader: read_status(reader, seen[-1] if seen else None), lost):
            seen.append(found)
            nats = None if watch is None else _nats(watch, found, stack)
            if output == "json":
                click.echo(json_line(json.dumps(for_programs(found, nats, pace(seen)), ensure_ascii=False)))
            else:
                lines = for_people(found, nats, pace(seen))
                if picture is not None:
                    lines = [*lines, "", click.style(f"every {every_s:g} s, until Ctrl-C", dim=True)]
                    picture.draw([click.unstyle(line) for line in lines] if os.environ.get("NO_COLOR") else lines)
                else:
                    click.echo("\n".join([*lines, ""]))
            time.sleep(every_s)


def _nats(watch: NatsWatch, found: Status, stack: ExitStack) -> NatsView:
    watch.ask_for(found.streams)
    if not watch.begun:
        stack.enter_context(watch)
        watch.first(_FIRST_S)
    return watch.view or NatsView(unreachable="no answer yet")
