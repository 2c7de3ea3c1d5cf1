"""What the daemon knows of itself at one moment, for metrics and probes."""

from dataclasses import dataclass
from typing import Literal

from relay.text import printable

# An event loop that has not turned for this long is stuck, seconds: it is to be started again.
STUCK_AFTER_S = 15.0
# Nothing flows meanwhile, and whoever asks is told before the lease runs out.
UNREADY_AFTER_S = 5.0

SEQS_AGAIN = (
    "seqs are drawn again, and read models that go by them may pass over new events: run `relay migrate --new-origin`,"
    " then `relay projection verify`"
)

Role = Literal["starting", "standby", "active", "stopping"]


@dataclass(frozen=True, slots=True)
class HeldView:
    """Events that wait until streams and subjects take events again, of one class of failure.

    Attributes:
        failure_class: outage, capacity or configuration.
        holds: How many streams and subjects are held.
        events: How many events wait for them in memory.
    """

    failure_class: str
    holds: int
    events: int


@dataclass(frozen=True, slots=True)
class TermView:
    """A term at one moment; the defaults are those of a relay that owns nothing.

    Attributes:
        backlog: Events neither delivered nor dead, an estimate from the newest seq.
        oldest_pending_at: Unix seconds at which the oldest pending event was created, None without one.
        in_flight: Events sent and not yet acknowledged.
        waiting: Events in memory behind a failing head or a hold.
        retrying: Events that wait for their retry.
        watermark: Every event of our shards up to this seq is settled.
        watermark_at: Every event of our shards whose commit had returned by then is settled; Unix seconds.
        shards: How many shards are ours.
        held: What is held now, by class.
        outages: Some of the streams and subjects that are held because nobody answers, each with what was said last.
        nats_trouble: Why nothing can be sent over NATS, None while it can.
        paused: Why nothing is sent although NATS is there, None while events may be sent.
        stalled: Something could be sent, and nothing was settled for 30 s.
        oldest_retry_at: Unix seconds at which the oldest event that waits for its retry was created.
        gap_since: Unix seconds since which a seq is waited for that an open transaction may hold.
        held_keys: Keys that wait behind a failing head, a hold or a dead letter.
        blocked_keys: Those of them that wait for the operator to decide about a dead letter.
        unmarked: Events that a stream has stored and that could not be marked: locked, or refused by the database.
        rooms: What is left of the narrowest limit of each stream that has one, as a share of it.
        refusal: Why nothing can flow because marks are not made, or nothing can be read; None while it can.
        refused_rows: How many rows the database refuses to change, for a mark or another outcome, and why the last one.
        unsaved_streams: Of how many streams the database refuses to save what is kept, and why that of the last one.
        undeletable: How many old rows the database lets nobody delete, at least, and what there is to say of them.
        in_vain: How many events are pending again as soon as they are marked, and are not sent again.
        seqs_again: Whether a stream was found to hold events of this origin whose seqs are other rows' now.
        origins: Which histories the seqs belong to.
    """

    backlog: int = 0
    oldest_pending_at: float | None = None
    in_flight: int = 0
    waiting: int = 0
    retrying: int = 0
    watermark: int = 0
    watermark_at: float | None = None
    shards: int = 0
    held: tuple[HeldView, ...] = ()
    outages: tuple[str, ...] = ()
    nats_trouble: str | None = "not connected"
    paused: str | None = None
    stalled: bool = False
    oldest_retry_at: float | None = None
    gap_since: float | None = None
    held_keys: int = 0
    blocked_keys: int = 0
    unmarked: int = 0
    rooms: tuple[tuple[str, float], ...] = ()
    refusal: str | None = None
    refused_rows: tuple[int, str] = (0, "")
    unsaved_streams: tuple[int, str] = (0, "")
    undeletable: tuple[int, str] = (0, "")
    in_vain: int = 0
    seqs_again: bool = False
    origins: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the daemon at one moment.

    Attributes:
        bell: Whether inserts wake this relay.
        last_progress: `time.monotonic` of the last turn of the loop, seconds.
        term: What the term does, if there is one.
        postgres_refusal: Why PostgreSQL is of no use although it answers; empty if it does not answer, or works.
        outbox_fault: Why this relay can own nothing of the outbox, whatever works; empty if it can.
        seqs_again: Whether seqs were drawn again, and no new origin has begun since.
        changing_over: Whether a term has just ended in a relay that could send until then, and the next one begins.
    """

    role: Role
    postgres_up: bool
    bell: bool
    last_progress: float
    term: TermView = TermView()
    changing_over: bool = False
    outbox_fault: str = ""
    postgres_refusal: str = ""
    seqs_again: bool = False

    def notes(self) -> list[str]:
        """Return what the relay works in spite of, or cannot: somebody has to see to it."""
        notes = [printable(self.postgres_refusal)] if self.postgres_refusal and not self.postgres_up else []
        refused, reason = self.term.refused_rows
        if refused:
            notes.append(
                printable(
                    f"marks, or other outcomes, of {refused} events cannot be written: {reason}; see `relay doctor`"
                )
            )
        unsaved, reason = self.term.unsaved_streams
        if unsaved:
            notes.append(printable(f"what is kept of {unsaved} streams cannot be saved: {reason}; see outbox_streams"))
        if self.term.undeletable[0]:
            notes.append(printable(self.term.undeletable[1]))
        if self.term.in_vain:
            notes.append(
                f"{self.term.in_vain} events are pending again as soon as they are marked, and are not sent again:"
                " see `relay doctor`"
            )
        if self.seqs_again:
            notes.append(SEQS_AGAIN)
        return notes

    @property
    def nats_up(self) -> bool:
        """Whether events can be sent over NATS; False for a standby, which has no connection."""
        return self.term.nats_trouble is None

    def connections(self) -> dict[str, bool]:
        """Return which connections are up, by component."""
        return {"postgres": self.postgres_up, "bell": self.bell, "nats": self.nats_up}

    def troubles(self) -> set[str]:
        """Return the classes of what keeps events from being delivered now: of the holds, or ``database``."""
        classes = {one.failure_class for one in self.term.held}
        if self.role == "active" and not self.nats_up:
            classes.add("outage")
        if self.role != "stopping" and not self.postgres_up:
            classes.add("database")
        return classes


@dataclass(frozen=True, slots=True)
class ConsumerView:
    """How far a durable consumer of a stream is.

    Attributes:
        pending: Messages that it was not given yet.
        unacknowledged: Messages that it was given and has not acknowledged.
        oldest_at: Unix seconds at which the first message that it has not acknowledged was stored; None without one,
            or if this account may not read messages.
    """

    stream: str
    consumer: str
    pending: int
    unacknowledged: int
    oldest_at: float | None
