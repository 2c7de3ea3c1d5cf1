"""``relay tail``: follow what becomes of events."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import click

from relay.cli.listing import for_programs
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import fill, message
from relay.cli.watch import looks
from relay.config.settings import Settings
from relay.operate.events import ListedEvent
from relay.operate.filters import Filters
from relay.operate.follow import Follower
from relay.text import age, elapsed, json_line, printable

_PAUSE_S = 0.5


@click.command()
@with_settings("--dsn-file", "--table")
@click.option("--topic", metavar="PATTERN", help="NATS pattern: * is one token, a last > the rest.")
@click.option("--key", help="Only events of this key.")
@click.option(
    "--lines", "-n", metavar="N", type=click.IntRange(0, 10_000), default=10, show_default=True,
    help="Begin with the last N that were delivered before.",
)  # fmt: skip
@table_or_json
def tail(settings: Settings, topic: str | None, key: str | None, lines: int, output: str) -> None:
    """Follow deliveries, a line for each event when it is delivered or becomes a dead letter.

    Reads the outbox twice a second, not the stream, until Ctrl-C. It waits for PostgreSQL while that restarts.

    \b
    relay tail
    relay tail --topic 'orders.>' -n 0
    relay tail --key order-42 --output json | jq -r .stream_seq
    """
    follower = Follower(Filters(topic=topic, key=key), lines, message)
    lay_out = _Lines()
    for events, more in looks(settings, follower.look):
        for event in events:
            if output == "json":
                click.echo(json_line(json.dumps(for_programs(event), ensure_ascii=False)))
            else:
                click.echo(lay_out.line(event))
        if not more:
            time.sleep(_PAUSE_S)


@dataclass
class _Lines:
    """Lays out lines one by one: each column is as wide as its widest cell so far."""

    widths: list[int] = field(default_factory=lambda: [12, 8, 16, 8, 7])

    def line(self, event: ListedEvent) -> str:
        """Lay out one event."""
        at = datetime.fromtimestamp(event.settled_at).astimezone()
        took = age(elapsed(event.created_at, event.settled_at))
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
