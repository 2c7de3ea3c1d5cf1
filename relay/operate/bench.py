"""A trial of this set-up's speed: insert events of a topic of its own, and wait for the running relay to deliver them.

The steps in their order: `check`, `insert_singles`, `insert_rest`, each followed by `await_settled`, then `clean_up`.
"""

import asyncio
import time
from dataclasses import dataclass

from relay.config.derived_options import envelopes
from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.event import Event
from relay.jetstream.errors import BrokerError
from relay.operate.broker import broker
from relay.operate.changes import Changer, OnProgress, Tell
from relay.operate.status import read_shards
from relay.rules.sending.envelopes import Poison
from relay.rules.stream.streams import StreamFacts

_LOOKUP_TIMEOUT_S = 3.0
_LOOK_PAUSE_S = 0.2
# The trial is given up after this long without a delivery; longer than a lease and a hold.
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
        """Return topic, key and payload of an event."""
        return self.topic, f"bench-{number % self.keys}", f'"{"x" * max(0, self.payload_bytes - 2)}"'


@dataclass(frozen=True)
class Outcome:
    """What became of some events; seconds, and Unix seconds.

    Attributes:
        last_at: When the last one was delivered.
        quantiles: Within how many seconds half of them, 95 %, 99 % and all were marked after their insert.
    """

    events: int
    delivered: int
    dead: int
    last_at: float | None
    quantiles: list[float] | None

    @property
    def settled(self) -> int:
        """How many are delivered or dead."""
        return self.delivered + self.dead


def subject_of(settings: Settings, topic: str) -> str:
    """Return the subject to which the relay publishes a topic.

    Raises:
        Unfit: The topic makes none.
    """
    event = Event(0, "00000000-0000-0000-0000-000000000000", topic, "bench-0", b"", None, 0.0, 0, False)
    try:
        return envelopes(settings).subject(event)
    except Poison as poison:
        raise Unfit(f"--topic {topic!r}: {poison}") from poison


def stream_of(settings: Settings, subject: str) -> StreamFacts | None:
    """Look up the stream of the trial; None if this account may not ask.

    Raises:
        Unfit: There is none.
        Unreachable: NATS did not answer.
    """
    return asyncio.run(_stream_of(settings, subject))


async def _stream_of(settings: Settings, subject: str) -> StreamFacts | None:
    async with broker(settings) as connection:
        try:
            facts = await connection.stream_of(subject, _LOOKUP_TIMEOUT_S)
        except BrokerError:
            return None
    if facts is None:
        raise Unfit(f"no stream takes {subject}: relay stream create BENCH --subject '{subject}' --max-age 1h")
    return facts


def check(changer: Changer) -> None:
    """Find out whether a relay runs, and whether this role may insert and delete. Changes nothing.

    Raises:
        Unfit: No relay owns the outbox.
        Denied: A right is missing.
    """
    with changer.step():
        if not any(shard.held for shard in read_shards(changer)):
            raise Unfit("no relay owns the outbox now: start one with `relay run`")
    changer.check(("operate/bench_insert", ("bench", None, '""')), ("operate/bench_delete", (0, 0, "bench")))


def newest(changer: Changer) -> int:
    """Return the highest seq in the table."""
    with changer.step():
        (seq,) = changer.row("delivery/newest")
    return int(seq)


def insert_singles(changer: Changer, trial: Trial, on_progress: OnProgress) -> None:
    """Insert the single events at their rate, each in a transaction of its own."""
    began = time.monotonic()
    for number in range(trial.singles):
        time.sleep(max(0.0, began + number / trial.rate - time.monotonic()))
        with changer.step():
            changer.run("operate/bench_insert", trial.row(number))
        on_progress(1)


def insert_rest(changer: Changer, trial: Trial) -> float:
    """Insert the rest in one transaction; return when it was about to commit, Unix seconds of PostgreSQL's clock."""
    with changer.step():
        text = changer.tables.query("operate/bench_insert")
        changer.cursor.executemany(text, [trial.row(number) for number in range(trial.events)])
        (committing_at,) = changer.row("ownership/clock")
    return float(committing_at)


def await_settled(changer: Changer, topic: str, above: int, events: int, on_progress: OnProgress) -> Outcome:
    """Wait until that many events of the topic above a seq are settled, and return what became of them.

    Raises:
        Stuck: None was settled for a minute.
    """
    done, progressed_at = 0, time.monotonic()
    while True:
        with changer.step():
            (highest,) = changer.row("delivery/newest")
            outcome = Outcome(*changer.row("operate/bench_look", (above, highest, topic)))
        if outcome.settled > done:
            on_progress(outcome.settled - done)
            done, progressed_at = outcome.settled, time.monotonic()
        if done >= events:
            return outcome
        if time.monotonic() - progressed_at > _PATIENCE_S:
            raise Stuck(f"{done:,} of {events:,} were delivered, and none for {_PATIENCE_S:.0f} s: `relay status`")
        time.sleep(_LOOK_PAUSE_S)


def clean_up(changer: Changer, topic: str, above: int, tell: Tell) -> int:
    """Delete the delivered events of the trial once the watermark is above them; return how many were deleted.

    Args:
        above: The seq above which they are.
        tell: Called if the watermark is waited for.
    """
    highest = newest(changer)
    began = time.monotonic()
    reported = False
    while time.monotonic() - began < _DELETE_PATIENCE_S:
        with changer.step():
            watermark, _ = changer.row("operate/range")
        if watermark >= highest:
            break
        if time.monotonic() - began > _TELL_AFTER_S and not reported:
            reported = True
            tell(f"waiting at most {_DELETE_PATIENCE_S:.0f} s for the watermark, to delete the trial's events")
        time.sleep(_LOOK_PAUSE_S)
    deleted = 0
    for start in range(above, highest, _DELETE_SPAN):
        with changer.step():
            bounds = (start, min(start + _DELETE_SPAN, highest))
            deleted += changer.run("operate/bench_delete", (*bounds, topic))
    return deleted
