"""``relay replay``: send events again."""

import asyncio
import json
import signal
import time
from contextlib import ExitStack

import click

from relay.cli.consent import Consent, consenting
from relay.cli.filter_options import filtered
from relay.cli.options import table_or_json, with_settings
from relay.cli.progress import Progress
from relay.cli.table import message
from relay.config.settings import Settings
from relay.operate.changes import changing
from relay.operate.claim import claimed
from relay.operate.filters import Filters
from relay.operate.replay import CannotReplay, Plan, Replay, begin, check, measure, planned, resumed
from relay.operate.unfinished import go_on
from relay.rules.stream.subjects import subject_fault, template_fault
from relay.text import events_of, json_line


def side_subject(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Accept a subject, or a template with {topic} and {key}."""
    if value is not None:
        fault = template_fault(value) if "{" in value else subject_fault(value)
        if fault is not None:
            raise click.BadParameter(f"{value!r}: {fault}")
    return value


@click.command()
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@filtered("Delivered")
@click.option("--all", "everything", is_flag=True, help="All events, if no filter is given.")
@click.option(
    "--subject",
    callback=side_subject,
    metavar="SUBJECT",
    help="Send there instead, such as rebuild.orders or rebuild.{topic}: to rebuild one consumer.",
)
@click.option("--same-id", is_flag=True, help="Keep the message ids: the duplicate window drops what it remembers.")
@click.option("--discarded", is_flag=True, help="The discarded dead letters instead of the delivered events.")
@click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(0.1, 100_000),
    default=2000.0,
    show_default=True,
    help="Events a second at most. Up to 10,000 live events did not wait (docs/operations/measurements.md).",
)
@click.option("--resume", type=click.IntRange(1), metavar="AUDIT", help="Go on with a replay that was interrupted.")
@table_or_json
@consenting
def replay(
    settings: Settings,
    filters: Filters,
    everything: bool,
    subject: str | None,
    same_id: bool,
    discarded: bool,
    rate: float,
    resume: int | None,
    output: str,
    consent: Consent,
) -> None:
    """Send delivered events again, in the order of seq, each key's one after the other.

    Each gets a message id of its own, and the headers Outbox-Replay (the number in `relay audit`) and
    Outbox-Replay-Of (its id). The relay goes on meanwhile: nothing is marked, and up to 10,000/s live events do not
    wait. After Ctrl-C it can be resumed where it stopped.

    \b
    relay replay --key order-42 --dry-run
    relay replay --topic 'orders.>' --since 2h --subject 'rebuild.{topic}'
    relay replay --seq 100000..200000 --rate 500
    relay replay --resume 17
    """
    with ExitStack() as stack:
        changer = stack.enter_context(changing(settings))
        if resume is not None:
            if filters or everything or subject or same_id or discarded:
                raise CannotReplay("a replay goes on as it was begun: use --resume alone (--rate may change)")
            # Before its line is read: until then another process may be at work on it.
            stack.enter_context(claimed(settings, changer, resume))
            plan = resumed(changer, resume, rate)
        else:
            if not filters and not everything:
                raise CannotReplay("say which events with a filter, or --all")
            plan = planned(changer, Plan(filters, subject, same_id, discarded, rate))
        with Progress(max(0, plan.up_to - plan.above), "counting") as progress:
            extent = measure(changer, plan, progress.add)
        check(settings, changer, plan, extent)
        if not extent.events:
            message("no matching events" if resume is None else "nothing left to replay")
            if resume is not None and not consent.dry_run:
                go_on(changer, resume).end()
            return
        where = plan.subject or "their own subjects, where every consumer gets them again"
        if not consent.given(f"replay {events_of(extent.events)} to {where}"):
            return
        if resume is None:
            audit = begin(changer, plan, extent.events)
            stack.enter_context(claimed(settings, changer, audit.number))
        else:
            audit = go_on(changer, resume)
        run = Replay(settings, changer, plan, audit, message)
        began = time.monotonic()
        finished = asyncio.run(_send(run, extent.events))
        took_s = time.monotonic() - began
    if output == "json":
        result = {"replay": run.number, "events": run.sent, "duplicates": run.duplicates, "finished": finished}
        click.echo(json_line(json.dumps({**result, "position": run.position, "took_s": round(took_s, 3)})))
    dropped = f"; the duplicate window dropped {run.duplicates:,} of them" if run.duplicates else ""
    first = f" ({extent.events:,} when it began)" if run.sent > extent.events else ""
    message(f"replayed {events_of(run.sent)}{first} in {took_s:.1f} s{dropped}")
    if not finished:
        message(f"stopped at seq {run.position:,}; go on with `relay replay --resume {run.number}`")
        raise SystemExit(130)


async def _send(run: Replay, events: int) -> bool:
    """Send everything; return False if Ctrl-C has stopped it."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if run.stopping:
            raise KeyboardInterrupt
        message("stopping after this batch; Ctrl-C again leaves at once")
        run.stop()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        with ExitStack() as broken_off:
            broken_off.callback(lambda: message(_how_to_go_on(run)))
            with Progress(events, "replaying") as progress:
                finished = await run.run(progress.add)
            broken_off.pop_all()
        return finished
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _how_to_go_on(run: Replay) -> str:
    return (
        f"{events_of(run.sent)} were replayed before; go on above seq {run.position:,} with "
        f"`relay replay --resume {run.number}`"
    )
