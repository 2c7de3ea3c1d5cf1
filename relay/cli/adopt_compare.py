"""``relay adopt compare``: does the trial send what the old reader sends?"""

import asyncio
import json
from typing import TYPE_CHECKING

import click

from relay.cli.options import table_or_json, with_settings
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.errors import Exit
from relay.text import json_line

if TYPE_CHECKING:
    from relay.operate.adopt.compare_rules import Payloads

_WORDS = {
    "old.only": "the new stream lacks them",
    "new.only": "the old stream lacks them",
    "old.twice": "the old stream has them more than once",
    "new.twice": "the new stream has them more than once",
    "old.no_id": "the old stream has them without an id",
    "new.no_id": "the new stream has them without an id",
    "other.subject": "sent on another subject",
    "other.body": "sent with another payload",
    "other.body_form": "the same JSON, written otherwise",
    "other.body_nulls": "the same JSON but for members that are null",
    "other.headers": "the new stream lacks a header, or has another value",
    "other.order": "sent before an event of the same key that the old stream has later",
}


@click.command()
@with_settings("--server", "--creds-file")
@click.option("--old", metavar="STREAM", required=True, help="Where the old reader sends to.")
@click.option("--new", metavar="STREAM", required=True, help="Where the trial's relay sends to.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=10, show_default=True, help="How far back."
)
@click.option(
    "--slack",
    "slack_s",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How much later than the other side one may send an event; nothing younger is judged.",
)
@click.option("--prefix", default="shadow.", show_default=True, help="What the trial puts before each subject.")
@click.option("--id-header", metavar="NAME", default="id", show_default=True, help="The same on both sides.")
@click.option(
    "--payloads",
    type=click.Choice(["bytes", "json", "json-without-nulls"]),
    default="bytes",
    show_default=True,
    help="When two are the same: Debezium writes the JSON that it expands by itself, without members that are null.",
)
@table_or_json
def compare(
    settings: Settings,
    old: str,
    new: str,
    minutes: float,
    slack_s: float,
    prefix: str,
    id_header: str,
    payloads: "Payloads",
    output: str,
) -> None:
    """Compare what the old reader and a trial beside it have sent: ids, subjects, payloads, headers, order of each key.

    Every header of the old side must come on the new side too, but for JetStream's own. Times are those of the
    streams. Payloads that differ in what they say are counted apart from those that only write it otherwise, or lack
    members that are null. Reads both streams by a consumer that leaves nothing behind. Exit code 8 if they differ.

    \b
    relay adopt compare --old ORDERS --new SHADOW --minutes 60
    """  # fmt: skip
    from relay.operate.adopt.compare_streams import Plan, compare_streams

    plan = Plan(old, new, minutes, slack_s, prefix, id_header, payloads)
    found = asyncio.run(compare_streams(settings, plan))
    if output == "json":
        as_json = found._asdict() | {"differences": [one._asdict() for one in found.differences]}
        click.echo(json_line(json.dumps(as_json)))
    else:
        click.echo(f"{found.old:,} messages of {old}, {found.new:,} of {new}, {found.both:,} of the same id")
        rows = [[_WORDS[one.kind], f"{one.events:,}", ", ".join(one.examples[:3])] for one in found.differences]
        for line in table([Column("DIFFERENCE"), Column("EVENTS", right=True), Column("SUCH AS", rest=True)], rows):
            click.echo(line)
        kinds = {one.kind for one in found.differences}
        if kinds & {"other.body_form", "other.body_nulls"}:
            which = "json-without-nulls" if "other.body_nulls" in kinds else "json"
            message(f"to take what is the same JSON for the same payload: --payloads {which}")
        if not found.with_key:
            message("no order was compared: the new stream has no key in Outbox-Key (headers.key)")
        if not found.old and not found.new:
            message(f"nothing was old enough to be judged: what is newer than {slack_s:g} s is left out (--slack)")
        elif not found.differences and found.both:
            message("both sides agree")
    if found.differences or not found.both or not (found.old or found.new):
        raise SystemExit(int(Exit.UNFIT))
