"""``relay adopt``: copy another tool's outbox table into ours."""

import asyncio
import json
import re

import click

from relay.cli.adopt_backfill import backfill, told, unordered
from relay.cli.adopt_compare import compare
from relay.cli.adopt_connector import read_connector
from relay.cli.adopt_options import mapped
from relay.cli.consent import Consent, consenting
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import Column, message, table
from relay.config.settings import Settings
from relay.errors import Exit, Unreachable
from relay.operate.access import reading
from relay.operate.adopt.mapping import Mapping
from relay.operate.adopt.presets import PRESETS
from relay.operate.changes import Changer, changing
from relay.text import json_line

_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


@click.group()
def adopt() -> None:
    """Take over the outbox table of another tool: a trigger copies each new row, in the same transaction.

    The application changes nothing. Run it as the owner of both tables.

    \b
    relay adopt check --preset debezium --source public.outbox
    relay adopt print --preset debezium --source public.outbox > review.sql
    relay adopt cutover --preset debezium --source public.outbox --publication dbz --slot debezium
    relay adopt install --source app.events --topic 'orders.{type}' --key order_id
    relay adopt status
    """


@adopt.command()
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@mapped
def check(settings: Settings, source: str, preset: str, mapping: Mapping) -> None:
    """Report what would become of a table, and what speaks against it; change nothing.

    At most 1,000 rows are mapped, the newest if the mapping orders them, and NATS is asked which stream takes their
    subjects. Exit code 8 if it would be refused.

    \b
    relay adopt check --preset debezium --source public.outbox
    """
    from relay.operate.adopt.facts import gather
    from relay.operate.adopt.judge import Finding, judge, judge_streams, subjects_of
    from relay.operate.adopt.races import overtaken
    from relay.operate.adopt.streams import streams_of

    with reading(settings) as reader, overtaken():
        facts = gather(reader, source, mapping)
    findings = judge(mapping, facts, settings.subject.template)
    if subjects := subjects_of(facts, settings.subject.template):
        try:
            findings += judge_streams(asyncio.run(streams_of(settings, subjects)))
        except Unreachable as error:
            findings.append(Finding("warning", f"which stream takes the subjects is not known: {error}"))
    for one in findings:
        level = click.style(f"{one.level:7}", fg=_COLOURS[one.level])
        click.echo(f"{level} {one.seen}{f': {one.do}' if one.do else ''}")
    if not facts.adopted:
        message(f"before: {PRESETS[preset].before}")
    if any(one.level == "fault" for one in findings):
        raise SystemExit(int(Exit.UNFIT))


@adopt.command("print")
@with_settings("--dsn-file", "--table")
@mapped
def print_sql(settings: Settings, source: str, preset: str, mapping: Mapping) -> None:
    """Print the SQL of an adoption, for a reviewed migration; change nothing.

    \b
    relay adopt print --preset debezium > review.sql
    """
    from relay.operate.adopt import script
    from relay.operate.adopt.facts import gather
    from relay.operate.adopt.races import overtaken
    from relay.operate.adopt.steps import require

    with reading(settings) as reader, overtaken():
        facts = gather(reader, source, None)
        require(mapping, facts)
        click.echo(script.install(mapping, facts.source, facts.outbox, reader.tables, preset), nl=False)


@adopt.command()
@with_settings("--dsn-file", "--table")
@mapped
@click.option(
    "--backfill", "where", metavar="SQL", help="Copy older rows of this condition first, in the same transaction."
)
@unordered
@consenting
def install(
    settings: Settings,
    source: str,
    preset: str,
    mapping: Mapping,
    where: str | None,
    unordered: bool,
    consent: Consent,
) -> None:
    """Begin an adoption: from now on each new row is an event.

    Writers of the table wait while the trigger is made; a lock that is not granted within 2 s changes nothing. For a
    trial beside the old reader, set --table to another outbox whose relay sends to a stream that nobody reads.
    With --backfill the events of a key keep their order, if a column is known that orders the rows: see relay adopt
    backfill.

    A table that is adopted already gets the new trigger in the place of the one that is there, in one transaction: no
    row is left between them.

    \b
    relay adopt install --preset django-outbox-pattern --backfill 'status = 1' --yes
    """
    from relay.operate.adopt import steps
    from relay.operate.adopt.older_rows import Backfill

    if unordered and where is None:
        raise click.UsageError("--unordered goes with --backfill")
    older_rows = None if where is None else Backfill(where, unordered)
    with changing(settings) as changer:
        facts, older = steps.check(changer, source, mapping, backfill=older_rows)
        again = ", in the place of the adoption that is there" if facts.adopted else ""
        copying = f", and {told(older)}" if older is not None else ""
        if consent.given(f"adopt {source} as {preset}{again}{copying}"):
            done = steps.install(changer, source, mapping, preset, backfill=older_rows)
            click.echo(f"{source} is adopted, {done.copied:,} older rows were copied")


@adopt.command()
@with_settings("--dsn-file", "--table")
@mapped
@click.option("--publication", metavar="NAME", required=True, help="Of the old reader.")
@click.option("--slot", metavar="NAME", help="Of the old reader: wait until it has sent everything before the cut.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 86_400), default=60, show_default=True, metavar="SECONDS",
    help="The longest to wait for the slot.",
)  # fmt: skip
@consenting
def cutover(
    settings: Settings,
    source: str,
    preset: str,
    mapping: Mapping,
    publication: str,
    slot: str | None,
    wait_s: float,
    consent: Consent,
) -> None:
    """Hand a table over from a reader of its publication, such as Debezium, in one transaction.

    What was committed before is the old reader's, everything later the relay's. Start the relay of this outbox when
    the slot has passed the cut: earlier, its events would overtake older ones. Exit code 4 if that takes too long.

    \b
    relay adopt cutover --preset debezium --publication dbz_publication --slot debezium --yes
    """
    from relay.operate.adopt import steps

    with changing(settings) as changer:
        steps.check(changer, source, mapping, publication=publication, slot=slot)
        if not consent.given(f"take {source} out of {publication} and adopt it as {preset}"):
            return
        done = steps.install(changer, source, mapping, preset, publication=publication)
        click.echo(f"{source} is adopted; the cut is at {done.lsn}")
        if slot is None:
            message(f"start the relay when the old reader has confirmed {done.lsn}")
        else:
            _await(changer, slot, done.lsn, wait_s)


@adopt.command("await")
@with_settings("--dsn-file", "--table")
@click.option("--slot", metavar="NAME", required=True, help="Of the old reader.")
@click.option("--cut", metavar="LSN", required=True, help="What `adopt cutover` has printed, such as 0/16B3748.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 86_400), default=60, show_default=True, metavar="SECONDS",
    help="The longest to wait for the slot.",
)  # fmt: skip
def await_cut(settings: Settings, slot: str, cut: str, wait_s: float) -> None:
    """Wait again until the old reader has sent everything before the cut. Exit code 4 if that takes too long.

    \b
    relay adopt await --slot debezium --cut 0/16B3748
    """
    if _LSN.fullmatch(cut) is None:
        raise click.UsageError(f"--cut {cut} is no position of the write-ahead log, such as 0/16B3748")
    with changing(settings) as changer:
        _await(changer, slot, cut, wait_s)


def _await(changer: Changer, slot: str, cut: str, wait_s: float) -> None:
    from relay.operate.adopt import steps

    if steps.await_slot(changer, slot, cut, wait_s):
        message(f"slot {slot} has passed the cut: start the relay")
        return
    message(f"slot {slot} has not passed {cut} yet: do not start the relay before it has")
    message("a Debezium that has nothing more to send confirms nothing, unless its heartbeat.interval.ms is set")
    message(f"to wait again: relay adopt await --slot {slot} --cut {cut}")
    raise SystemExit(int(Exit.DRAIN_INCOMPLETE))


@adopt.command()
@with_settings("--dsn-file", "--table")
@table_or_json
def status(settings: Settings, output: str) -> None:
    """List the adoptions of this database. Exit code 8 if one is disabled, was changed by another hand or misses rows.

    \b
    relay adopt status
    """
    from relay.operate.adopt.facts import adoptions_and_readers
    from relay.operate.adopt.races import overtaken

    with reading(settings) as reader, overtaken():
        found = adoptions_and_readers(reader)
    if output == "json":
        for one in found:
            click.echo(json_line(json.dumps(one._asdict())))
    elif found:
        columns = [Column("SOURCE"), Column("OUTBOX"), Column("PRESET"), Column("STATE", rest=True)]
        for line in table(columns, [[one.source, one.outbox, one.preset, one.state] for one in found]):
            click.echo(line)
    else:
        message("nothing is adopted")
    if not all(one.sound for one in found):
        raise SystemExit(int(Exit.UNFIT))


@adopt.command()
@with_settings("--dsn-file", "--table")
@click.option("--source", metavar="TABLE", required=True, help="The other tool's table, as SQL names it.")
@click.option("--give-back", metavar="PUBLICATION", help="Put the table back into this publication.")
@click.option(
    "--slot", metavar="NAME", help="Of the reader that gets it back: it must be there, and its reader stopped."
)
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 86_400), default=60, show_default=True, metavar="SECONDS",
    help="With --give-back: the longest to wait until the relay has sent what was copied.",
)  # fmt: skip
@consenting
def remove(
    settings: Settings, source: str, give_back: str | None, slot: str | None, wait_s: float, consent: Consent
) -> None:
    """End an adoption. What was copied is still sent. Do it before a migration drops a column that is copied.

    With --give-back what was committed before is the relay's, everything later the other reader's. Let the relay run
    until it has sent all of it, and start the other reader then: earlier, it would overtake older events. Exit code 4
    if that takes too long.

    \b
    relay adopt remove --source public.outbox --give-back dbz_publication --slot debezium --yes
    """
    from relay.operate.adopt import left, steps

    if slot is not None and give_back is None:
        raise click.UsageError("--slot goes with --give-back")
    with changing(settings) as changer:
        if give_back is None and (behind := left.find(changer, source)) is not None:
            if consent.given(f"drop what is left of the adoption of {source}, whose trigger is gone"):
                left.drop(changer, behind)
                click.echo(f"{source} is no longer adopted")
            return
        carried = steps.check_removal(changer, source, publication=give_back, slot=slot).carried
        back = f", and put it back into {give_back}{carried.clause}" if carried is not None else ""
        if carried is not None and slot is None:
            message("without --slot nobody looks whether the other reader has a slot and is stopped: it must be so")
        if not consent.given(f"end the adoption of {source}{back}"):
            return
        newest = steps.remove(changer, source, publication=give_back, slot=slot)
        click.echo(f"{source} is no longer adopted")
        if give_back is not None:
            _await_sent(changer, newest, wait_s)


def _await_sent(changer: Changer, newest: int, wait_s: float) -> None:
    from relay.operate.adopt import steps

    pending = steps.await_sent(changer, newest, wait_s)
    if not pending:
        message("everything that was copied is sent: stop the relay, and start the other reader")
        return
    message(
        f"{pending:,} events of this outbox wait to be sent, up to seq {newest}: let a relay run until `relay status`"
    )
    message("has no backlog, and start the other reader then: earlier, it would overtake them")
    raise SystemExit(int(Exit.DRAIN_INCOMPLETE))


adopt.add_command(backfill)
adopt.add_command(compare)
adopt.add_command(read_connector)
