"""``relay bench``: how fast is this set-up, with the relay that runs?"""

import json

import click

from relay.cli.consent import Consent, consenting
from relay.cli.options import table_or_json, with_settings
from relay.cli.progress import Progress
from relay.cli.table import message
from relay.config.settings import Settings
from relay.operate.bench import (
    Outcome,
    Trial,
    await_settled,
    check,
    clean_up,
    insert_rest,
    insert_singles,
    newest,
    stream_of,
    subject_of,
)
from relay.operate.changes import Changer, changing
from relay.text import age, events_of, json_line


@click.command()
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.option("--topic", required=True, help="Of the events. It needs a stream of its own, which nobody reads.")
@click.option(
    "--rate", metavar="N", type=click.FloatRange(0.1, 1000), default=20.0, show_default=True,
    help="First, single events: N a second.",
)  # fmt: skip
@click.option(
    "--seconds", metavar="N", type=click.FloatRange(1, 3600), default=10.0, show_default=True,
    help="How long single events are inserted.",
)  # fmt: skip
@click.option(
    "--events", metavar="N", type=click.IntRange(1, 1_000_000), default=20_000, show_default=True,
    help="Then N events in one transaction.",
)  # fmt: skip
@click.option("--payload-bytes", metavar="N", type=click.IntRange(2, 900_000), default=256, show_default=True)
@click.option("--keys", metavar="N", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option("--keep", is_flag=True, help="Leave the events in the outbox, and do not delete them at the end.")
@table_or_json
@consenting
def bench(
    settings: Settings,
    topic: str,
    rate: float,
    seconds: float,
    events: int,
    payload_bytes: int,
    keys: int,
    keep: bool,
    output: str,
    consent: Consent,
) -> None:
    """Measure your own set-up: insert events of a trial topic, and see how fast the running relay delivers them.

    First the latency of single events at a gentle rate, from insert to mark by the clock of PostgreSQL; then the time
    to drain many at once. The relay that runs does the work, beside its other events. Needs the right to insert, and
    to delete: the events are deleted from the outbox at the end, below the watermark. In the stream they stay.

    \b
    relay stream create BENCH --subject 'bench.>' --max-age 1h
    relay bench --topic bench.relay --dry-run
    relay bench --topic bench.relay
    relay bench --topic bench.relay --events 200000 --payload-bytes 2000 --yes --output json
    """
    trial = Trial(topic, subject_of(settings, topic), rate, seconds, events, payload_bytes, keys)
    stream = stream_of(settings, trial.subject)
    with changing(settings) as changer:
        check(changer)
        where = f"stream {stream.name}" if stream is not None else f"the stream of {trial.subject}"
        count = trial.singles + trial.events
        if stream is not None and stream.subjects != (trial.subject,):
            message(f"{where} takes {', '.join(stream.subjects)}: their consumers may get the trial's events")
        if not consent.given(f"insert {events_of(count)} of {payload_bytes:,} bytes, to be sent to {where}"):
            return
        above = newest(changer)
        try:
            with changer.audited("bench", {"topic": topic}, count) as audit:
                singles = _singles(changer, trial)
                drained, took_s = _drain(changer, trial)
                with changer.step():
                    audit.add(singles.events + drained.events)
            if output == "table":
                _show(singles, drained, took_s, rate)
        finally:
            deleted = 0 if keep else clean_up(changer, topic, above, message)
    result = {
        "topic": topic,
        "stream": None if stream is None else stream.name,
        "payload_bytes": payload_bytes,
        "singles": singles.events,
        "singles_per_second": rate,
        "latency_s": dict(zip(("p50", "p95", "p99", "max"), singles.quantiles or [], strict=False)),
        "drained": drained.events,
        "drain_s": round(took_s, 3),
        "drained_per_second": round(drained.events / took_s),
        "dead": singles.dead + drained.dead,
        "deleted": deleted,
    }
    if output == "json":
        click.echo(json_line(json.dumps(result, ensure_ascii=False)))
    if singles.dead + drained.dead:
        message(f"{events_of(singles.dead + drained.dead)} became dead letters: see `relay dead summary`")
    if not keep:
        left = singles.events + drained.events - deleted
        message(f"{events_of(deleted)} deleted from the outbox; they stay in {where} for as long as it keeps them")
        if left > 1:  # the row at the watermark always stays
            message(f"{events_of(left)} are left in the outbox, above the watermark: delete them by `relay prune`")


def _show(singles: Outcome, drained: Outcome, took_s: float, rate: float) -> None:
    half, most, nearly, longest = map(age, singles.quantiles or [0.0] * 4)
    click.echo(
        f"latency  {events_of(singles.events)} at {rate:g}/s, from insert to mark: half of them within {half}, "
        f"95 % {most}, 99 % {nearly}, all {longest}"
    )
    click.echo(
        f"drain    {events_of(drained.events)} in {took_s:.2f} s, from commit to the last mark: "
        f"{drained.events / took_s:,.0f} events/s"
    )


def _singles(changer: Changer, trial: Trial) -> Outcome:
    """Insert single events, and wait for the last one."""
    above = newest(changer)
    with Progress(trial.singles, "single events") as progress:
        insert_singles(changer, trial, progress.add)
    with Progress(trial.singles, "delivering") as progress:
        return await_settled(changer, trial.topic, above, trial.singles, progress.add)


def _drain(changer: Changer, trial: Trial) -> tuple[Outcome, float]:
    """Insert the rest at once, and wait for the last one; return also the seconds from the commit to its mark."""
    above = newest(changer)
    committing_at = insert_rest(changer, trial)
    with Progress(trial.events, "draining") as progress:
        outcome = await_settled(changer, trial.topic, above, trial.events, progress.add)
    return outcome, max(0.001, (outcome.last_at or committing_at) - committing_at)
