"""What the doctor knows of both ends, as plain values. None stands for what could not be learnt."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from relay.operate.hindrances import Hindrance, OwnHindrance
from relay.rules.database.adoption import Adoption

# Of the roles that `relay migrate` makes.
Role = Literal["relay", "reader"]


@dataclass(frozen=True)
class Expectation:
    """What the configuration of the relay wants; times in seconds.

    Attributes:
        strategy: Of ``[delivery]``.
        role: Whose rights the login is to have: of a relay, or of who looks and changes nothing.
        resend_s: How long after it was sent first an event may be sent again, while the relay runs.
        sends_key: Whether messages carry the key of their event; likewise its seq and its time of creation.
        watermark: Whether the watermark is published.
        lease_ttl_s: How long a lease is taken for.
        heals: Whether what a stream has lost is sent again without the operator.
    """

    table: str = "outbox_events"
    bell: bool = True
    bell_dsn: bool = False
    poll_max_s: float = 1.0
    strategy: str = "auto"
    ack_timeout_s: float = 5.0
    resend_s: float = 26.0
    inbox_prefix: str = "_INBOX_relay"
    manages_stream: bool = False
    sends_key: bool = False
    sends_seq: bool = False
    sends_created_at: bool = False
    watermark: bool = False
    lease_ttl_s: float = 10.0
    role: Role = "relay"
    heals: bool = True


@dataclass(frozen=True)
class Right:
    """A right that the role is to have by ``sql/roles.sql``, and what the server said when it was tried."""

    verb: str
    table: str
    refusal: str | None = None


class Changer(NamedTuple):
    """A role that may change rows of the outbox by a grant that is none of ``sql/roles.sql``.

    Attributes:
        role: Its name, quoted if SQL needs that, or PUBLIC.
        tables: Those of the outbox that it may change, in the order of their names.
        verbs: UPDATE, DELETE and TRUNCATE, if it has them on any of these.
    """

    role: str
    tables: list[str]
    verbs: list[str]


@dataclass(frozen=True)
class Session:
    """What the connections of the relay are made of.

    Attributes:
        pooler: Another process serves than the one that the login named.
        shared: Two connections were served by one process: it changes from transaction to transaction.
        ring_s: Seconds until a notification arrived; None if none did.
    """

    pooler: bool
    shared: bool
    ring_s: float | None


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server."""

    version_number: int
    version: str
    encoding: str
    in_recovery: bool
    role: str
    superuser: bool
    max_prepared: int
    fsync: bool
    full_page_writes: bool
    autovacuum: bool
    read_only: bool
    sees_all: bool


@dataclass(frozen=True)
class Table:
    """The table of events; sizes in bytes, times in Unix seconds."""

    persistence: str
    fillfactor: int
    autovacuum: bool
    bell: str | None
    marked_indexes: tuple[str, ...]
    sequence_cache: int | None
    sequence_increment: int | None
    sequence_cycles: bool | None
    subscribed: bool
    live: int
    dead: int
    updated: int
    updated_hot: int
    vacuumed_at: float | None
    size: int


@dataclass(frozen=True)
class Holders:
    """What keeps a gap open or old rows alive; ages in seconds."""

    prepared: int
    prepared_age_s: float | None
    idle_slots: tuple[str, ...]
    oldest_s: float | None
    hidden: int


class Leases(NamedTuple):
    """The shards, and how far what is stored with them lies ahead of the clock of the database, seconds.

    Attributes:
        shards: How many there are.
        complete: Whether none is missing between the first and the last.
        ahead_s: The longest that a lease still runs; None if none does.
        settled_ahead_s: By how much the furthest time of a watermark is in the future; None if none is.
    """

    shards: int
    complete: bool
    ahead_s: float | None
    settled_ahead_s: float | None


@dataclass(frozen=True)
class Topic:
    """One topic of the sample of rows.

    Attributes:
        key: One of its keys.
        pending: How many of its rows wait.
        largest: Bytes of payload and headers of its largest row.
        stream: Where one of its rows was delivered to; None if none was.
        rate: How many events a second are inserted; None if that is not known.
    """

    topic: str
    key: str | None
    events: int
    pending: int
    largest: int
    stream: str | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """What is written down of a partition of a projection in this database.

    Attributes:
        status: new, running, idle, waiting, stopped or paused.
        reason: Why it waits or has stopped.
        complete_s: How long ago everything that was committed then was known to be settled; None if it is not known.
        crashes: How many owners in a row have ended without giving the partition back.
    """

    projection: str
    partition: int
    status: str
    reason: str | None
    owned: bool
    position: int
    parked: int
    complete_s: float | None
    crashes: int


@dataclass(frozen=True)
class RedisFacts:
    """The projections of a Redis.

    Attributes:
        error: Why they could not be read, None if they could.
    """

    partitions: tuple[PartitionFacts, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class ProjectionFacts:
    """The projections of this database.

    Attributes:
        refused: Why they could not be read, None if they could or if there is none.
    """

    partitions: tuple[PartitionFacts, ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class PostgresFacts:
    """All that was learnt of PostgreSQL.

    Attributes:
        error: Why nothing could be learnt.
        oldest_relay: The schema version that a relay must know to work here.
        changers: Who else may change rows of the outbox.
        unfit: How the columns of the table differ from what the relay needs.
        hidden: The tables of which row-level security hides rows from this role, with commas between them.
        hindrances: What may keep rows of the outbox from being marked.
        own_hindrances: What may keep the relay from writing what it keeps for itself.
        members: The names of the relays that work.
        notes: What some of them say of themselves, with the name of each.
        unreachable: Whether a row has the lowest of all seqs, which no range includes.
        bell_error: Why the bell's own address is of no use.
        adoptions: Foreign tables of this database whose rows are copied, into this outbox or another one.
        streams: Those that were published to.
        has_origin: Whether the outbox says which history its seqs belong to.
        projections: Those whose read models are in this database.
        skew_s: Its clock less ours.
    """

    error: str | None = None
    schema_version: int | None = None
    oldest_relay: int | None = None
    wanted_version: int = 1
    payload_type: str | None = None
    server: Server | None = None
    rights: tuple[Right, ...] = ()
    changers: tuple[Changer, ...] = ()
    table: Table | None = None
    unfit: tuple[str, ...] = ()
    hidden: str | None = None
    hindrances: tuple[Hindrance, ...] = ()
    own_hindrances: tuple[OwnHindrance, ...] = ()
    members: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    unreachable: bool = False
    holders: Holders | None = None
    leases: Leases | None = None
    session: Session | None = None
    bell_error: str | None = None
    topics: tuple[Topic, ...] = ()
    adoptions: tuple[Adoption, ...] = ()
    streams: tuple[str, ...] = ()
    has_origin: bool = False
    projections: ProjectionFacts = ProjectionFacts()
    skew_s: float | None = None


@dataclass(frozen=True)
class SubjectFacts:
    """What was learnt of the subject of a topic.

    Attributes:
        subject: None if the topic makes none, because of `fault`.
        stream: The stream that takes it; None: none does, and `gone` is the one that did and is not there any more.
        looked_up: Whether streams could be looked up at all.
        answer: What came back when an event was sent that no stream would store.
    """

    topic: Topic
    subject: str | None
    fault: str = ""
    stream: str | None = None
    looked_up: bool = True
    answer: str = ""
    permitted: bool = True
    gone: str | None = None


class NumberedMessage(NamedTuple):
    """A message of a stream that names its event by its seq."""

    seq: int
    event_id: str
    origin: str


@dataclass(frozen=True)
class StreamReport:
    """One stream: JetStream's own configuration and state, and who may read it how.

    Attributes:
        refused: Questions that the account may not ask, each useful to the relay.
        newest: Of its newest messages those with a seq, if they were read.
    """

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    cluster: dict[str, Any] | None = None
    refused: tuple[str, ...] = ()
    newest: tuple[NumberedMessage, ...] = ()


@dataclass(frozen=True)
class SeqFacts:
    """How the newest messages of a stream agree with the rows of their seqs.

    Attributes:
        compared: How many messages of this outbox, and of its newest origin, there are.
        reused: How many of them have a seq that is another row's, or that is yet to be drawn.
        first: The lowest of those seqs.
    """

    stream: str
    compared: int
    reused: int
    first: int | None


class GoneStream(NamedTuple):
    """A stream that was published to, and that NATS does not have.

    Attributes:
        subjects: What it took, as far as that is known.
        pending: How many events of the sample wait for it.
    """

    name: str
    subjects: tuple[str, ...]
    pending: int


@dataclass(frozen=True)
class NatsFacts:
    """All that was learnt of NATS.

    Attributes:
        error: Why nothing could be learnt.
        encrypted: Whether the connection is.
        names_allowed: Whether streams may be looked up by subject.
        gone: Streams that were published to and are not there any more, with what they took.
        skew_s: Its clock less ours.
    """

    error: str | None = None
    version: str = ""
    takes_atomic: bool = False
    max_payload: int = 0
    encrypted: bool = False
    local: bool = True
    names_allowed: bool = True
    subjects: tuple[SubjectFacts, ...] = ()
    streams: tuple[StreamReport, ...] = ()
    gone: tuple[GoneStream, ...] = ()
    skew_s: float | None = None
