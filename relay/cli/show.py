"""``relay show``: everything about one event."""

import base64
import json
import re
import time

import click

from relay.cli.listing import for_programs
from relay.cli.options import table_or_json, with_settings
from relay.config.settings import Settings
from relay.errors import RelayError
from relay.operate.access import reading
from relay.operate.events import EventName, WholeEvent, event_name, find_one
from relay.operate.payload_text import is_json, pretty
from relay.rules.database.origins import Origins
from relay.text import iso, json_line, moment, printable, size

_HEX_BYTES = 256
# How much of a payload or headers is laid out; --raw and JSON have all.
_MOST_CHARS = 10_000


def seq_or_id(ctx: click.Context, param: click.Parameter, value: str) -> EventName:
    """Return a seq or an id; the other one is None."""
    try:
        return event_name(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@with_settings("--dsn-file", "--table")
@click.argument("identity", metavar="ID", callback=seq_or_id)
@click.option("--raw", is_flag=True, help="The payload alone, byte for byte as it is sent.")
@table_or_json
def show(settings: Settings, identity: EventName, raw: bool, output: str) -> None:
    """Show one event, by its seq or its id: every column, headers and payload too.

    \b
    relay show 4711
    relay show 4711 --raw > payload.json
    relay show 0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11 --output json | jq .payload
    """
    with reading(settings) as reader:
        event = find_one(reader, identity)
        origin = Origins(reader.row("operate/origin")[0]).of(event.listed.seq)
        payload_type = reader.tables.payload_type
    if raw:
        if event.unreadable:
            raise RelayError(f"the payload of event {event.listed.seq} cannot be read: {event.unreadable}")
        click.echo(event.payload, nl=False)
        return
    if output == "json":
        click.echo(json_line(_for_programs(event, origin)))
        return
    for line in _for_people(event, origin, payload_type, time.time()):
        click.echo(line)


def _for_people(whole: WholeEvent, origin: str, payload_type: str, now: float) -> list[str]:
    event, headers, payload = whole.listed, whole.headers, whole.payload
    values = {
        "seq": str(event.seq),
        "id": event.id,
        "token": f"{origin}.{event.seq}" if origin else str(event.seq),
        "state": event.state,
        "topic": event.topic,
        "key": event.key,
        "created_at": moment(event.created_at, now),
        "delivered_at": moment(event.delivered_at, now),
        "stream": event.stream,
        "stream_seq": None if event.stream_seq is None else str(event.stream_seq),
        "attempts": str(event.attempts),
        "retry_at": moment(event.retry_at, now),
        "dead_at": moment(event.dead_at, now),
        "last_error": event.last_error,
    }
    # Few have these: what was refused, and what became of a dead letter.
    values |= {} if whole.failure_class is None else {"class": whole.failure_class}
    later = {"discarded_at": whole.discarded_at, "copied_at": whole.dead_copied_at}
    values |= {name: moment(at, now) for name, at in later.items() if at is not None}
    lines = [f"{click.style(f'{name:<12}', bold=True)}  {printable(value or '-')}" for name, value in values.items()]
    if whole.unreadable:
        return [*lines, f"{click.style('unreadable', bold=True)}    headers or payload: {printable(whole.unreadable)}"]
    lines.append(click.style("headers", bold=True) + ("       -" if headers is None else ""))
    lines += [] if headers is None else _indented(pretty(headers))
    lines.append(f"{click.style('payload', bold=True)}       {payload_type}, {size(len(payload))}")
    return lines + _indented(_payload(payload))


def _indented(text: str) -> list[str]:
    lines = [f"  {printable(line)}" for line in text[:_MOST_CHARS].split("\n")]
    more = len(text) - _MOST_CHARS
    return [*lines, f"  ... and {more:,} characters more"] if more > 0 else lines


def _payload(payload: bytes) -> str:
    try:
        return pretty(payload.decode())
    except UnicodeDecodeError:
        shown = payload[:_HEX_BYTES].hex(" ")
        return shown if len(payload) <= _HEX_BYTES else f"{shown} ..."


def _for_programs(event: WholeEvent, origin: str) -> str:
    """Return one JSON object; JSON in it stays as it is stored, digit for digit."""
    later = {"discarded_at": iso(event.discarded_at), "dead_copied_at": iso(event.dead_copied_at)}
    columns = for_programs(event.listed) | {"origin": origin or None, "failure_class": event.failure_class} | later
    if event.unreadable:
        return json.dumps(columns | {"unreadable": event.unreadable}, ensure_ascii=False)
    parts = [json.dumps(columns, ensure_ascii=False)[:-1]]
    parts.append(f'"headers": {event.headers or "null"}')
    try:
        text = event.payload.decode()
    except UnicodeDecodeError:
        parts.append(f'"payload_base64": {json.dumps(base64.b64encode(event.payload).decode())}')
    else:
        one_line = re.sub(r"[\n\r\t]", " ", text) if is_json(text) else json.dumps(text)
        parts.append(f'"payload": {one_line}')
    parts.append(f'"payload_bytes": {len(event.payload)}')
    return ", ".join(parts) + "}"
