"""``relay bench``: how fast is this very set-up, with the relay that runs?"""

import asyncio
import json
import time
from dataclasses import dataclass

import click

from relay.cli.consent import Changer, Consent, Progress, changing, consenting
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import message
from relay.config.options import envelopes
from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.event import Event
from relay.jetstream.connection import BrokerError
from relay.operate.broker import broker
from relay.operate.status import held
from relay.rules.envelopes import Poison
from relay.rules.streams import StreamFacts
from relay.text import age, events_of, json_line

_LOOKUP_TIMEOUT_S = 3.0
_LOOK_PAUSE_S = 0.2
# Without a delivery for so long the trial is given up; longer than a lease and a hold.
_PATIENCE_S = 60.0
_DELETE_SPAN = 5_000
_TELL_AFTER_S = 3.0
_DELETE_PATIENCE_S = 15.0


class Unfit(RelayError):
    """The trial cannot be made. Nothing was inserted."""

    exit_code = Exit.CONFIG


class Stuck(RelayError):
    """The events of the trial are not delivered. They stay in the outbox."""


@dataclass(frozen=True)
class Trial:
    """What is inserted.

    Attributes:
        subject: Where the topic is published.
        rate: Single events a second, for `seconds`.
        events: In one transaction after that.
    """

    topic: str
    subject: str
    rate: float
    seconds: float
    events: int
    payload_bytes: int
    keys: int

    @property
    def singles(self) -> int:
        """How many are inserted one by one."""
        return max(1, round(self.rate * self.seconds))

    def row(self, number: int) -> tuple[str, str, str]:
        """Make topic, key and payload of an event."""
        return self.topic, f"bench-{number % self.keys}", f'"{"x" * max(0, self.payload_bytes - 2)}"'


@dataclass(frozen=True)
class Found:
    """What became of some events; seconds, and Unix seconds."""

    events: int
    delivered: int
    dead: int
    last_at: float | None
    quantiles: list[float] | None


@click.command(short_help="Measure your own set-up with trial events.")
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.option("--topic", required=True, help="Of the events. Give it a stream of its own, which nobody reads.")
@click.option(
    "--rate", metavar="N", type=click.FloatRange(0.1, 1000), default=20.0, show_default=True,
    help="First, single events: so many a second.",
)  # fmt: skip
@click.option(
    "--seconds", metavar="N", type=click.FloatRange(1, 3600), default=10.0, show_default=True,
    help="For so long.",
)  # fmt: skip
@click.option(
    "--events", metavar="N", type=click.IntRange(1, 1_000_000), default=20_000, show_default=True,
    help="Then so many in one transaction.",
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
    nats stream add BENCH --subjects 'bench.>' --max-age 1h --defaults
    relay bench --topic bench.relay --dry-run
    relay bench --topic bench.relay
    relay bench --topic bench.relay --events 200000 --payload-bytes 2000 --yes --output json
    """
    trial = Trial(topic, _subject(settings, topic), rate, seconds, events, payload_bytes, keys)
    stream = asyncio.run(_stream(settings, trial.subject))
    with changing(settings) as changer:
        with changer.step():
            if not any(held(shard) for shard in changer.rows("cli_shards")):
                raise Unfit("no relay owns the outbox now: start one with `relay run`")
        where = f"stream {stream.name}" if stream is not None else f"the stream of {trial.subject}"
        count = trial.singles + trial.events
        if stream is not None and stream.subjects != (trial.subject,):
            message(f"{where} takes {', '.join(stream.subjects)}: whoever reads these may get the trial's events")
        if not consent.given(f"insert {events_of(count)} of {payload_bytes:,} bytes, to be sent to {where}"):
            return
        audit = changer.begin("bench", {"topic": topic}, count)
        with changer.step():
            (above,) = changer.row("newest")
        try:
            singles = _singles(changer, trial, above)
            drained, took_s = _drain(changer, trial)
            with changer.step():
                audit.add(singles.events + drained.events)
            audit.end()
            if output == "table":
                _show(singles, drained, took_s, rate)
        finally:
            deleted = 0 if keep else _clean_up(changer, topic, above)
    told = {
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
        click.echo(json_line(json.dumps(told, ensure_ascii=False)))
    if singles.dead + drained.dead:
        message(f"{events_of(singles.dead + drained.dead)} became dead letters: see `relay dead summary`")
    if not keep:
        left = singles.events + drained.events - deleted
        message(f"{events_of(deleted)} deleted from the outbox; they stay in {where} for as long as it keeps them")
        if left > 1:  # the row at the watermark always stays
            message(f"{events_of(left)} are left in the outbox, above the watermark: delete them by `relay prune`")


def _show(singles: Found, drained: Found, took_s: float, rate: float) -> None:
    half, most, nearly, longest = map(age, singles.quantiles or [0.0] * 4)
    click.echo(
        f"latency  {events_of(singles.events)} at {rate:g}/s, from insert to mark: half of them within {half}, "
        f"95 % {most}, 99 % {nearly}, all {longest}"
    )
    click.echo(
        f"drain    {events_of(drained.events)} in {took_s:.2f} s, from commit to the last mark: "
        f"{drained.events / took_s:,.0f} events/s"
    )


def _subject(settings: Settings, topic: str) -> str:
    event = Event(0, "00000000-0000-0000-0000-000000000000", topic, "bench-0", b"", None, 0.0, 0, False)
    try:
        return envelopes(settings).subject(event)
    except Poison as poison:
        raise Unfit(f"--topic {topic!r}: {poison}") from poison


async def _stream(settings: Settings, subject: str) -> StreamFacts | None:
    """Look up the stream of the trial; None where we may not ask."""
    async with broker(settings) as connection:
        try:
            facts = await connection.stream_of(subject, _LOOKUP_TIMEOUT_S)
        except BrokerError:
            return None
    if facts is None:
        raise Unfit(f"no stream takes {subject}: nats stream add BENCH --subjects '{subject}' --max-age 1h --defaults")
    return facts


def _singles(changer: Changer, trial: Trial, above: int) -> Found:
    """Insert single events, each in a transaction of its own, and wait for the last one."""
    begin = time.monotonic()
    with Progress(trial.singles, "single events") as progress:
        for number in range(trial.singles):
            time.sleep(max(0.0, begin + number / trial.rate - time.monotonic()))
            with changer.step():
                changer.run("cli_bench_insert", trial.row(number))
            progress.add(1)
    return _await(changer, trial.topic, above, trial.singles, "delivering")


def _drain(changer: Changer, trial: Trial) -> tuple[Found, float]:
    """Insert the rest at once, and wait for the last one; gives also the seconds from the commit to its mark."""
    with changer.step():
        (above,) = changer.row("newest")
    with changer.step():
        text = changer.tables.query("cli_bench_insert")
        changer.cursor.executemany(text, [trial.row(number) for number in range(trial.events)])
        (committing_at,) = changer.row("clock")
    found = _await(changer, trial.topic, above, trial.events, "draining")
    return found, max(0.001, (found.last_at or committing_at) - committing_at)


def _await(changer: Changer, topic: str, above: int, events: int, label: str) -> Found:
    done, progressed_at = 0, time.monotonic()
    with Progress(events, label) as progress:
        while True:
            with changer.step():
                (newest,) = changer.row("newest")
                found = Found(*changer.row("cli_bench_look", (above, newest, topic)))
            settled = found.delivered + found.dead
            if settled > done:
                progress.add(settled - done)
                done, progressed_at = settled, time.monotonic()
            if done >= events:
                return found
            if time.monotonic() - progressed_at > _PATIENCE_S:
                raise Stuck(f"{done:,} of {events:,} were delivered, and none for {_PATIENCE_S:.0f} s: `relay status`")
            time.sleep(_LOOK_PAUSE_S)


def _clean_up(changer: Changer, topic: str, above: int) -> int:
    """Delete what was delivered, as soon as the watermark is above it; gives how many."""
    with changer.step():
        (newest,) = changer.row("newest")
    begun = time.monotonic()
    told = False
    while time.monotonic() - begun < _DELETE_PATIENCE_S:
        with changer.step():
            watermark, _ = changer.row("cli_range")
        if watermark >= newest:
            break
        if time.monotonic() - begun > _TELL_AFTER_S and not told:
            told = True
            message(f"to delete the trial's events, the watermark is awaited, for {_DELETE_PATIENCE_S:.0f} s at most")
        time.sleep(_LOOK_PAUSE_S)
    deleted = 0
    for start in range(above, newest, _DELETE_SPAN):
        with changer.step():
            bounds = (start, min(start + _DELETE_SPAN, newest))
            deleted += changer.run("cli_bench_delete", (*bounds, topic))
    return deleted
