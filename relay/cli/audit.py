"""``relay audit``: what operators have changed."""

import json
import time

import click

from relay.cli.options import table_or_json, with_settings
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.operate.access import reading
from relay.operate.changes import AuditLine, audit_lines
from relay.operate.previews import RECORD
from relay.text import iso, json_line, moment, of_planned

_COLUMNS = (
    Column("AUDIT", right=True),
    Column("BEGAN"),
    Column("WHO", name=True),
    Column("ACTION"),
    Column("EVENTS", right=True),
    Column("STATE"),
    Column("FILTER", rest=True),
)


@click.command()
@with_settings("--dsn-file", "--table")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most N lines."
)
@table_or_json
def audit(settings: Settings, limit: int, output: str) -> None:
    """List what was changed by commands: who, when, what, which events and how many, the newest first.

    \b
    relay audit
    relay audit --output json | jq 'select(.action == "replay")'
    """
    with reading(settings) as reader:
        lines = audit_lines(reader, limit)
    if output == "json":
        for line in lines:
            click.echo(json_line(json.dumps(_for_programs(line), ensure_ascii=False)))
    elif lines:
        now = time.time()
        for shown in table(_COLUMNS, [_cells(line, now) for line in lines]):
            click.echo(shown)
    else:
        message("nothing was changed by a command yet")


def _cells(line: AuditLine, now: float) -> tuple[str, ...]:
    state = "done" if line.ended_at is not None else "not finished"
    filters = " ".join(f"{name}={_value(value)}" for name, value in json.loads(line.filter).items() if name != RECORD)
    return (
        str(line.number),
        moment(line.began_at, now),
        f"{line.who} as {line.role}",
        line.action,
        of_planned(line.events, line.planned),
        state,
        filters or "all",
    )


def _value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _for_programs(line: AuditLine) -> dict[str, object]:
    return {
        "audit": line.number,
        "began_at": iso(line.began_at),
        "ended_at": iso(line.ended_at),
        "who": line.who,
        "role": line.role,
        "action": line.action,
        "filter": json.loads(line.filter),
        "planned": line.planned,
        "events": line.events,
        "position": line.position,
    }
