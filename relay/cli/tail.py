"""``relay tail``: follow what becomes of events."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import click

from relay.cli.filter_options import Filters
from relay.cli.listing import Listed, for_programs
from relay.cli.looking import looks
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import fill, message
from relay.config.settings import Settings
from relay.operate.access import Reader
from relay.rules.following import Following
from relay.text import age, json_line, printable

_PAUSE_S = 0.5
# How many seqs one look passes over, and how many open events it looks at.
_SPAN = 5_000
_TURN = 20_000
# How many events may be pending at the start, and be followed; how many that wait for a retry are looked for.
_OPEN = 200_000
_RETRYING = 5_000
_LAST_SEQS = 50_000
# So many seqs below the newest one may still be committed when we begin.
_LATE_SEQS = 5_000


@click.command(short_help="Follow deliveries, a line for each event.")
@with_settings("--dsn-file", "--table")
@click.option("--topic", metavar="PATTERN", help="NATS pattern: * is one token, a last > the rest.")
@click.option("--key", help="Only events of this key.")
@click.option(
    "--lines", "-n", metavar="N", type=click.IntRange(0, 10_000), default=10, show_default=True,
    help="Begin with so many that were delivered before.",
)  # fmt: skip
@table_or_json
def tail(settings: Settings, topic: str | None, key: str | None, lines: int, output: str) -> None:
    """Follow deliveries, a line for each event when it is delivered or becomes a dead letter.

    Reads the outbox twice a second, not the stream, until Ctrl-C. A restart of PostgreSQL is waited for.

    \b
    relay tail
    relay tail --topic 'orders.>' -n 0
    relay tail --key order-42 --output json | jq -r .stream_seq
    """
    follower = _Follower(Filters(topic=topic, key=key), lines)
    lay_out = _Lines()
    for events, more in looks(settings, follower.look):
        for event in events:
            if output == "json":
                click.echo(json_line(json.dumps(for_programs(event), ensure_ascii=False)))
            else:
                click.echo(lay_out.line(event))
        if not more:
            time.sleep(_PAUSE_S)


class _Follower:
    """Finds what has been settled since the last look."""

    def __init__(self, filters: Filters, lines: int) -> None:
        self._filters = filters
        self._by = filters.params()[:2]
        self._lines = lines
        self._following: Following | None = None

    def look(self, reader: Reader) -> tuple[list[Listed], bool]:
        """Give what was settled, in the order of that; True where there is more to read at once."""
        now = time.monotonic()
        if self._following is None:
            return self._begin(reader, now), False
        following = self._following
        (newest,) = reader.row("newest")
        # Given back by a person, or lost by a stream: these may lie anywhere.
        given_back = reader.rows("cli_tail_pending", (0, 0, *self._by, _RETRYING))
        following.open(seq for (seq,) in given_back if seq <= following.cursor)
        turn = following.turn(_TURN, now)
        looked_at = [Listed._make(row) for row in reader.rows("cli_tail_among", (turn, *self._by))]
        settled = [event for event in looked_at if _settled(event)]
        following.open(event.seq for event in looked_at if not _settled(event))
        up_to = min(newest, following.cursor + _SPAN)
        if up_to > following.cursor:
            settled += self._advance(reader, following, up_to, now)
        following.settled([event.seq for event in settled])
        settled.sort(key=_when)
        return settled, up_to < newest

    def _begin(self, reader: Reader, now: float) -> list[Listed]:
        watermark, newest = reader.row("cli_range")
        self._following = Following(newest)
        pending = reader.rows("cli_tail_pending", (watermark, newest, *self._by, _OPEN))
        if len(pending) == _OPEN:
            message(f"only {_OPEN:,} of the pending events are followed")
        above = max(watermark, newest - _LATE_SEQS)
        missing = reader.rows("cli_tail_missing", (above, newest))
        self._following.passed(newest, (seq for (seq,) in pending), (seq for (seq,) in missing), now)
        before = (max(0, newest - _LAST_SEQS), newest, self._lines)
        rows = reader.rows("cli_list_delivered", (*self._filters.params(), *before)) if self._lines else []
        return sorted(map(Listed._make, rows), key=_when)

    def _advance(self, reader: Reader, following: Following, up_to: int, now: float) -> list[Listed]:
        bounds = (following.cursor, up_to)
        missing = [seq for (seq,) in reader.rows("cli_tail_missing", bounds)]
        if len(missing) == up_to - following.cursor:
            # Nothing there at all: as where somebody has set the sequence on.
            (first,) = reader.row("next_seq", (up_to,))
            following.passed(first - 1, (), missing, now)
            return []
        rows = reader.rows("cli_list_any", (*self._filters.params(), *bounds, up_to - following.cursor))
        events = [Listed._make(row) for row in rows]
        following.passed(up_to, (event.seq for event in events if not _settled(event)), missing, now)
        return [event for event in events if _settled(event)]


def _settled(event: Listed) -> bool:
    return event.state not in ("pending", "retry")


def _when(event: Listed) -> tuple[float, int]:
    return event.delivered_at or event.dead_at or 0.0, event.seq


@dataclass
class _Lines:
    """Lays out lines one by one: each column is as wide as its widest cell so far."""

    widths: list[int] = field(default_factory=lambda: [12, 8, 16, 8, 7])

    def line(self, event: Listed) -> str:
        """Lay out one event."""
        at = datetime.fromtimestamp(_when(event)[0]).astimezone()
        took = age(max(0.0, _when(event)[0] - event.created_at))
        cells = (f"{at:%H:%M:%S}.{at.microsecond // 1000:03}", str(event.seq), event.topic, event.key or "-", took)
        text = "  ".join(self._filled(cells))
        if event.state == "delivered":
            return f"{text}  {printable(event.stream or '')} {event.stream_seq or ''}".rstrip()
        return f"{text}  {click.style(event.state, fg='red')}: {printable(event.last_error or '')}"

    def _filled(self, cells: Sequence[str]) -> list[str]:
        filled = []
        for at, cell in enumerate(cells):
            text, self.widths[at] = fill(cell, self.widths[at], right=at in (1, 4))
            filled.append(text)
        return filled
