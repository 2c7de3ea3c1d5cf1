"""What statements return, by name: one tuple for each result of several columns, in the order of the SQL file."""

from typing import NamedTuple

from relay.event import Event
from relay.outcomes import DeadLetter
from relay.rules.database.database_state import DatabaseState
from relay.rules.order.seq_bounds import BELOW_ALL
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import Seen


class BeatRow(NamedTuple):
    """``ownership/beat``: how the shards are shared after a beat.

    Attributes:
        kept: The shards that are still ours.
        others: The other relays that are alive, with how many shards each owns; None without any.
        free: How many shards nobody owns.
        shards: How many there are.
        at: When the beat came, Unix seconds by the database's clock.
        identity: What the database is recognised by.
        newest: The newest seq that was visible then.
        drawn: The last seq that was drawn; None if this role may not see the sequence.
        origins: Which histories the seqs belong to.
        columns: What the table of events is made of, as `TableShape.read` takes it; None if there is none.
    """

    kept: list[int]
    others: dict[str, int] | None
    free: int
    shards: int
    at: float
    identity: str
    newest: int
    drawn: int | None
    origins: str
    columns: list[list[str | None]] | None

    def database(self) -> DatabaseState:
        """Return how the database was found."""
        return DatabaseState(self.identity, self.newest, self.drawn, self.origins)


class ClaimedRow(NamedTuple):
    """``ownership/claim``: a shard that is ours, and how many owners in a row have crashed before."""

    shard: int
    epoch: int
    crashes: int


class BellRow(NamedTuple):
    """``doorbell/take``: whether the bell is ours, and whether another relay sleeps with it."""

    ours: bool
    another_sleeps: bool


class Suspect(NamedTuple):
    """An event without payload, headers and time, and the version of its row: each change gives the row another one."""

    event: Event
    version: str


class Undecided(NamedTuple):
    """What has become of a dead letter that nobody has settled.

    Attributes:
        key: The key that it has now.
        is_dead: Whether it still is one.
        is_due: Whether the operator has given it back: then it is found when it is due.
    """

    key: str | None
    is_dead: bool
    is_due: bool


class Told(NamedTuple):
    """``maintenance/announced``: the watermark of all shards, and what keeps it from being published.

    Attributes:
        at: Unix seconds; None while any shard does not know it.
        lost: Streams with a loss that waits for the operator.
        is_pending_again: Whether events up to it are; None if it is the one that was published last.
    """

    seq: int
    at: float | None
    lost: list[str]
    is_pending_again: bool | None


class TableRow(NamedTuple):
    """How many dead letters nobody has decided about, and the size of the table in bytes."""

    undecided: int
    size_bytes: int


class PrunedRow(NamedTuple):
    """``maintenance/prune_delivered``: how many events were deleted, and when the oldest were delivered.

    Attributes:
        oldest: Of all, Unix seconds; None without any.
        oldest_kept: Of those that stay, without those of `waiting`, Unix seconds; None without any.
        waiting: The streams of events that are old enough, and stay since they went to none of the streams given.
    """

    deleted: int
    oldest: float | None
    oldest_kept: float | None
    waiting: list[str]


class StreamStateRow(NamedTuple):
    """``integrity/stream_states``: what was last seen of a stream; `Seen` has the meaning of each.

    Attributes:
        looked: The marks of the last looks, each a sequence and the id there.
    """

    stream: str
    created: str | None
    first_seq: int
    floor: int
    mark_seq: int
    mark_id: str | None
    lost: bool
    begun_at: float
    repaired_at: float
    looked: list[str]

    def seen(self) -> Seen:
        """Return it as the rules have it."""
        return Seen(
            self.stream,
            self.created,
            self.first_seq,
            self.floor,
            Mark(self.mark_seq, self.mark_id),
            self.lost,
            self.begun_at,
            self.repaired_at,
            tuple(Mark(int(seq), event_id) for seq, event_id in (one.split() for one in self.looked)),
        )


class UnlockedRow(NamedTuple):
    """``delivery/mark_unlocked``: what became of the marks.

    Attributes:
        is_ours: Whether the shards are still ours; if not, nothing was marked.
        marked: The seqs that were marked.
        unlocked: The seqs of the rows that nobody had locked.
    """

    is_ours: bool
    marked: list[int]
    unlocked: list[int]


class Due(NamedTuple):
    """Where a page of due events ended: the retry time of the last one, as the server writes it, and its seq."""

    retry_at: str
    seq: int


NOTHING_DUE = Due("-infinity", BELOW_ALL)


class DeadRow(NamedTuple):
    """``maintenance/dead_uncopied``: a dead letter; first the columns of an event."""

    seq: int
    id: str
    topic: str
    key: str | None
    payload: bytes
    headers: str | None
    created_at: float
    attempts: int
    postponed: bool | None
    died_at: float
    last_error: str | None
    payload_bytes: int
    failure_class: str | None

    def dead_letter(self) -> DeadLetter:
        """Return it as it is copied."""
        event = Event._make((*self[: self._fields.index("died_at")], 0))
        return DeadLetter(event, self.died_at, self.last_error or "", self.payload_bytes, self.failure_class)


class ReusedSeq(NamedTuple):
    """Of `integrity/reused_seqs`: an event that a stream holds with a seq that is no longer its own.

    Attributes:
        drawn_already: Another row has the seq; otherwise none has, and the sequence has yet to draw it.
    """

    seq: int
    event_id: str
    drawn_already: bool
