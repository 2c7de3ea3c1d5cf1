"""Streams, and what a server says of them over the wire; each message that is stored is held against the laws."""

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from relay.jetstream.acknowledgements import Acknowledgements
from relay.jetstream.client import RawListener
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.jetstream.listener import Listener
from relay.rules.stream.subjects import matches, overlap
from tests.support.model.clock import Clock

LATENCY_S = 0.001
_FRAME = re.compile(rb"HPUB (\S+) (?:(\S+) )?(\d+) (\d+)\r\n")
_QUESTION = re.compile(rb"PUB \$JS\.API\.(\S+) (\S+) (\d+)\r\n")
_API = "$JS.API."
# A message knows its client; nobody asks it.
_NOBODY: Any = None
_INBOX = "_INBOX.r."
_ACKNOWLEDGEMENTS = Acknowledgements(_INBOX, 1)


@dataclass
class Stream:
    """One stream."""

    name: str
    subjects: tuple[str, ...]
    created: str
    window_s: float
    atomic: bool = False
    full: bool = False
    readable: bool = True
    quorum: bool = True
    first: int = 1
    last: int = 0
    # Id and subject by sequence.
    messages: dict[int, tuple[str, str]] = field(default_factory=dict)
    # When each message was stored, Unix seconds.
    stored_at: dict[int, float] = field(default_factory=dict)
    # When each id was taken, and where it was stored; 0 until it is.
    remembered: dict[str, tuple[float, int]] = field(default_factory=dict)
    # What was taken without a quorum: subject and id.
    log: list[tuple[str, str]] = field(default_factory=list)

    def holds(self, event_id: str) -> bool:
        """Report whether an event is in it."""
        return any(one == event_id for one, _ in self.messages.values())


class Broker:
    """A server with its streams.

    Args:
        on_stored: Called before a message is stored, with the stream and the event's id.

    Attributes:
        silent: It takes what comes and answers nothing.
        largest: It ends the connection over which a larger payload comes, bytes.
        weird: How many refusals with an unknown code are left, by event.
        acknowledged: Where each event was ever stored: stream and sequence.
    """

    def __init__(self, clock: Clock, on_stored: Callable[[Stream, str], None]) -> None:
        self.clock = clock
        self.streams: dict[str, Stream] = {}
        self.up = True
        self.silent = False
        self.largest = 1_000
        self.weird: dict[str, int] = {}
        self.acknowledged: dict[str, set[tuple[str, int]]] = {}
        self.clients: list[Client] = []
        self.on_deadly: Callable[[], None] = lambda: None
        # The first law that was broken.
        self.broken: AssertionError | None = None
        self._on_stored = on_stored
        self._created = count(1)

    def make(self, name: str, *subjects: str, window_s: float = 2.0, atomic: bool = False) -> Stream:
        """Make a stream, in place of any that has its name."""
        moment = datetime.fromtimestamp(self.clock.time(), UTC).replace(microsecond=next(self._created))
        self.streams[name] = Stream(name, subjects, moment.isoformat(), window_s, atomic)
        return self.streams[name]

    def of(self, subject: str) -> Stream | None:
        """Return the stream that takes a subject."""
        return next((one for one in self.streams.values() if any(matches(p, subject) for p in one.subjects)), None)

    async def connect(self, _: object, __: str, listener: Listener) -> Connection:
        """Do what `relay.jetstream.connection.connect` does.

        Raises:
            BrokerError: The server is away.
        """
        await asyncio.sleep(LATENCY_S)
        if not self.up:
            raise BrokerError("connection refused")
        client = Client(self)

        async def limit() -> int:
            return client.max_payload

        client.connection = Connection(client, _INBOX, listener, limit)  # type: ignore[arg-type] # it has what a connection calls, and no socket
        self.clients.append(client)
        return client.connection

    def cut(self, reason: str = "connection reset") -> None:
        """End every connection."""
        for client in list(self.clients):
            client.end(reason)

    def receive(self, client: "Client", subject: str, reply: str, headers: dict[str, str], payload: bytes) -> None:
        """Take a message that has come over the wire."""
        if b"deadly" in payload:
            # Its process ends as it makes the message, so nothing that comes behind it was ever sent.
            client.leave()
            self.on_deadly()
            return
        if len(payload) > self.largest:
            client.end("nats: maximum payload violation")
            return
        batch = headers.get("Nats-Batch-Id")
        if batch is None:
            answer = self._store(subject, headers["Nats-Msg-Id"])
        else:
            client.batches.setdefault(batch, []).append((subject, headers["Nats-Msg-Id"]))
            if "Nats-Batch-Commit" not in headers:
                return
            answer = self._store_all(client.batches.pop(batch))
        if answer is not None and not self.silent:
            client.answer(reply, answer)

    def _refusal(self, subject: str, event_id: str) -> dict[str, Any] | None:
        stream = self.of(subject)
        if stream is None:
            return {}
        if stream.full:
            return {"error": {"err_code": 10077, "description": "maximum messages exceeded"}}
        if self.weird.get(event_id, 0) > 0:
            self.weird[event_id] -= 1
            return {"error": {"err_code": 19999, "description": "weird"}}
        return None

    def lose_the_quorum(self, name: str) -> None:
        """Let the leader of a stream take what comes and store nothing of it."""
        self.streams[name].quorum = False

    def regain_the_quorum(self, name: str) -> None:
        """Store what was taken meanwhile; nobody hears of it."""
        stream = self.streams[name]
        stream.quorum = True
        for subject, event_id in stream.log:
            taken_at, _ = stream.remembered[event_id]
            stream.remembered[event_id] = taken_at, self._put(stream, subject, event_id)
        stream.log.clear()

    def _store(self, subject: str, event_id: str) -> dict[str, Any] | None:
        refusal = self._refusal(subject, event_id)
        if refusal is not None:
            return refusal
        stream = self.of(subject)
        assert stream is not None
        known = self._remembered(stream, event_id)
        if known == 0:
            return {"error": {"err_code": 10158, "description": "duplicate message id is in process"}}
        if known is not None:
            return {"stream": stream.name, "seq": known, "duplicate": True}
        if not stream.quorum:
            stream.log.append((subject, event_id))
            stream.remembered[event_id] = self.clock.now, 0
            return None
        return {"stream": stream.name, "seq": self._put(stream, subject, event_id)}

    def _store_all(self, messages: list[tuple[str, str]]) -> dict[str, Any] | None:
        for subject, event_id in messages:
            refusal = self._refusal(subject, event_id)
            stream = self.of(subject)
            if refusal is None and stream is not None and self._remembered(stream, event_id) is not None:
                refusal = {"error": {"err_code": 10201, "description": "duplicate in a batch"}}
            if refusal is not None:
                return refusal or {"error": {"err_code": 10174, "description": "batch publish not enabled"}}
        stream = self.of(messages[0][0])
        assert stream is not None
        if not stream.quorum:
            return None
        last = [self._put(stream, subject, event_id) for subject, event_id in messages][-1]
        return {"stream": stream.name, "seq": last, "batch": "b", "count": len(messages)}

    def _remembered(self, stream: Stream, event_id: str) -> int | None:
        at, seq = stream.remembered.get(event_id, (-1e9, 0))
        return seq if self.clock.now - at < stream.window_s else None

    def _put(self, stream: Stream, subject: str, event_id: str) -> int:
        try:
            self._on_stored(stream, event_id)
        except AssertionError as error:
            self.broken = self.broken or error
        stream.last += 1
        stream.messages[stream.last] = event_id, subject
        stream.stored_at[stream.last] = self.clock.time()
        stream.remembered[event_id] = self.clock.now, stream.last
        self.acknowledged.setdefault(event_id, set()).add((stream.name, stream.last))
        return stream.last

    def asked(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a question of the JetStream API."""
        question = subject.removeprefix(_API)
        if question == "STREAM.NAMES":
            asked = body["subject"]
            taking = [one for one in self.streams.values() if any(overlap(own, asked) for own in one.subjects)]
            return {"streams": [stream.name for stream in taking]}
        head, _, name = question.rpartition(".")
        stream = self.streams.get(name)
        if stream is None:
            return {"error": {"err_code": 10059, "description": "stream not found"}}
        if head == "STREAM.INFO":
            return {
                "config": {
                    "name": name,
                    "subjects": list(stream.subjects),
                    "allow_atomic": stream.atomic,
                    "duplicate_window": round(stream.window_s * 1e9),
                },
                "created": stream.created,
                "ts": datetime.fromtimestamp(self.clock.time(), UTC).isoformat(),
                "state": {"first_seq": stream.first if stream.messages else 0, "last_seq": stream.last},
            }
        assert head == "STREAM.MSG.GET", question
        if "next_by_subj" in body:
            found = next((seq for seq in sorted(stream.messages) if seq >= body["seq"]), None)
        else:
            found = body["seq"] if body["seq"] in stream.messages else None
        if found is None:
            return {"error": {"err_code": 10037, "description": "no message found"}}
        headers = f"NATS/1.0\r\nNats-Msg-Id: {stream.messages[found][0]}\r\n\r\n"
        stored = datetime.fromtimestamp(stream.stored_at[found], UTC).isoformat()
        return {"message": {"seq": found, "hdrs": base64.b64encode(headers.encode()).decode(), "time": stored}}


class Client:
    """nats-py's client, as far as `Connection` uses it."""

    domain = ""
    encrypted = False
    connected_server_version = SimpleNamespace(major=2, minor=12, patch=1)

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.is_connected = True
        self.last_error: str | None = None
        self.max_payload = 1_000_000
        self.connection: Connection | None = None
        self.batches: dict[str, list[tuple[str, str]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: dict[str, RawListener] = {}
        # Each question has an inbox of its own, also if one that was asked at the same moment has ended meanwhile.
        self._inboxes = count()
        self._loop = asyncio.get_running_loop()
        # On its way, either way, in order: a loop keeps no order among what is due at one moment.
        self._wire: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def ping_each(self, _: float) -> None:
        """Ask nobody: a connection of the model ends when it is cut."""

    def max_payload_is(self, limit: int) -> None:
        self.max_payload = limit

    async def send(self, frames: bytes) -> None:
        """Send messages; each arrives a moment later, if the connection stands until then."""
        if not self.is_connected:
            raise nats.errors.ConnectionClosedError
        at = 0
        while at < len(frames):
            if asked := _QUESTION.match(frames, at):
                begin, size = asked.end(), int(asked[3])
                self._later(self._asked, asked[1].decode(), asked[2], frames[begin : begin + size])
                at = begin + size + 2
                continue
            head = _FRAME.match(frames, at)
            assert head is not None, frames[at : at + 80]
            subject, reply, size, total = head[1].decode(), (head[2] or b"").decode(), int(head[3]), int(head[4])
            begin = head.end()
            lines = frames[begin : begin + size].decode().split("\r\n")[1:]
            headers = dict(line.split(": ", 1) for line in lines if line)
            self._later(self._arrive, subject, reply, headers, frames[begin + size : begin + total])
            at = begin + total + 2

    def _later(self, act: Callable[..., None], *arguments: Any) -> None:
        self._wire.append((act, arguments))
        self._loop.call_later(LATENCY_S, self._next)

    def _next(self) -> None:
        act, arguments = self._wire.popleft()
        act(*arguments)

    def _arrive(self, subject: str, reply: str, headers: dict[str, str], payload: bytes) -> None:
        if self.is_connected and self._broker.up:
            self._broker.receive(self, subject, reply, headers, payload)

    def new_inbox(self) -> str:
        return f"_INBOX.{next(self._inboxes)}"

    async def listen(self, subject: str, take: RawListener) -> str:
        self._listeners[subject] = take
        return subject

    async def stop_listening(self, subscription: str) -> None:
        del self._listeners[subscription]
        if not self.is_connected:
            raise nats.errors.ConnectionClosedError

    def _asked(self, question: str, reply: bytes, body: bytes) -> None:
        """Take one of several questions that were asked at once; its answer is heard a moment later."""
        stream = self._broker.streams.get(question.rpartition(".")[2])
        is_readable = stream is None or stream.readable
        if not is_readable and self.connection is not None:
            denied = Exception(f'nats: permissions violation for publish to "{_API}{question}"')
            self._run(self.connection.on_error(denied))
        if is_readable and self.is_connected and self._broker.up and not self._broker.silent:
            answer = self._broker.asked(f"{_API}{question}", json.loads(body))
            self._later(self._heard_of, reply, json.dumps(answer).encode())

    def _heard_of(self, reply: bytes, answer: bytes) -> None:
        take = self._listeners.get(f"{reply.rpartition(b'.')[0].decode()}.*")
        if take is not None and self.is_connected:
            take(reply, b"", answer, b"")

    def answer(self, reply: str, answer: dict[str, Any]) -> None:
        """Let the relay hear an answer a moment later; without any text it is that nobody listens."""
        self._later(self._heard, reply, answer)

    def _heard(self, reply: str, answer: dict[str, Any]) -> None:
        if not self.is_connected or self.connection is None:
            return
        if not answer:
            message = Msg(_NOBODY, reply, "", b"", {"Status": "503"})
            self._run(self.connection.on_answer(message))
            return
        data = json.dumps(answer, separators=(",", ":")).encode()
        run = _ACKNOWLEDGEMENTS.read(b"MSG %s 1 %d\r\n%s\r\n" % (reply.encode(), len(data), data))
        if run.stored:
            self.connection.on_stored(run.stored)
        else:
            self._run(self.connection.on_answer(Msg(_NOBODY, reply, "", data, None)))

    def _run(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def request(self, subject: str, data: bytes, timeout: float) -> Msg:  # noqa: ASYNC109 - nats-py's signature, called with timeout=
        """Ask, and wait for the answer.

        Raises:
            nats.errors.TimeoutError: None came: the server is silent, or has refused the right to ask.
        """
        await asyncio.sleep(LATENCY_S)
        if not self.is_connected or self.connection is None:
            raise nats.errors.ConnectionClosedError
        stream = self._broker.streams.get(subject.rpartition(".")[2])
        if stream is not None and not stream.readable:
            await self.connection.on_error(Exception(f'nats: permissions violation for publish to "{subject}"'))
            await asyncio.sleep(timeout)
            raise nats.errors.TimeoutError
        if self._broker.silent:
            await asyncio.sleep(timeout)
            raise nats.errors.TimeoutError
        answer = self._broker.asked(subject, json.loads(data) if data else {})
        await asyncio.sleep(LATENCY_S)
        if not self.is_connected:
            raise nats.errors.ConnectionClosedError
        return Msg(_NOBODY, "", "", json.dumps(answer).encode(), None)

    def end(self, reason: str) -> None:
        """End the connection from the server's side."""
        if self.is_connected and self.connection is not None:
            self.leave()
            self.last_error = reason
            self._run(self.connection.on_closed())

    def leave(self) -> None:
        """End the connection, and let nobody hear of it."""
        self.is_connected = False
        if self in self._broker.clients:
            self._broker.clients.remove(self)

    async def discard(self) -> None:
        """Close it."""
        self.leave()
