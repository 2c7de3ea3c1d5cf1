"""``relay list``: which events are in a state."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import click

from relay.cli.common import Reader, reading, with_settings
from relay.cli.text import Column, age, iso, json_line, message, moment, table
from relay.settings import Settings

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Listed(NamedTuple):
    """One event as the queries give it, in their order; times in Unix seconds."""

    seq: int
    id: str
    topic: str
    key: str | None
    state: str
    created_at: float
    delivered_at: float | None
    stream: str | None
    stream_seq: int | None
    attempts: int
    retry_at: float | None
    dead_at: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; `since` in Unix seconds, `scan` in seqs."""

    state: str
    topic: str | None
    key: str | None
    since: float | None
    limit: int
    scan: int


def since_moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Give Unix seconds for a span back from now, or for a moment."""
    if value is None:
        return None
    span = _SPAN.fullmatch(value.strip())
    if span:
        return time.time() - float(span[1]) * _SECONDS[span[2]]
    try:
        # Without a zone it is local time, as the tables show it.
        return datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{value!r} is neither a span such as 90s, 15m, 2h, 7d nor a moment such as 2030-01-31T12:00"
        ) from None


def topic_regex(pattern: str) -> str:
    """Make PostgreSQL's regular expression of a topic pattern.

    NATS rules: ``*`` is one token, a last ``>`` is everything below. Beyond them ``*`` and ``?`` may stand
    inside a token, for any characters of it and for one.
    """
    *tokens, last = pattern.split(".")
    parts = [_part(token) for token in tokens]
    parts.append(".+" if last == ">" else _part(last))
    return "^" + r"\.".join(parts) + "$"


def _part(part: str) -> str:
    if part == "*":
        return "[^.]+"
    return "".join({"*": "[^.]*", "?": "[^.]"}.get(char, _literal(char)) for char in part)


def _literal(char: str) -> str:
    return char if char.isalnum() or char == "_" else f"\\{char}" if char.isascii() else char


@click.command("list")
@with_settings("--dsn-file", "--table")
@click.option(
    "--state",
    type=click.Choice(["pending", "retry", "dead", "delivered"]),
    default="pending",
    show_default=True,
    help="pending: not yet sent; retry: refused, tried again; dead: given up; delivered: in the stream.",
)
@click.option(
    "--topic",
    metavar="PATTERN",
    help="NATS pattern: * is one token, a last > the rest; * and ? also work inside a token.",
)
@click.option("--key", help="Only events of this key.")
@click.option(
    "--since",
    callback=since_moment,
    metavar="SPAN|MOMENT",
    help="90s, 15m, 2h, 7d, or 2030-01-31T12:00: delivered, dead or (pending, retry) created since then.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@click.option(
    "--scan",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="How many seqs are searched: of pending from the watermark on, of delivered from the newest back.",
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_events(
    settings: Settings,
    state: str,
    topic: str | None,
    key: str | None,
    since: float | None,
    limit: int,
    scan: int,
    output: str,
) -> None:
    """List the events in a state: pending and retry the next first, dead and delivered the newest first.

    JSON is one object a line, without payload and headers; `relay show ID` has them.

    \b
    relay list
    relay list --state dead --since 2h --topic 'orders.>'
    relay list --state delivered --key order-42 --output json | jq -r .id
    """
    wanted = Wanted(state, None if topic is None else topic_regex(topic), key, since, limit, scan)
    with reading(settings) as reader:
        events, all_searched = find(reader, wanted)
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
        message(f"no {state} events{' like that' if topic or key or since else ''}")


def find(reader: Reader, wanted: Wanted) -> tuple[list[Listed], bool]:
    """Ask for the events; False where not all that could match were searched."""
    filters = (wanted.topic, wanted.key, wanted.since)
    if wanted.state in ("retry", "dead"):
        return [Listed._make(row) for row in reader.rows(f"cli_list_{wanted.state}", (*filters, wanted.limit))], True
    watermark, newest = reader.row("cli_range")
    if wanted.state == "pending":
        lower, upper = watermark, min(newest, watermark + wanted.scan)
        all_searched = upper == newest
    else:
        lower, upper = max(0, newest - wanted.scan), newest
        all_searched = lower == 0
    rows = reader.rows(f"cli_list_{wanted.state}", (lower, upper, *filters, wanted.limit))
    return [Listed._make(row) for row in rows], all_searched


def for_programs(event: Listed) -> dict[str, Any]:
    """Make the JSON object of an event; times in RFC 3339, what is not set is null."""
    known = event._asdict()
    for name in ("created_at", "delivered_at", "retry_at", "dead_at"):
        known[name] = iso(known[name])
    return known


_FIRST = (Column("SEQ", right=True), Column("ID"), Column("TOPIC"), Column("KEY"))
_ERROR = Column("LAST ERROR", rest=True)


def _first(event: Listed) -> tuple[str, ...]:
    return str(event.seq), event.id, event.topic, event.key if event.key is not None else "-"


def _pending(event: Listed, now: float) -> tuple[str, ...]:
    return *_first(event), moment(event.created_at, now), event.last_error or ""


def _retry(event: Listed, now: float) -> tuple[str, ...]:
    return *_first(event), str(event.attempts), moment(event.retry_at, now), event.last_error or ""


def _dead(event: Listed, now: float) -> tuple[str, ...]:
    return *_first(event), str(event.attempts), moment(event.dead_at, now), event.last_error or ""


def _delivered(event: Listed, now: float) -> tuple[str, ...]:
    took = age(max(0.0, (event.delivered_at or 0) - event.created_at))
    return (
        *_first(event),
        moment(event.delivered_at, now),
        took,
        event.stream or "",
        str(event.stream_seq or ""),
    )


_LAYOUTS: dict[str, tuple[tuple[Column, ...], Callable[[Listed, float], tuple[str, ...]]]] = {
    "pending": ((*_FIRST, Column("CREATED"), _ERROR), _pending),
    "retry": ((*_FIRST, Column("TRIES", right=True), Column("NEXT TRY"), _ERROR), _retry),
    "dead": ((*_FIRST, Column("TRIES", right=True), Column("DEAD"), _ERROR), _dead),
    "delivered": (
        (
            *_FIRST,
            Column("DELIVERED"),
            Column("TOOK", right=True),
            Column("STREAM"),
            Column("STREAM SEQ", right=True),
        ),
        _delivered,
    ),
}
