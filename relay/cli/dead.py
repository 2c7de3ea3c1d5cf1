"""``relay dead``: what was given up, and what an operator decides about it."""

import json
import time

import click

from relay.cli.consent import Consent, consenting
from relay.cli.filter_options import filtered
from relay.cli.listing import print_events
from relay.cli.options import table_or_json, with_settings
from relay.cli.progress import Progress
from relay.cli.show import show
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.operate.access import reading
from relay.operate.changes import changing
from relay.operate.claim import claimed
from relay.operate.dead_letters import DeadGroup, Decision, begin, check, decide, matching, summarize
from relay.operate.filters import Filters
from relay.text import events_of, iso, json_line, moment

_TIMES = "Given up"


class TooMuch(RelayError):
    """A change of everything was asked for without saying so. Nothing was changed."""

    exit_code = Exit.CONFIG


@click.group()
def dead() -> None:
    """Look at dead letters, retry them, or discard them.

    \b
    relay dead summary                               how many, by topic and reason
    relay dead list --since 2h --topic 'orders.>'
    relay dead retry --error 'no stream'             once the cause is removed
    relay dead discard --seq 4711                    never send it; its key continues
    """


dead.add_command(show)


@dead.command("list")
@with_settings("--dsn-file", "--table")
@filtered(_TIMES)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="At most N dead letters.",
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
    help="At most N lines.",
)
@table_or_json
def summary(settings: Settings, filters: Filters, limit: int, output: str) -> None:
    """Count dead letters by topic and reason, the most frequent first.

    \b
    relay dead summary
    relay dead summary --since 1d
    """
    with reading(settings) as reader:
        groups = summarize(reader, filters, limit)
    if output == "json":
        for group in groups:
            click.echo(json_line(json.dumps(_for_programs(group), ensure_ascii=False)))
        return
    if not groups:
        message(_none(filters))
        return
    now = time.time()
    columns = (Column("DEAD", right=True), Column("TOPIC", name=True), Column("LAST"), Column("REASON", rest=True))
    cells = [(f"{one.events:,}", one.topic, moment(one.last_dead_at, now), one.reason) for one in groups]
    for line in table(columns, cells):
        click.echo(line)
    message("look at them with `relay dead list`, send them again with `relay dead retry`")


def _none(filters: Filters) -> str:
    return f"no {'matching ' if filters else ''}dead letters"


def _for_programs(group: DeadGroup) -> dict[str, object]:
    return group._asdict() | {"first_dead_at": iso(group.first_dead_at), "last_dead_at": iso(group.last_dead_at)}


@dead.command(short_help="Have dead letters sent again.")
@with_settings("--dsn-file", "--table")
@filtered(_TIMES)
@click.option("--all", "everything", is_flag=True, help="All dead letters, if no filter is given.")
@consenting
def retry(settings: Settings, filters: Filters, everything: bool, consent: Consent) -> None:
    """Have dead letters sent again: the relay sends them within five seconds, as if for the first time.

    Remove the cause first. With failures.on_dead = "block", an event still waits for the earlier dead letters of its
    key.

    \b
    relay dead retry --seq 4711
    relay dead retry --topic 'orders.>' --error 'no stream' --dry-run
    relay dead retry --all --yes
    """
    _decide(settings, filters, everything, consent, "retry")


@dead.command(short_help="Discard dead letters; their keys continue without them.")
@with_settings("--dsn-file", "--table")
@filtered(_TIMES)
@click.option("--all", "everything", is_flag=True, help="All dead letters, if no filter is given.")
@consenting
def discard(settings: Settings, filters: Filters, everything: bool, consent: Consent) -> None:
    """Discard dead letters; their keys continue without them. They are never sent, and stay in the table.

    A key that waits for this decision (failures.on_dead = "block") continues within five seconds. To send a discarded
    event after all: `relay replay --discarded --id ID`.

    \b
    relay dead discard --seq 4711
    relay dead discard --until 30d --dry-run
    """
    _decide(settings, filters, everything, consent, "discard")


_WORDS = {
    "retry": ("send {} again", "{} will be sent again; see what becomes of them with `relay list`"),
    "discard": ("discard {}, for good", "discarded {}; `relay list --state discarded` shows them"),
}


def _decide(settings: Settings, filters: Filters, everything: bool, consent: Consent, decision: Decision) -> None:
    if not filters and not everything:
        raise TooMuch("say which dead letters with a filter, or --all")
    would, did = _WORDS[decision]
    with changing(settings) as changer:
        with changer.step():
            seqs = matching(changer, filters)
        check(changer, decision)
        if not seqs:
            message(_none(filters))
            return
        if not consent.given(would.format(events_of(len(seqs), "dead letter"))):
            return
        audit = begin(changer, decision, filters, len(seqs))
        with claimed(settings, changer, audit.number), Progress(len(seqs), decision) as progress:
            changed = decide(changer, decision, audit, seqs, progress.add)
    message(did.format(events_of(changed, "dead letter")))
