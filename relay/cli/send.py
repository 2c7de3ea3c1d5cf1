"""``relay send``: insert one event, and see it arrive."""

import json

import click

from relay.cli.consent import Consent, consenting
from relay.cli.options import with_settings
from relay.cli.table import message
from relay.config.settings import Settings
from relay.operate.changes import changing
from relay.operate.send import NewEvent, check, follow, insert
from relay.text import age, json_line


def _headers(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


@click.command()
@with_settings("--dsn-file", "--table")
@click.argument("topic")
@click.option("--key", help="Events of one key keep their order.  [default: none]")
@click.option(
    "--payload", metavar="TEXT", default="{}", show_default=True, help="As the column takes it: JSON, or text."
)
@click.option("--header", "headers", metavar="NAME=VALUE", multiple=True, callback=_headers, help="Repeatable.")
@click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 86_400),
    help="The longest to wait for the delivery.",
)
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

    The relay that runs delivers it. It is a real event: whoever reads the stream gets it. Exit code 1 if it becomes a
    dead letter, or is not delivered in time.

    \b
    relay send orders.placed --key 42 --payload '{"order": 42}' --wait 10
    relay send trial.hello --yes --wait 10 --output json | jq .stream_seq
    """
    event = NewEvent(topic, key, payload, headers)
    with changing(settings) as changer:
        if consent.dry_run:
            check(changer, event)
        if not consent.given(f"insert an event of topic {topic}"):
            return
        insert(changer, event)
        found = None if wait_s is None else follow(changer, event.id, wait_s)
    if output == "json":
        told = {
            "id": event.id,
            "seq": found and found.seq,
            "stream": found and found.stream,
            "stream_seq": found and found.stream_seq,
        }
        click.echo(json_line(json.dumps(told)))
    elif found is None:
        click.echo(f"event {event.id} is in the outbox")
        message(f"how it goes on: relay explain {event.id}")
    else:
        took_s = max(0.0, (found.delivered_at or 0.0) - found.created_at)
        where = f"in stream {found.stream} at sequence {found.stream_seq}"
        click.echo(f"event {event.id} is {where}, {age(took_s)} after its insert")
