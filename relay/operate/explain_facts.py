"""Gather what is known of one event, for `relay.operate.explain`: from the outbox, and from NATS if it answers."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from relay.config.derived_options import envelopes
from relay.errors import Unreachable
from relay.event import Event
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.jetstream.stream_reader import StreamReader
from relay.operate.access import Reader
from relay.operate.broker import broker
from relay.operate.dead_letters import read_allowing
from relay.operate.events import EventName, ListedEvent, WholeEvent, find, find_one
from relay.operate.explain import Explanation, Facts, Other, State, explain
from relay.operate.filters import Filters
from relay.operate.gone_stream import Known, read_subjects, subject_maker, taken_by
from relay.operate.held import held_for, read_held
from relay.operate.hindrances import Hindrance
from relay.operate.inserted import inserted_into, read_inserted
from relay.operate.nats_status import look_at_stream
from relay.operate.poison import steering_header
from relay.operate.sent_again import read_overtaken
from relay.operate.status import COUNT_UP_TO, SCAN_SEQS, Oldest, read_oldest, read_shards
from relay.operate.stream_room import Limit, of_messages, option_to_raise, raised_limit
from relay.operate.subject_facts import Broker, Full
from relay.rules.failure.failure_class_of_old_rows import stored_class
from relay.rules.order.seq_bounds import BELOW_ALL
from relay.rules.reading.scrub_pass import longest_s
from relay.rules.sending.envelopes import Poison, size_on_the_wire
from relay.rules.stream.streams import split
from relay.text import elapsed

if TYPE_CHECKING:
    from relay.config.settings import Settings

_SHOWN = 5
# Among how many of the newest seqs an event of the same topic is looked for that was delivered.
_NEWEST_SEQS = 50_000
_LOOKUP_TIMEOUT_S = 3.0
# So many of the newest messages of its stream are searched for an event that is not marked, for so long, seconds.
_NEWEST = 10_000
_SEARCH_S = 3.0
# The default of a server, assumed if it cannot be asked.
_MAX_PAYLOAD = 1024 * 1024


class Explained(NamedTuple):
    """An event, what is known of it, and what follows from that."""

    event: ListedEvent
    facts: Facts
    explanation: Explanation


@dataclass(frozen=True)
class _Around:
    """What is around an event in the outbox; `Facts` has the meaning of each."""

    working: bool
    owned: bool
    ahead: int = 0
    oldest: Oldest | None = None
    in_the_way: tuple[Other, ...] = ()
    dead_ahead: tuple[int, ...] = ()
    hindrances: tuple[Hindrance, ...] = ()
    streams: tuple[str, ...] = ()
    found_within_s: float | None = None


def explain_event(settings: "Settings", reader: Reader, name: EventName, known: Known | None = None) -> Explained:
    """Explain why an event is where it is; NATS is asked as well.

    Args:
        reader: In an open transaction.
        known: What somebody who has looked before knows of streams; None: nobody has.

    Raises:
        RelayError: There is no such event.
    """
    now = time.time()
    whole = find_one(reader, name)
    facts = _facts(settings, whole, _around(reader, whole.listed), now)
    header = steering_header(whole.listed.last_error) if whole.listed.state == "dead" else None
    allowing = None if header is None else read_allowing(reader, header)
    facts = replace(facts, overtaken=read_overtaken(reader, whole.listed), allowing=allowing)
    known = Known({}, {}, {}) if known is None else known
    if facts.broker.lost:
        facts = replace(facts, broker=_with_gone(settings, reader, facts, whole.listed.topic, known))
    elif facts.broker.limit is not None:
        facts = replace(facts, broker=_with_room(settings, reader, facts.broker, known.growth))
    return Explained(whole.listed, facts, explain(facts))


def _around(reader: Reader, event: ListedEvent) -> _Around:
    watermark, newest = reader.row("operate/range")
    upper = min(event.seq - 1, watermark + SCAN_SEQS)
    shards = {shard.number: shard for shard in read_shards(reader)}
    owned = {number for number, shard in shards.items() if shard.held}
    (own,) = reader.row("operate/shard", (event.key, event.seq))
    streams = tuple(stream for stream, *_ in reader.rows("operate/streams"))
    if event.settled:
        return _Around(bool(owned), own in owned, streams=streams)
    (ahead,) = reader.row("operate/backlog", (watermark, upper, COUNT_UP_TO + 1))
    in_the_way: set[Other] = set()
    dead_ahead: tuple[int, ...] = ()
    if event.key is not None:
        in_the_way.update(
            Other(*row) for row in reader.rows("operate/key_ahead", (event.key, watermark, upper + 1, _SHOWN))
        )
        in_the_way.update(Other(*row) for row in reader.rows("operate/key_retry", (event.key, event.seq, _SHOWN)))
        dead_ahead = tuple(seq for (seq,) in reader.rows("operate/key_dead", (event.key, event.seq, _SHOWN)))
    found_within_s = None
    if own in shards and event.seq <= shards[own].watermark:
        (lowest,) = reader.row("delivery/next_seq", (BELOW_ALL,))
        found_within_s = longest_s(lowest, newest)
    return _Around(
        bool(owned),
        own in owned,
        ahead,
        read_oldest(reader, watermark, upper),
        tuple(sorted(in_the_way, key=lambda other: other.seq)),
        dead_ahead,
        tuple(Hindrance(*row) for row in reader.rows("doctor/hindrances")),
        streams,
        found_within_s,
    )


def _facts(settings: "Settings", whole: WholeEvent, around: _Around, now: float) -> Facts:
    event = whole.listed
    sent = Event(
        event.seq,
        event.id,
        event.topic,
        event.key,
        whole.payload,
        whole.headers,
        event.created_at,
        event.attempts,
        False,
    )
    subject, fault, size = subject_maker(settings)(event.topic, event.key), None, 0
    try:
        _, lines = envelopes(settings).make(sent, 2**62)
        size = size_on_the_wire(lines, whole.payload)
    except Poison as poison:
        fault = str(poison)
    pending = None if event.settled else event.id
    now_in_nats, max_payload, stored_at = asyncio.run(_ask(settings, subject, pending, around.streams))
    if fault is None:
        try:
            envelopes(settings).make(sent, max_payload)
        except Poison as poison:
            fault = str(poison)
    return Facts(
        seq=event.seq,
        state=cast(State, event.state),
        key=event.key,
        age_s=elapsed(event.created_at, now),
        attempts=event.attempts,
        last_error=event.last_error,
        failure_class=stored_class(whole.failure_class, event.last_error),
        retry_in_s=None if event.retry_at is None else event.retry_at - now,
        subject=subject,
        subject_fault=fault,
        working=around.working,
        owned=around.owned,
        ahead=min(around.ahead, COUNT_UP_TO),
        ahead_exact=around.ahead <= COUNT_UP_TO,
        in_the_way=around.in_the_way,
        dead_ahead=around.dead_ahead,
        oldest_error=None if around.oldest is None else around.oldest.last_error,
        broker=now_in_nats,
        ordered=settings.delivery.ordering == "key",
        on_dead=settings.failures.on_dead,
        on_misconfigured=settings.failures.on_misconfigured,
        max_attempts=settings.failures.max_attempts,
        hold_max_s=settings.failures.hold_max_s,
        stored_at=stored_at,
        by_hand=event.state == "delivered" and event.stream is None,
        hindrances=around.hindrances,
        table=settings.postgres.table,
        size=size,
        found_within_s=around.found_within_s,
    )


def _with_gone(settings: "Settings", reader: Reader, facts: Facts, topic: str, known: Known) -> Broker:
    """Return what NATS says now, with the stream that took the subject if it is one of those that are gone."""
    broker, took = facts.broker, known.took
    gone = taken_by(facts.subject or "", {name: took.get(name, ()) for name in broker.lost})
    if gone is None:
        before = find(reader, "delivered", Filters(topic=topic), 1, _NEWEST_SEQS).events
        gone = next((one.stream for one in before if one.stream in broker.lost), None)
    if gone is None:
        return broker
    subjects = took.get(gone) or read_subjects(reader, gone, subject_maker(settings))
    return replace(broker, gone=gone, took=tuple(subjects), had=known.limits.get(gone))


def _with_room(settings: "Settings", reader: Reader, broker: Broker, growth: Mapping[str, float]) -> Broker:
    """Return what NATS says of a full stream, with the option that makes room for what waits for it."""
    if broker.limit is None or broker.stream is None:
        return broker
    watermark, newest = reader.row("operate/range")
    blocks = settings.failures.on_dead == "block" and settings.delivery.ordering == "key"
    held, subject_of = read_held(reader, watermark, newest, blocks=blocks), subject_maker(settings)
    limit = broker.limit
    waiting = of_messages(
        held_for(broker.stream, broker.took, held, subject_of).events, limit.name, limit.messages, limit.bytes
    )
    grows = growth.get(broker.stream)
    if grows is None:
        rate = inserted_into(broker.took, read_inserted(reader, newest), subject_of)
        grows = None if rate is None else of_messages(rate, limit.name, limit.messages, limit.bytes)
    to = raised_limit(limit.used, limit.at, waiting, grows)
    return replace(broker, raised=option_to_raise(limit.name, to))


async def _ask(
    settings: "Settings", subject: str | None, pending: str | None, streams: Sequence[str]
) -> tuple[Broker, int, int | None]:
    """Ask NATS about a subject; return its answer, how large a message may be, and where the event is if it is stored.

    Args:
        pending: The id of the event; None if its row says that it is settled.
        streams: Those that were published to: without one that takes the subject, it is asked which of these are gone.
    """
    try:
        async with broker(settings) as connection:
            try:
                now = await _look(connection, subject, streams)
            except BrokerError as error:
                return Broker(unknown=str(error)), connection.max_payload, None
            place = None
            if now.stream is not None and pending is not None:
                place = await _place(connection, now.stream, pending)
            return now, connection.max_payload, place
    except Unreachable as error:
        return Broker(unreachable=str(error)), _MAX_PAYLOAD, None


async def _place(connection: Connection, stream: str, event_id: str) -> int | None:
    """Return where a stream holds an event; None if it is not among the newest messages, or they cannot be read."""
    try:
        async with asyncio.timeout(_SEARCH_S):
            state = await connection.stream_state(stream, _LOOKUP_TIMEOUT_S)
            if state is None:
                return None
            async for page in StreamReader(connection, state).pages(state.last_seq - _NEWEST + 1, state.last_seq):
                found = next((one.seq for one in page if one.message_id == event_id), None)
                if found is not None:
                    return found
    except (BrokerError, TimeoutError):
        pass
    return None


async def _look(connection: Connection, subject: str | None, streams: Sequence[str]) -> Broker:
    if subject is None:
        return Broker()
    facts = await connection.stream_of(subject, _LOOKUP_TIMEOUT_S)
    if facts is None:
        seen = [await look_at_stream(connection, name) for name in streams]
        return Broker(lost=tuple(one.name for one in seen if one.gone))
    counted = {"subjects_filter": subject}
    info = await connection.request(f"STREAM.INFO.{split(facts.name)[1]}", counted, _LOOKUP_TIMEOUT_S)
    config, state = info.get("config", {}), info.get("state", {})
    limit = _full(config, state)
    return Broker(
        stream=facts.name,
        limit=limit,
        full=None if limit is None else limit.sentence(),
        took=tuple(config.get("subjects") or ()),
        of_subject=_of_full_subject(config, (state.get("subjects") or {}).get(subject, 0)),
        sealed=bool(config.get("sealed")),
        no_ack=facts.no_ack,
        window_s=facts.duplicate_window_s,
        max_msg_size=config.get("max_msg_size", -1),
        allow_rollup=bool(config.get("allow_rollup_hdrs")),
    )


def _of_full_subject(config: dict[str, Any], messages: int) -> int | None:
    """Return how many messages of a subject there are, if the stream refuses further ones of it; None if not."""
    refuses = config.get("discard") == "new" and config.get("discard_new_per_subject")
    return messages if refuses and 0 < config.get("max_msgs_per_subject", -1) <= messages else None


def _full(config: dict[str, Any], state: dict[str, Any]) -> Full | None:
    """Return which limit of a stream is reached, if it refuses new messages; None if none is."""
    if config.get("discard") != "new":
        return None
    names: tuple[Limit, ...] = ("max_msgs", "max_bytes")
    for name in names:
        full = Full(name, config.get(name, -1), state.get("messages", 0), state.get("bytes", 0))
        if 0 < full.at <= full.used:
            return full
    return None
