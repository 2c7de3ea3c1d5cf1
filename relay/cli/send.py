"""``relay send``: insert one event, and see it arrive."""

import json
import time
import uuid

import click
import psycopg

from relay.cli.consent import Changer, Consent, changing, consenting
from relay.cli.listing import Listed
from relay.cli.options import with_settings
from relay.cli.table import message
from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.text import age, json_line

_LOOK_PAUSE_S = 0.05


class Undelivered(RelayError):
    """The event was inserted, and is not in the stream. It stays in the outbox."""


class Unacceptable(RelayError):
    """PostgreSQL does not take this event. Nothing was inserted."""

    exit_code = Exit.CONFIG


def _headers(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


@click.command(short_help="Insert one event, and see it arrive.")
@with_settings("--dsn-file", "--table")
@click.argument("topic")
@click.option("--key", help="Events of one key keep their order.  [default: none]")
@click.option(
    "--payload", metavar="TEXT", default="{}", show_default=True, help="As the column takes it: JSON, or text."
)
@click.option("--header", "headers", metavar="NAME=VALUE", multiple=True, callback=_headers, help="Repeatable.")
@click.option("--wait", "wait_s", metavar="SECONDS", type=click.FloatRange(0.1, 86_400), help="Until it is delivered.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@consenting
def send(
    settings: Settings,
    topic: str,
    key: str | None,
    payload: str,
    headers: dict[str, str],
    wait_s: float | None,
    output: str,
    consent: Consent,
) -> None:
    """Insert one event, and with --wait see it arrive: a trial of the whole way.

    The relay that runs delivers it. It is a real event: whoever reads the stream gets it. Exit code 1 where it becomes
    a dead letter, or is not delivered in time.

    \b
    relay send orders.placed --key 42 --payload '{"order": 42}' --wait 10
    relay send trial.hello --yes --wait 10 --output json | jq .stream_seq
    """
    with changing(settings) as changer:
        if not consent.given(f"insert an event of topic {topic}"):
            return
        identity = _insert(changer, topic, key, payload, headers)
        found = None if wait_s is None else _await(changer, identity, wait_s)
    if output == "json":
        told = {
            "id": identity,
            "seq": found and found.seq,
            "stream": found and found.stream,
            "stream_seq": found and found.stream_seq,
        }
        click.echo(json_line(json.dumps(told)))
    elif found is None:
        click.echo(f"event {identity} is in the outbox")
        message(f"how it goes on: relay explain {identity}")
    else:
        took_s = max(0.0, (found.delivered_at or 0.0) - found.created_at)
        where = f"in stream {found.stream} at sequence {found.stream_seq}"
        click.echo(f"event {identity} is {where}, {age(took_s)} after its insert")


def _insert(changer: Changer, topic: str, key: str | None, payload: str, headers: dict[str, str]) -> str:
    """Insert it; gives the id."""
    identity = str(uuid.uuid4())
    value = payload.encode() if changer.tables.payload_type == "bytea" else payload
    try:
        with changer.step():
            changer.run("cli_send", (identity, topic, key, value, json.dumps(headers) if headers else None))
            audit = changer.begin("send", {"topic": topic, "id": identity}, 1)
            audit.add(1)
            audit.end()
    except psycopg.DataError as error:
        raise Unacceptable(f"PostgreSQL does not take it: {' '.join(str(error).split())}") from error
    return identity


def _await(changer: Changer, identity: str, wait_s: float) -> Listed:
    deadline = time.monotonic() + wait_s
    while True:
        with changer.step():
            event = Listed._make(changer.row("cli_show", (None, identity))[:13])
        if event.delivered_at is not None:
            return event
        if event.dead_at is not None:
            raise Undelivered(f"event {event.seq} became a dead letter: {event.last_error}")
        if time.monotonic() > deadline:
            why = f" ({event.last_error})" if event.last_error else ""
            raise Undelivered(f"event {event.seq} is pending after {wait_s:g} s{why}: relay explain {event.seq}")
        time.sleep(_LOOK_PAUSE_S)
