"""``relay replay``: send events again."""

import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace

import click
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from relay.cli.consent import Audit, Changer, Consent, Progress, changing, consenting
from relay.cli.filter_options import Filters, filtered, from_told
from relay.cli.options import table_or_json, with_settings
from relay.cli.table import message
from relay.config.options import envelopes as configured_envelopes
from relay.config.settings import Settings
from relay.errors import Exit, RelayError, Unreachable
from relay.event import Event
from relay.jetstream.connection import BrokerError, Connection
from relay.operate.broker import broker
from relay.operate.replayer import Manner, Replayer, Trouble, envelope
from relay.rules.envelopes import Poison
from relay.rules.subjects import subject_fault, template_fault
from relay.text import events_of, json_line

_ACTION = "replay"
# How many seqs one read may pass over, and how many one count.
_SPAN = 20_000
_COUNT_SPAN = 100_000
_BATCH = 500
_BATCH_BYTES = 8 * 1024 * 1024
_PATIENCE_S = 60.0
_LOOKUP_TIMEOUT_S = 3.0


class CannotResume(RelayError):
    """There is no such replay that could go on. Nothing was sent."""

    exit_code = Exit.CONFIG


@dataclass(frozen=True)
class Plan:
    """What is replayed, and how.

    Attributes:
        subject: A subject or template of its own; None: where the relay sends each event.
        discarded: The discarded events instead of the delivered ones.
        above: Where it begins, not included.
        up_to: Where it ends, included.
    """

    filters: Filters
    subject: str | None
    same_id: bool
    discarded: bool
    rate: float
    above: int
    up_to: int

    def told(self) -> dict[str, object]:
        """Give it as the audit table keeps it; `_resumed` reads it."""
        options = {
            "subject": self.subject,
            "same_id": self.same_id or None,
            "discarded": self.discarded or None,
            "rate": self.rate,
            "up_to": self.up_to,
        }
        return self.filters.told() | {name: value for name, value in options.items() if value is not None}

    def params(self, above: int, up_to: int) -> tuple[object, ...]:
        """Give what the queries need for a range."""
        return (*self.filters.params(), above, up_to, self.discarded)


def side_subject(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Take a subject, or a template with {topic} and {key}."""
    if value is not None:
        fault = template_fault(value) if "{" in value else subject_fault(value)
        if fault is not None:
            raise click.BadParameter(f"{value!r}: {fault}")
    return value


@click.command(short_help="Send delivered events again.")
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@filtered("Delivered")
@click.option("--all", "everything", is_flag=True, help="All events, where no filter is given.")
@click.option(
    "--subject",
    callback=side_subject,
    metavar="SUBJECT",
    help="Send there instead, such as rebuild.orders or rebuild.{topic}: for one consumer that is rebuilt.",
)
@click.option("--same-id", is_flag=True, help="Keep the message ids: the duplicate window drops what it remembers.")
@click.option("--discarded", is_flag=True, help="The discarded dead letters instead of the delivered events.")
@click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(0.1, 100_000),
    default=2000.0,
    show_default=True,
    help="Events a second at most. Up to 10,000 live events did not wait (docs/operations/benchmarks.md).",
)
@click.option("--resume", type=click.IntRange(1), metavar="AUDIT", help="Go on with a replay that was broken off.")
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
    with changing(settings) as changer:
        if resume is not None:
            if filters or everything or subject or same_id or discarded:
                raise CannotResume("a replay goes on as it was begun: give --resume alone (--rate may change)")
            plan, audit, planned = _resumed(changer, resume, rate)
        else:
            if not filters and not everything:
                raise CannotResume("say which events with a filter, or --all")
            plan = _planned(changer, Plan(filters, subject, same_id, discarded, rate, 0, 0))
            planned, audit = _count(changer, plan), None
        if not planned:
            message("no events like that" if audit is None else "nothing is left of it")
            if audit is not None and not consent.dry_run:
                audit.end()
        where = plan.subject or "their own subjects, where every consumer gets them again"
        if not planned or not consent.given(f"replay {events_of(planned)} to {where}"):
            return
        if plan.subject is not None and "{" not in plan.subject:
            asyncio.run(_check_stream(settings, plan.subject))
        if audit is None:
            audit = changer.begin(_ACTION, plan.told(), planned, plan.above)
        began = time.monotonic()
        run = _Run(settings, changer, plan, audit, planned)
        finished = asyncio.run(run.all())
        took_s = time.monotonic() - began
    if output == "json":
        told = {"replay": audit.number, "events": run.sent, "duplicates": run.duplicates, "finished": finished}
        click.echo(json_line(json.dumps({**told, "position": run.position, "took_s": round(took_s, 3)})))
    dropped = f"; the duplicate window dropped {run.duplicates:,} of them" if run.duplicates else ""
    message(f"replayed {events_of(run.sent)} in {took_s:.1f} s{dropped}")
    if not finished:
        message(f"stopped at seq {run.position:,}; go on with `relay replay --resume {audit.number}`")
        raise SystemExit(130)


def _planned(changer: Changer, plan: Plan) -> Plan:
    """Set the range: up to the newest event of now, so that a replay ends."""
    with changer.step():
        (newest,) = changer.row("newest")
    filters = plan.filters
    up_to = newest if filters.last_seq is None else min(newest, filters.last_seq)
    return replace(plan, above=(filters.first_seq or 1) - 1, up_to=up_to)


def _resumed(changer: Changer, number: int, rate: float) -> tuple[Plan, Audit, int]:
    with changer.step():
        rows = changer.rows("cli_audit_one", (number,))
    if not rows or rows[0][0] != _ACTION:
        raise CannotResume(f"{number} is no replay; see `relay audit`")
    _, text, _, _, position, ended = rows[0]
    if ended:
        raise CannotResume(f"replay {number} was finished")
    told = json.loads(text)
    plan = Plan(
        from_told(told),
        told.get("subject"),
        bool(told.get("same_id")),
        bool(told.get("discarded")),
        rate,
        above=position,
        up_to=told["up_to"],
    )
    # Counted afresh: what was delivered meanwhile is sent too, and more may be left than was planned.
    return plan, Audit(changer, number), _count(changer, plan)


def _count(changer: Changer, plan: Plan) -> int:
    if plan.filters.ids:
        with changer.step():
            return int(changer.row("cli_replay_count", plan.params(plan.above, plan.up_to))[0])
    count = 0
    with Progress(max(0, plan.up_to - plan.above), "counting") as progress:
        for above in range(plan.above, plan.up_to, _COUNT_SPAN):
            up_to = min(above + _COUNT_SPAN, plan.up_to)
            with changer.step():
                count += changer.row("cli_replay_count", plan.params(above, up_to))[0]
            progress.add(up_to - above)
    return count


class _Run:
    """One run of a replay, until it is done or told to stop."""

    def __init__(self, settings: Settings, changer: Changer, plan: Plan, audit: Audit, planned: int) -> None:
        self._settings = settings
        self._changer = changer
        self._plan = plan
        self._audit = audit
        self._planned = planned
        self._limit = min(50, self._largest())
        self._stop = asyncio.Event()
        self._manner = Manner(audit.number, plan.same_id, plan.rate)
        self._envelopes = configured_envelopes(settings, plan.subject)
        self._replayer = Replayer(self._envelopes, self._manner)
        self.position = plan.above
        self.sent = 0

    @property
    def duplicates(self) -> int:
        """How many of them the duplicate window has dropped."""
        return self._replayer.duplicates

    def _largest(self) -> int:
        """Give the size of a batch: a second's worth at most, since Ctrl-C waits for its end."""
        return max(1, min(_BATCH, round(self._plan.rate)))

    async def all(self) -> bool:
        """Send everything; False where it was told to stop before.

        Raises:
            Halted: An event cannot be sent. What was sent before is written down.
            Unreachable: NATS did not take anything for a minute. Likewise.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
        try:
            with ExitStack() as broken_off:
                broken_off.callback(self._tell_how_to_go_on)
                with Progress(self._planned, "replaying") as progress:
                    async with AsyncExitStack() as stack:
                        await self._batches(stack, progress)
                broken_off.pop_all()
        finally:
            loop.remove_signal_handler(signal.SIGINT)
        if self.position >= self._plan.up_to:
            self._audit.end()
            return True
        return False

    def _tell_how_to_go_on(self) -> None:
        message(f"go on above seq {self.position:,} with `relay replay --resume {self._audit.number}`")

    def _on_interrupt(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        message("stopping after this batch; Ctrl-C again leaves at once")
        self._stop.set()

    async def _batches(self, stack: AsyncExitStack, progress: Progress) -> None:
        connection: Connection | None = None
        while self.position < self._plan.up_to and not self._stop.is_set():
            events, reached = self._read()
            if events:
                connection = await self._send(stack, connection, events)
            with self._changer.step():
                self._audit.add(len(events), reached)
            self.position = reached
            self.sent += len(events)
            progress.add(len(events))

    def _read(self) -> tuple[list[Event], int]:
        """Read the next events; gives them, and the seq up to which they are all."""
        plan = self._plan
        # A list of ids has an index of its own: no need to go by ranges.
        reached = plan.up_to if plan.filters.ids else min(self.position + _SPAN, plan.up_to)
        limit = self._limit
        with self._changer.step():
            rows = self._changer.rows("cli_replay", (*plan.params(self.position, reached), limit))
            events = [Event._make(row)._replace(payload=bytes(row[4])) for row in rows]
            if not events and reached < plan.up_to:
                following = self._changer.rows("next_seq", (reached,))
                reached = min(plan.up_to, following[0][0] - 1) if following else plan.up_to
        if events:
            mean_bytes = sum(len(event.payload) for event in events) // len(events) + 1
            self._limit = max(1, min(self._largest(), limit * 2, _BATCH_BYTES // mean_bytes))
        return events, events[-1].seq if len(events) == limit else reached

    async def _send(self, stack: AsyncExitStack, connection: Connection | None, events: list[Event]) -> Connection:
        told = False
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_delay(_PATIENCE_S),
                wait=wait_random_exponential(multiplier=0.2, max=5),
                retry=retry_if_exception_type((Trouble, Unreachable, BrokerError)),
                reraise=True,
            ):
                with attempt:
                    if connection is None or not connection.up:
                        await stack.aclose()
                        connection = await stack.enter_async_context(broker(self._settings, self._replayer))
                        await self._check_subject(connection, events[0])
                    try:
                        await self._replayer.send(connection, events)
                    except Trouble as trouble:
                        if not told:
                            message(f"waiting for NATS: {trouble}")
                        told = True
                        raise
                    return connection
        except (Trouble, BrokerError) as error:
            raise Unreachable(f"NATS takes nothing for {_PATIENCE_S:.0f} s: {error}") from error
        raise AssertionError("tenacity retries until it gives up")

    async def _check_subject(self, connection: Connection, event: Event) -> None:
        """Find out before the first event whether a stream takes it, as far as we may ask."""
        try:
            subject, _ = envelope(event, self._envelopes, self._manner, connection.max_payload)
        except Poison:
            return  # sending it will tell
        await _takes(connection, subject)


async def _check_stream(settings: Settings, subject: str) -> None:
    """Find out before anything is begun whether a stream takes a subject, as far as we may ask."""
    async with broker(settings) as connection:
        await _takes(connection, subject)


async def _takes(connection: Connection, subject: str) -> None:
    try:
        facts = await connection.stream_of(subject, _LOOKUP_TIMEOUT_S)
    except BrokerError:
        return  # sending it will tell
    if facts is None:
        raise CannotResume(f"no stream takes {subject}: create it, or give another --subject")
    if facts.no_ack:
        raise CannotResume(f"stream {facts.name} has no_ack: nobody could know what arrived")
