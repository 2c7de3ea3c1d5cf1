"""``relay dead``: what was given up, and what a person decides about it."""

import json
import time
from typing import Literal

import click

from relay.cli.consent import Consent, Progress, changing, consenting
from relay.cli.filter_options import Filters, filtered
from relay.cli.listing import print_events
from relay.cli.options import table_or_json, with_settings
from relay.cli.show import show
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.operate.access import Row, reading
from relay.text import events_of, iso, json_line, moment

# Some 20 ms each, and as long as it holds its locks.
_BATCH = 1000
_TIMES = "Given up"


class TooMuch(RelayError):
    """A change of everything was asked for without saying so. Nothing was changed."""

    exit_code = Exit.CONFIG


@click.group(short_help="Look at dead letters, give them back, let them be.")
def dead() -> None:
    """Look at dead letters, give them back to the relay, or let them be.

    \b
    relay dead summary                               how many, by topic and reason
    relay dead list --since 2h --topic 'orders.>'
    relay dead retry --error 'no stream'             when the cause is mended
    relay dead discard --seq 4711                    never send it; its key goes on
    """


dead.add_command(show)


@dead.command("list")
@with_settings("--dsn-file", "--table")
@filtered(_TIMES)
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many."
)
@table_or_json
def list_dead(settings: Settings, filters: Filters, limit: int, output: str) -> None:
    """List dead letters, the newest first.

    \b
    relay dead list
    relay dead list --error 10054 --output json | jq -r .id
    """
    print_events(settings, "dead", filters, limit, 0, output)


@dead.command(short_help="How many, by topic and reason.")
@with_settings("--dsn-file", "--table")
@filtered(_TIMES)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="At most so many lines.",
)
@table_or_json
def summary(settings: Settings, filters: Filters, limit: int, output: str) -> None:
    """Count dead letters by topic and reason, the most frequent first.

    \b
    relay dead summary
    relay dead summary --since 1d
    """
    with reading(settings) as reader:
        rows = reader.rows("cli_dead_summary", (*filters.params(), limit))
    if output == "json":
        for row in rows:
            click.echo(json_line(json.dumps(_for_programs(row), ensure_ascii=False)))
        return
    if not rows:
        message(f"no dead letters{' like that' if filters else ''}")
        return
    now = time.time()
    columns = (Column("DEAD", right=True), Column("TOPIC"), Column("LAST"), Column("REASON", rest=True))
    cells = [(f"{count:,}", topic, moment(last_at, now), reason) for topic, reason, count, _, last_at in rows]
    for line in table(columns, cells):
        click.echo(line)
    message("look at them with `relay dead list`, give them back with `relay dead retry`")


def _for_programs(row: Row) -> dict[str, object]:
    topic, reason, count, first_at, last_at = row
    return {
        "topic": topic,
        "reason": reason,
        "events": count,
        "first_dead_at": iso(first_at),
        "last_dead_at": iso(last_at),
    }


@dead.command(short_help="Give dead letters back to the relay.")
@with_settings("--dsn-file", "--table")
@filtered(_TIMES)
@click.option("--all", "everything", is_flag=True, help="All dead letters, where no filter is given.")
@consenting
def retry(settings: Settings, filters: Filters, everything: bool, consent: Consent) -> None:
    """Give dead letters back to the relay, which sends them within five seconds, as if for the first time.

    Mend the cause first. In a key whose earlier dead letters are not decided about
    (failures.on_dead = "block") an event waits for these.

    \b
    relay dead retry --seq 4711
    relay dead retry --topic 'orders.>' --error 'no stream' --dry-run
    relay dead retry --all --yes
    """
    _decide(settings, filters, everything, consent, "retry")


@dead.command(short_help="Let dead letters be: their keys go on without them.")
@with_settings("--dsn-file", "--table")
@filtered(_TIMES)
@click.option("--all", "everything", is_flag=True, help="All dead letters, where no filter is given.")
@consenting
def discard(settings: Settings, filters: Filters, everything: bool, consent: Consent) -> None:
    """Let dead letters be: they are never sent, stay in the table, and their keys go on without them.

    A key that waits for a person (failures.on_dead = "block") goes on within five seconds. To send a discarded
    event after all: `relay replay --id ID`.

    \b
    relay dead discard --seq 4711
    relay dead discard --until 30d --dry-run
    """
    _decide(settings, filters, everything, consent, "discard")


_WORDS = {
    "retry": ("give {} back to the relay", "gave {} back to the relay; see what became of them with `relay list`"),
    "discard": ("discard {}, for good", "discarded {}; `relay list --state discarded` has them"),
}


def _decide(
    settings: Settings, filters: Filters, everything: bool, consent: Consent, decision: Literal["retry", "discard"]
) -> None:
    if not filters and not everything:
        raise TooMuch("say which dead letters with a filter, or --all")
    would, did = _WORDS[decision]
    with changing(settings) as changer:
        with changer.step():
            seqs = [seq for (seq,) in changer.rows("cli_dead_find", filters.params())]
        if not seqs:
            message(f"no dead letters{' like that' if filters else ''}")
            return
        if not consent.given(would.format(events_of(len(seqs), "dead letter"))):
            return
        audit = changer.begin(f"dead {decision}", filters.told(), len(seqs))
        changed = 0
        with Progress(len(seqs), decision) as progress:
            for start in range(0, len(seqs), _BATCH):
                batch = seqs[start : start + _BATCH]
                with changer.step():
                    count = changer.run(f"cli_dead_{decision}", (batch,))
                    audit.add(count)
                changed += count
                progress.add(len(batch))
        audit.end()
    message(did.format(events_of(changed, "dead letter")))
