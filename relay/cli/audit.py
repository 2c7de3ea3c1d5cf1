"""``relay audit``: what people have changed."""

import json
import time

import click

from relay.cli.options import table_or_json, with_settings
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.operate.access import Row, reading
from relay.text import iso, json_line, moment

_COLUMNS = (
    Column("AUDIT", right=True),
    Column("BEGAN"),
    Column("WHO"),
    Column("ACTION"),
    Column("EVENTS", right=True),
    Column("STATE"),
    Column("FILTER", rest=True),
)


@click.command(short_help="What commands have changed: who, when, which events.")
@with_settings("--dsn-file", "--table")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many."
)
@table_or_json
def audit(settings: Settings, limit: int, output: str) -> None:
    """List what was changed by commands: who, when, what, which events and how many, the newest first.

    \b
    relay audit
    relay audit --output json | jq 'select(.action == "replay")'
    """
    with reading(settings) as reader:
        rows = reader.rows("cli_audit", (limit,))
    if output == "json":
        for row in rows:
            click.echo(json_line(json.dumps(_for_programs(row), ensure_ascii=False)))
        return
    if rows:
        now = time.time()
        for line in table(_COLUMNS, [_cells(row, now) for row in rows]):
            click.echo(line)
    else:
        message("nothing was changed by a command yet")


def _cells(row: Row, now: float) -> tuple[str, ...]:
    number, began_at, ended_at, who, role, action, told, planned, events, _ = row
    state = "done" if ended_at is not None else "not finished"
    filters = " ".join(f"{name}={_value(value)}" for name, value in json.loads(told).items())
    return (
        str(number),
        moment(began_at, now),
        f"{who} as {role}",
        action,
        f"{events:,} of {planned:,}",
        state,
        filters or "all",
    )


def _value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _for_programs(row: Row) -> dict[str, object]:
    number, began_at, ended_at, who, role, action, told, planned, events, position = row
    return {
        "audit": number,
        "began_at": iso(began_at),
        "ended_at": iso(ended_at),
        "who": who,
        "role": role,
        "action": action,
        "filter": json.loads(told),
        "planned": planned,
        "events": events,
        "position": position,
    }
