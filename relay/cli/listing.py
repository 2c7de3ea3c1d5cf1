"""``relay list``: which events are in a state."""

import json
import time
from collections.abc import Callable
from typing import Any, cast

import click

from relay.cli.filter_options import filtered
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.operate.access import reading
from relay.operate.events import ListedEvent, ListState, find
from relay.operate.filters import Filters
from relay.text import age, elapsed, iso, json_line, moment


@click.command("list")
@with_settings("--dsn-file", "--table")
@click.option(
    "--state",
    type=click.Choice(["pending", "retry", "dead", "discarded", "delivered", "any"]),
    help="pending: not yet sent; retry: refused, tried again; dead: given up; discarded: a dead letter "
    "that an operator has discarded; delivered: in the stream.  [default: pending; any with --id or --seq]",
)
@filtered("Delivered, dead, or (pending, retry, any) created")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most N events."
)
@click.option(
    "--scan",
    metavar="N",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="Search at most N seqs: pending from the watermark on, delivered and any from the newest back.",
)
@table_or_json
def list_events(settings: Settings, state: str | None, filters: Filters, limit: int, scan: int, output: str) -> None:
    """List the events in a state: pending and retry the next first, all others the newest first.

    JSON is one object a line, without payload and headers; `relay show ID` has them.

    \b
    relay list
    relay list --state dead --since 2h --topic 'orders.>' --error 'too long'
    relay list --seq 4711..4720
    relay list --state delivered --key order-42 --output json | jq -r .id
    """
    if state is None:
        state = "any" if filters.ids or filters.first_seq is not None or filters.last_seq is not None else "pending"
    print_events(settings, cast(ListState, state), filters, limit, scan, output)


def print_events(settings: Settings, state: ListState, filters: Filters, limit: int, scan: int, output: str) -> None:
    """Print events in a state as a table or as JSON; see `relay.operate.events.find`."""
    with reading(settings) as reader:
        events, all_searched, _ = find(reader, state, filters, limit, scan)
    if output == "json":
        for event in events:
            click.echo(json_line(json.dumps(for_programs(event), ensure_ascii=False)))
    elif events:
        now = time.time()
        columns, cells = _LAYOUTS[state]
        for line in table(columns, [cells(event, now) for event in events]):
            click.echo(line)
    if len(events) == limit:
        message(f"the first {limit:,}; there may be more (--limit)")
    elif not all_searched:
        message(f"searched {scan:,} seqs only; there may be more (--scan)")
    elif not events:
        message(f"no {'matching ' if filters else ''}{_NAMES[state]}")


def for_programs(event: ListedEvent) -> dict[str, Any]:
    """Return the JSON object of an event: times in RFC 3339, null for what is not set."""
    known = event._asdict()
    for name in ("created_at", "delivered_at", "retry_at", "dead_at"):
        known[name] = iso(known[name])
    return known


_NAMES: dict[ListState, str] = {
    "pending": "pending events",
    "retry": "events in retry",
    "dead": "dead letters",
    "discarded": "discarded dead letters",
    "delivered": "delivered events",
    "any": "events",
}
_FIRST = (Column("SEQ", right=True), Column("ID", name=True), Column("TOPIC", name=True), Column("KEY", name=True))
_ERROR = Column("LAST ERROR", rest=True)


def _first(event: ListedEvent) -> tuple[str, ...]:
    return str(event.seq), event.id, event.topic, event.key if event.key is not None else "-"


def _pending(event: ListedEvent, now: float) -> tuple[str, ...]:
    return *_first(event), moment(event.created_at, now), event.last_error or ""


def _retry(event: ListedEvent, now: float) -> tuple[str, ...]:
    return *_first(event), str(event.attempts), moment(event.retry_at, now), event.last_error or ""


def _dead(event: ListedEvent, now: float) -> tuple[str, ...]:
    return *_first(event), str(event.attempts), moment(event.dead_at, now), event.last_error or ""


def _delivered(event: ListedEvent, now: float) -> tuple[str, ...]:
    took = age(elapsed(event.created_at, event.delivered_at or 0))
    return (
        *_first(event),
        moment(event.delivered_at, now),
        took,
        event.stream or "",
        str(event.stream_seq or ""),
    )


def _any(event: ListedEvent, now: float) -> tuple[str, ...]:
    return *_first(event), event.state, moment(event.created_at, now), event.last_error or ""


_LAYOUTS: dict[ListState, tuple[tuple[Column, ...], Callable[[ListedEvent, float], tuple[str, ...]]]] = {
    "pending": ((*_FIRST, Column("CREATED"), _ERROR), _pending),
    "retry": ((*_FIRST, Column("TRIES", right=True), Column("NEXT TRY"), _ERROR), _retry),
    "discarded": ((*_FIRST, Column("TRIES", right=True), Column("DEAD"), _ERROR), _dead),
    "dead": ((*_FIRST, Column("TRIES", right=True), Column("DEAD"), _ERROR), _dead),
    "any": ((*_FIRST, Column("STATE"), Column("CREATED"), _ERROR), _any),
    "delivered": (
        (
            *_FIRST,
            Column("DELIVERED"),
            Column("TOOK", right=True),
            Column("STREAM", name=True),
            Column("STREAM SEQ", right=True),
        ),
        _delivered,
    ),
}
