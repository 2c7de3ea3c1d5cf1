"""Ask NATS what the doctor wants to know, with the rights of the relay. Nothing is stored.

The right to publish is tried on each subject with an event that asks for a stream of another name: whatever stream
takes the subject answers, and refuses. A plain subscriber of the subject sees one empty message.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from relay.event import Event
from relay.jetstream.acknowledgements import Stored
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import Connection, connect
from relay.jetstream.errors import BrokerError, LookupForbidden
from relay.jetstream.listener import Listener
from relay.jetstream.stream_reader import StreamReader, event_ids
from relay.operate.doctor.facts import GoneStream, NatsFacts, NumberedMessage, StreamReport, SubjectFacts, Topic
from relay.operate.gone_stream import Took, taken_by
from relay.operate.nats_status import look_at_stream
from relay.rules.failure.failures import Forbidden, NoResponders, Refused
from relay.rules.sending.envelopes import OF_NO_STREAM, Envelopes, Poison

_ANSWER_S = 2.0
# So many of the newest messages of a stream are compared with the table.
_NEWEST = 1_000
_LOCAL = ("localhost", "127.0.0.1", "::1")
# What the relay asks of a stream, beside its configuration.
_QUESTIONS: dict[str, dict[str, object]] = {
    "DIRECT.GET.{}": {"seq": 1},
    "STREAM.MSG.GET.{}": {"seq": 1},
    "CONSUMER.LIST.{}": {},
}


class Published(NamedTuple):
    """Streams that were published to, and what each took as far as somebody has seen it."""

    streams: Sequence[str]
    took: Took


class _Trials(Listener):
    """Collects what becomes of the trials: a word for each."""

    def __init__(self) -> None:
        self.answers: dict[int, str] = {}
        self.denied: set[str] = set()
        self.changed = asyncio.Event()

    def stored(self, stored: Sequence[Stored]) -> None:
        self.answers.update((token, "stored") for token, *_ in stored)
        self.changed.set()

    def refused(self, token: int, failure: Refused | NoResponders) -> None:
        self.answers[token] = "refused" if isinstance(failure, Refused) else "nobody"
        self.changed.set()

    def forbidden(self, subject: str, failure: Forbidden) -> None:
        self.denied.add(subject)
        self.changed.set()


async def gather_nats(
    options: NatsOptions,
    envelopes: Envelopes,
    topics: Sequence[Topic],
    published: Published,
    *,
    trials: bool,
    numbered: bool = False,
) -> NatsFacts:
    """Ask the first server that takes us in.

    Args:
        topics: What stands in the table; the subject of each is looked up.
        published: The streams that were published to.
        trials: Try the right to publish on each subject.
        numbered: Read the newest messages of each stream, for their seqs.
    """
    listener = _Trials()
    reasons = []
    for server in options.servers:
        try:
            connection = await connect(options, server, listener)
        except BrokerError as error:
            reasons.append(str(error))
            continue
        try:
            return await _asked(connection, listener, _is_local(server), envelopes, topics, published, trials, numbered)
        except BrokerError as error:
            reasons.append(str(error))
        finally:
            await connection.close()
    return NatsFacts(error="; ".join(dict.fromkeys(reasons)))


def _is_local(server: str) -> bool:
    return urlsplit(server).hostname in _LOCAL


async def _asked(
    connection: Connection,
    listener: _Trials,
    local: bool,
    envelopes: Envelopes,
    topics: Sequence[Topic],
    published: Published,
    trials: bool,
    numbered: bool,
) -> NatsFacts:
    names_allowed = await connection.responds("STREAM.NAMES", {}, _ANSWER_S) is not None
    subjects = [await _looked_up(connection, envelopes, topic, names_allowed) for topic in topics]
    if trials:
        subjects = await _tried(connection, listener, subjects)
    streams, skew_s = [], None
    for name in dict.fromkeys(one.stream for one in subjects if one.stream is not None):
        before = time.time()
        info = await _answer(connection, f"STREAM.INFO.{name}")
        if info is None:
            continue
        skew_s = _skew(info, (before + time.time()) / 2)
        newest = await _newest(connection, name) if numbered else ()
        streams.append(replace(await _stream(connection, name, info), newest=newest))
    gone = await _gone(connection, published, subjects)
    return NatsFacts(
        version=connection.server,
        takes_atomic=connection.takes_atomic,
        max_payload=connection.max_payload,
        encrypted=connection.encrypted,
        local=local,
        names_allowed=names_allowed,
        subjects=tuple(_with_gone(one, gone) for one in subjects),
        streams=tuple(streams),
        gone=tuple(gone),
        skew_s=skew_s,
    )


async def _gone(connection: Connection, published: Published, subjects: Sequence[SubjectFacts]) -> list[GoneStream]:
    """Return the streams that were published to and are not there, with what each took as far as anybody knows."""
    found = []
    for name in published.streams:
        if not (await look_at_stream(connection, name)).gone:
            continue
        took = tuple(published.took.get(name, ()))
        homeless = [one for one in subjects if one.stream is None and one.looked_up and one.subject is not None]
        theirs = [one for one in homeless if one.topic.stream == name or taken_by(one.subject or "", {name: took})]
        subjects_seen = tuple(dict.fromkeys(one.subject for one in theirs if one.subject is not None))
        found.append(GoneStream(name, took or subjects_seen, sum(one.topic.pending for one in theirs)))
    return found


def _with_gone(one: SubjectFacts, gone: Sequence[GoneStream]) -> SubjectFacts:
    if one.stream is not None or one.subject is None or not one.looked_up:
        return one
    name = taken_by(one.subject, {stream.name: stream.subjects for stream in gone})
    return one if name is None else replace(one, gone=name)


async def _answer(
    connection: Connection, question: str, body: dict[str, object] | None = None
) -> dict[str, Any] | None:
    try:
        answer = await connection.request(question, body, _ANSWER_S)
    except LookupForbidden:
        return None
    return None if "error" in answer else answer


async def _looked_up(connection: Connection, envelopes: Envelopes, topic: Topic, names_allowed: bool) -> SubjectFacts:
    row = Event(0, "", topic.topic, topic.key, b"", None, 0.0, 0, postponed=False)
    try:
        subject = envelopes.subject(row)
    except Poison as poison:
        return SubjectFacts(topic, None, fault=str(poison))
    if not names_allowed:
        return SubjectFacts(topic, subject, looked_up=False)
    found = await _answer(connection, "STREAM.NAMES", {"subject": subject})
    names = (found or {}).get("streams") or [None]
    return SubjectFacts(topic, subject, stream=names[0], looked_up=found is not None)


async def _tried(connection: Connection, listener: _Trials, subjects: Sequence[SubjectFacts]) -> list[SubjectFacts]:
    asked = {token: one.subject for token, one in enumerate(subjects) if one.subject is not None}
    await connection.publish([(token, subject, b"", OF_NO_STREAM) for token, subject in asked.items()])

    def all_answered() -> bool:
        return all(token in listener.answers or subject.lower() in listener.denied for token, subject in asked.items())

    try:
        async with asyncio.timeout(_ANSWER_S):
            while not all_answered():
                listener.changed.clear()
                await listener.changed.wait()
    except TimeoutError:
        pass
    return [
        SubjectFacts(
            one.topic,
            one.subject,
            one.fault,
            one.stream,
            one.looked_up,
            listener.answers.get(token, "silence"),
            permitted=one.subject is None or one.subject.lower() not in listener.denied,
        )
        for token, one in enumerate(subjects)
    ]


async def _stream(connection: Connection, name: str, info: dict[str, Any]) -> StreamReport:
    refused = []
    for template, body in _QUESTIONS.items():
        question = template.format(name)
        if template.startswith("DIRECT") and not info["config"].get("allow_direct"):
            continue
        if await connection.responds(question, body, _ANSWER_S) is None:
            refused.append(f"$JS.API.{question}")
    return StreamReport(name, info["config"], info.get("state", {}), info.get("cluster"), tuple(refused))


async def _newest(connection: Connection, name: str) -> tuple[NumberedMessage, ...]:
    """Return the newest messages of a stream that have a seq; none if this account may not read them."""
    try:
        state = await connection.stream_state(name, _ANSWER_S)
        if state is None:
            return ()
        pages = StreamReader(connection, state).pages(state.last_seq - _NEWEST + 1, state.last_seq)
        found: list[NumberedMessage] = []
        async for page in pages:
            ours = event_ids(page)
            found += [
                NumberedMessage(one.outbox_seq, one.message_id, one.origin)
                for one in page
                if one.outbox_seq is not None and one.message_id is not None and one.message_id in ours
            ]
        return tuple(found)
    except BrokerError:
        if not connection.up:
            raise
        return ()


def _skew(info: dict[str, Any], ours: float) -> float | None:
    server_time = info.get("ts")
    return None if server_time is None else datetime.fromisoformat(server_time).timestamp() - ours
