"""What the relay counts, for Prometheus. README and dashboards rely on the names: they are a contract.

Counting is on the way of every event, so it is plain integers and lists; the families of Prometheus are made
only when somebody scrapes. Written by the event loop, read by the thread of a scrape.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import get_args

from relay import __version__
from relay.observe.distribution import LATENCY_BUCKETS_S, STAGE_BUCKETS_S, Distribution
from relay.observe.exposition import Family
from relay.observe.process_metrics import process_metrics
from relay.observe.snapshot import STUCK_AFTER_S, ConsumerView, Role, Snapshot
from relay.text import elapsed

CLASSES = ("outage", "capacity", "configuration", "poison", "unknown")
REASONS = ("subject", "headers", "size", "unreadable", "refused", "attempts", "configuration", "crash", "connection")
STAGES = ("fetch", "publish", "settle")
COMPONENTS = ("postgres", "bell", "nats")
TROUBLES = ("outage", "capacity", "configuration", "database")

# Reasons come from our own code; the bound holds even if one ever did not.
_MAX_LABELS = 32


def _add(counts: dict[str, int], label: str, count: int) -> None:
    """Count by a label whose values are few."""
    if label not in counts and len(counts) >= _MAX_LABELS:
        label = "other"
    counts[label] = counts.get(label, 0) + count


class Metrics:
    """All counts of one daemon.

    Args:
        delivery_objective_s: Within what time an event should be in its stream, seconds; for the alerts alone.
        consumer_objective_s: Within what time a read model should have acknowledged it.
    """

    def __init__(self, delivery_objective_s: float = 60.0, consumer_objective_s: float = 300.0) -> None:
        self._objectives_s = (delivery_objective_s, consumer_objective_s)
        self._fetched = 0
        self._delivered = 0
        self._duplicates = 0
        self._failures = dict.fromkeys(CLASSES, 0)
        self._dead = dict.fromkeys(REASONS, 0)
        self._latency = Distribution(LATENCY_BUCKETS_S)
        self._stages = {name: Distribution(STAGE_BUCKETS_S) for name in STAGES}
        self._connections = dict.fromkeys(COMPONENTS, False)
        self._snapshot: Callable[[], Snapshot] | None = None
        self._found = 0
        self._redelivered = 0
        self._reused = 0
        self._losses_open = 0
        self._dead_copied = 0
        # When the oldest delivered event was delivered (Unix seconds), and how long one is kept (seconds).
        self._oldest_delivered = (0.0, 0.0)
        # Dead letters that nobody has decided about, and the size of the table in bytes.
        self._table = (0, 0)
        self._pruned = {"delivered": 0, "dead": 0}
        self._trouble_s = dict.fromkeys(TROUBLES, 0.0)
        # Whether each adopted table is copied as agreed.
        self._adoptions: Mapping[str, bool] = {}
        # None while the consumers of the streams cannot be looked at.
        self._consumers: Sequence[ConsumerView] | None = None

    def fetched(self, events: int) -> None:
        """Count events read from the table."""
        self._fetched += events

    def delivered(self, latencies_s: Sequence[float], duplicates: int) -> None:
        """Count a settled batch.

        Args:
            latencies_s: From creation to acknowledgement, one for each event, seconds.
            duplicates: How many of them the stream held already.
        """
        self._delivered += len(latencies_s)
        self._duplicates += duplicates
        self._latency.add(latencies_s)

    def failed(self, failure_class: str) -> None:
        """Count a refusal or a missing acknowledgement by failure class."""
        _add(self._failures, failure_class, 1)

    def dead(self, reason: str) -> None:
        """Count a dead letter by a short reason."""
        _add(self._dead, reason, 1)

    def found(self, events: int) -> None:
        """Count events that a stream held already, found before they were sent again."""
        self._found += events

    def reused(self, events: int) -> None:
        """Count stored events whose seq is another row's now, or is about to be drawn again."""
        self._reused += events

    def redelivered(self, events: int) -> None:
        """Count events that a stream has lost and that are sent again."""
        self._redelivered += events

    def losses_open(self, streams: int) -> None:
        """Show how many streams have a loss that waits for the operator."""
        self._losses_open = streams

    def dead_copied(self) -> None:
        """Count a dead letter that was published to the subject for dead letters."""
        self._dead_copied += 1

    def oldest_delivered(self, at: float, kept_s: float) -> None:
        """Show when the oldest delivered event in the table was delivered.

        Args:
            at: Unix seconds; 0 if there is none.
            kept_s: For how long delivered events are kept, seconds.
        """
        self._oldest_delivered = (at, kept_s)

    def table(self, undecided: int, size_bytes: int) -> None:
        """Show the dead letters that nobody has decided about, and the size of the table with its indexes."""
        self._table = (undecided, size_bytes)

    def adoptions_seen(self, sound: Mapping[str, bool]) -> None:
        """Show the adopted tables, and of each whether its new rows are copied as agreed; empty shows none."""
        self._adoptions = sound

    def consumers_seen(self, consumers: Sequence[ConsumerView]) -> None:
        """Show the durable consumers of the streams."""
        self._consumers = consumers

    def consumers_unreadable(self) -> None:
        """Show no consumers: they cannot be looked at, or another relay does so."""
        self._consumers = None

    def term_ended(self) -> None:
        """Forget what is seen on behalf of all relays: from now on another one may see it."""
        self._losses_open = 0
        self._oldest_delivered = (0.0, 0.0)
        self._table = (0, 0)

    def pruned(self, kind: str, events: int) -> None:
        """Count deleted rows: delivered or dead ones."""
        self._pruned[kind] += events

    def trouble(self, classes: Iterable[str], seconds: float) -> None:
        """Count time in which something kept events from being delivered."""
        for name in classes:
            if name in self._trouble_s:
                self._trouble_s[name] += seconds

    def stage(self, name: str, seconds: float) -> None:
        """Count how long one batch spent in a stage."""
        known = self._stages.get(name)
        if known is None:
            known = self._stages[name] = Distribution(STAGE_BUCKETS_S)
        known.add((seconds,))

    def connection(self, component: str, up: bool) -> None:
        """Note whether a connection is up: postgres, bell or nats."""
        self._connections[component] = up

    def watch(self, snapshot: Callable[[], Snapshot]) -> None:
        """Read the gauges from here at each scrape; called from the thread of the scrape."""
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        """Make the families."""
        yield Family("info", "outbox_relay_build", "Version of the relay", ["version"]).add(1, __version__)
        yield from self._counters()
        yield from self._distributions()
        up = Family("gauge", "outbox_relay_connection_up", "1 while the connection is up", ["component"])
        for component, stands in list(self._connections.items()):
            up.add(float(stands), component)
        yield up
        yield Family(
            "gauge",
            "outbox_relay_open_losses",
            "Streams that have lost events and wait for the operator",
        ).add(self._losses_open)
        (oldest, kept_s), (delivery_s, consumer_s) = self._oldest_delivered, self._objectives_s
        for name, text, value in (
            ("delivery_objective_seconds", "Within how many seconds an event should be delivered", delivery_s),
            (
                "consumer_objective_seconds",
                "Within how many seconds a consumer should have acknowledged it",
                consumer_s,
            ),
            (
                "undecided_dead_letters",
                "Dead letters that were neither retried nor discarded, counted up to 10,000",
                self._table[0],
            ),
            ("table_size_bytes", "Size of the table of events with its indexes", self._table[1]),
            (
                "retention_oldest_timestamp_seconds",
                "When the oldest delivered event in the table was delivered, 0 if everything is kept",
                oldest,
            ),
            (
                "retention_behind_seconds",
                "How much longer than configured the oldest delivered event has been kept",
                max(0.0, time.time() - oldest - kept_s) if oldest else 0.0,
            ),
        ):
            yield Family("gauge", f"outbox_relay_{name}", text).add(value)
        adoptions = Family(
            "gauge",
            "outbox_relay_adoption_ok",
            "1 while each new row of an adopted table is copied as agreed",
            ["table"],
        )
        for table, sound in self._adoptions.items():
            adoptions.add(float(sound), table)
        yield adoptions
        yield from _read_models(self._consumers)
        if self._snapshot is not None:
            yield from _gauges(self._snapshot())
        yield from process_metrics()

    def _counters(self) -> Iterator[Family]:
        for name, text, count in (
            ("fetched_events", "Events read from the table", self._fetched),
            ("published_events", "Events acknowledged by the stream and marked delivered", self._delivered),
            ("duplicates", "Acknowledgements for an event that the stream held already", self._duplicates),
            ("found_events", "Events that were found in a stream before they were sent again", self._found),
            ("redelivered_events", "Events that a stream had lost and that are sent again", self._redelivered),
            (
                "seq_reused_events",
                "Stored events whose seq is another row's now, or is about to be drawn again",
                self._reused,
            ),
            ("copied_dead_letters", "Dead letters published to failures.dead_subject as well", self._dead_copied),
        ):
            yield Family("counter", f"outbox_relay_{name}", text).add(count)
        counts: Mapping[str, float]
        for name, text, label, counts in (
            ("failures", "Refusals and missing acknowledgements", "class", self._failures),
            ("dead_letters", "Events given up", "reason", self._dead),
            ("pruned_events", "Rows deleted because they were old enough", "kind", self._pruned),
            ("outage_seconds", "Time in which something kept events from delivery", "class", self._trouble_s),
        ):
            family = Family("counter", f"outbox_relay_{name}", text, [label])
            for value, number in list(counts.items()):
                family.add(number, value)
            yield family

    def _distributions(self) -> Iterator[Family]:
        yield Family(
            "histogram",
            "outbox_relay_delivery_latency_seconds",
            "From the creation of the row to the acknowledgement of the stream",
        ).add_buckets(self._latency.buckets(), self._latency.total)
        stages = Family(
            "histogram", "outbox_relay_stage_duration_seconds", "Time of one batch in each stage", ["stage"]
        )
        for name, known in list(self._stages.items()):
            stages.add_buckets(known.buckets(), known.total, name)
        yield stages


def _age(since: float | None) -> float:
    return 0.0 if since is None else elapsed(since, time.time())


def _read_models(consumers: Sequence[ConsumerView] | None) -> Iterator[Family]:
    """Make the families of the durable consumers."""
    labels = ["stream", "consumer"]
    pending = Family(
        "gauge", "outbox_relay_consumer_pending_events", "Messages not yet delivered to the consumer", labels
    )
    given = Family(
        "gauge",
        "outbox_relay_consumer_unacknowledged_events",
        "Messages delivered to the consumer and not yet acknowledged",
        labels,
    )
    age = Family(
        "gauge",
        "outbox_relay_consumer_oldest_unacknowledged_age_seconds",
        "How long the stream has held the first message that the consumer has not acknowledged, 0 without one",
        labels,
    )
    for one in consumers or ():
        which = [one.stream, one.consumer]
        pending.add(one.pending, *which)
        given.add(one.unacknowledged, *which)
        if one.oldest_at is not None or not (one.pending or one.unacknowledged):
            age.add(_age(one.oldest_at), *which)
    yield pending
    yield given
    yield age
    yield Family(
        "gauge",
        "outbox_relay_consumers_readable",
        "1 while the consumers of the streams can be looked at",
    ).add(float(consumers is not None))


def _gauges(now: Snapshot) -> Iterator[Family]:
    """Make the families of what holds at this moment."""
    term = now.term
    oldest = term.oldest_pending_at
    stalled = term.stalled or time.monotonic() - now.last_progress > STUCK_AFTER_S
    for name, text, value in (
        ("backlog_events", "Events neither delivered nor dead, an estimate", term.backlog),
        ("in_flight_events", "Events sent and not yet acknowledged", term.in_flight),
        ("waiting_events", "Events in memory behind a failing one or a hold", term.waiting),
        ("retrying_events", "Events that wait for their retry", term.retrying),
        ("shards_owned", "Shards that this relay owns", term.shards),
        ("watermark_seq", "Every event of these shards up to this seq is settled", term.watermark),
        (
            "watermark_timestamp_seconds",
            "Every event of these shards that was committed by then is settled, 0 while that is not known",
            term.watermark_at or 0,
        ),
        (
            "oldest_pending_timestamp_seconds",
            "When the oldest pending event was created, 0 without one",
            0 if oldest is None else oldest if math.isfinite(oldest) else -math.inf,
        ),
        ("oldest_pending_age_seconds", "Age of the oldest pending event, 0 without one", _age(oldest)),
        (
            "oldest_retry_age_seconds",
            "Age of the oldest event that waits for its retry, 0 without one",
            _age(term.oldest_retry_at),
        ),
        (
            "oldest_gap_age_seconds",
            "How long the relay has waited for a seq that an open transaction may hold, 0 without one",
            _age(term.gap_since),
        ),
        ("held_keys", "Keys that wait behind a failing event, a hold or a dead letter", term.held_keys),
        ("unmarked_events", "Events that a stream has stored and whose rows could not be marked", term.unmarked),
        (
            "unsaved_streams",
            "Streams of which the database refuses to save what is kept",
            term.unsaved_streams[0],
        ),
        (
            "undeletable_events",
            "Old rows that the database lets nobody delete, at least",
            term.undeletable[0],
        ),
        ("blocked_keys", "Keys that wait for the operator to decide about a dead letter", term.blocked_keys),
        ("stalled", "1 if events could be sent, but nothing was settled for 30 s", stalled),
    ):
        yield Family("gauge", f"outbox_relay_{name}", text).add(float(value))
    role = Family("gauge", "outbox_relay_role", "1 for the role that this relay has now", ["role"])
    for name in get_args(Role):
        role.add(float(name == now.role), name)
    yield role
    holds = Family("gauge", "outbox_relay_holds", "Streams and subjects that are held", ["class"])
    held = Family("gauge", "outbox_relay_held_events", "Events in memory that wait in holds", ["class"])
    of_class = {one.failure_class: one for one in term.held}
    for name in CLASSES[:3]:
        found = of_class.get(name)
        holds.add(found.holds if found else 0, name)
        held.add(found.events if found else 0, name)
    yield holds
    yield held
    room = Family(
        "gauge",
        "outbox_relay_stream_room_ratio",
        "What is left of the narrowest limit of a stream that we publish to, by messages or bytes, 0 to 1",
        ["stream"],
    )
    for stream, share in term.rooms:
        room.add(share, stream)
    yield room
