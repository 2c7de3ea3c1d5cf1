"""Streams as a test makes, changes and reads them; each call is a connection of its own."""

import asyncio
import json
import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import ServiceUnavailableError

from relay.demo.servers import NatsServer
from tests.support.backends import Server
from tests.support.fix_rights import restricted

T = TypeVar("T")

_NO_LEADER = 10008
_ELECTED_WITHIN_S = 10.0
_NEXT_WITHIN_S = 10.0

# The shortest window of duplicates that JetStream takes, in nanoseconds.
SHORTEST_WINDOW = 100_000_000

RELOADS = "2.9 shuts JetStream down if it is told to read its configuration again"


def ids_are_forgotten() -> None:
    """Let the time pass after which a stream of `SHORTEST_WINDOW` drops no repeat of what it holds by now."""
    time.sleep(SHORTEST_WINDOW / 1e9)


def own_server_needs(*version: int, why: str) -> None:
    """Leave a test out whose own nats-server would be older, which the default run never has."""
    told = subprocess.run([NatsServer(Path()).binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", told)
    assert found is not None, told
    if tuple(map(int, found.groups())) < version:
        _leave_out(version, why)


def _leave_out(version: tuple[int, ...], why: str) -> NoReturn:
    wanted = ".".join(map(str, version))
    pytest.skip(f"this run was pointed at a server older than nats-server {wanted}, the default one is newer: {why}")


@dataclass(frozen=True)
class Stored:
    """A message as the stream holds it."""

    seq: int
    subject: str
    headers: dict[str, str]
    data: bytes

    @property
    def i(self) -> int:
        """The number in a payload of `Outbox.fill`."""
        return int(json.loads(self.data)["i"])

    @property
    def batched(self) -> bool:
        """Whether it came in an atomic batch."""
        return "Nats-Batch-Id" in self.headers


async def _subscribe(client: Client, stream: str, take: Callable[[Msg], Awaitable[None]]) -> None:
    """Read a stream in order from its first message; a cluster that elects a leader is asked again for a while."""
    deadline = time.monotonic() + _ELECTED_WITHIN_S
    while True:
        try:
            await client.jetstream().subscribe("", stream=stream, ordered_consumer=True, cb=take)
        except ServiceUnavailableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


class Streams:
    """The streams of one server; `options` are those of nats-py's connect, such as tls."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self._options = options

    def _with(self, work: Callable[[Client], Awaitable[T]]) -> T:
        async def connected() -> T:
            client = Client()
            # A try that is given up would leave its socket to the garbage collector: a busy machine gets its time.
            # After a failed TLS handshake nats-py may wait for ever.
            async with asyncio.timeout(25):
                await client.connect(self.url, **{"connect_timeout": 20, **self._options})
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(connected())

    def since(self, *version: int) -> bool:
        """Report whether the server is of a version, such as ``2, 12, 1``, or newer."""

        async def ask(client: Client) -> bool:
            server = client.connected_server_version
            return (server.major, server.minor, server.patch) >= version

        return self._with(ask)

    def needs(self, *version: int, why: str) -> None:
        """Leave the test out on an older server, which the default run never has."""
        if not self.since(*version):
            _leave_out(version, why)

    @property
    def take_batches(self) -> bool:
        """Whether the server knows atomic batches."""
        return self.since(2, 12, 1)

    def api(self, question: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API; an error fails the test, a cluster that elects a leader is asked again for a while."""
        data = json.dumps(body).encode() if body else b""

        async def ask(client: Client) -> dict[str, Any]:
            deadline = time.monotonic() + _ELECTED_WITHIN_S
            while True:
                answer = await client.request(f"$JS.API.{question}", data, timeout=20)
                decoded: dict[str, Any] = json.loads(answer.data)
                if decoded.get("error", {}).get("err_code") != _NO_LEADER or time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.1)
            assert "error" not in decoded, decoded["error"]
            return decoded

        return self._with(ask)

    def make(self, name: str, *subjects: str, **config: Any) -> None:
        """Make a stream with the fields of JetStream's own configuration."""
        self.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": list(subjects), "num_replicas": 1, **config})

    def change(self, name: str, **config: Any) -> None:
        """Change fields of a stream's configuration."""
        self.api(f"STREAM.UPDATE.{name}", {**self.config(name), **config})

    def config(self, name: str) -> dict[str, Any]:
        """Return a stream's configuration."""
        config: dict[str, Any] = self.api(f"STREAM.INFO.{name}")["config"]
        return config

    def publish(self, subject: str, *payloads: Any) -> None:
        """Store messages as another writer does, without an id."""

        async def store(client: Client) -> None:
            for payload in payloads:
                await client.jetstream().publish(subject, json.dumps(payload).encode())

        self._with(store)

    def messages(self, name: str) -> int:
        """Count what a stream holds."""
        return int(self.api(f"STREAM.INFO.{name}")["state"]["messages"])

    def read(self, name: str) -> list[Stored]:
        """Return everything that a stream holds, in its order."""
        held = self.messages(name)

        async def read_all(client: Client) -> list[Stored]:
            found: list[Stored] = []
            complete = asyncio.Event()

            async def take(message: Msg) -> None:
                sequence = message.metadata.sequence.stream
                found.append(Stored(sequence, message.subject, dict(message.headers or {}), message.data))
                if len(found) >= held:
                    complete.set()

            await _subscribe(client, name, take)
            while not complete.is_set():
                before = len(found)
                # One timeout for all that come meanwhile: one for each takes three times the CPU.
                with suppress(TimeoutError):
                    await asyncio.wait_for(complete.wait(), _NEXT_WITHIN_S)
                assert complete.is_set() or len(found) > before, f"{name} gave {before} of {held} messages"
            return found[:held]

        return self._with(read_all) if held else []

    @contextmanager
    def subscriber(self, subject: str, answer: bytes | None) -> Iterator[list[bytes]]:
        """Listen on a subject as core NATS does, without a stream; answer every message that wants it, unless None.

        What was heard is added to the list.
        """
        heard: list[bytes] = []
        listening, done = threading.Event(), threading.Event()

        async def listen(client: Client) -> None:
            async def reply(message: Msg) -> None:
                heard.append(message.data)
                if message.reply and answer is not None:
                    await client.publish(message.reply, answer)

            await client.subscribe(subject, cb=reply)
            await client.flush()
            listening.set()
            await asyncio.to_thread(done.wait)

        thread = threading.Thread(target=self._with, args=(listen,))
        thread.start()
        try:
            assert listening.wait(25)
            yield heard
        finally:
            done.set()
            thread.join()


def restrict(server: NatsServer, *publish: str) -> Streams:
    """Restart a server so that on it the relay may publish on these subjects only; return its streams for an admin."""
    server.stop()
    server.config = restricted(*publish)
    server.start()
    return Streams(server.url, user="admin", password="admin")


def in_another_account(server: NatsServer) -> Streams:
    """Restart a server so that on it ``orders.>`` goes to another account, STORE; return that one's streams.

    Who does not log in is in an account that has JetStream as well.
    """
    server.stop()
    server.config = """
        accounts {
            SHOP {
                jetstream: enabled
                users: [ { user: admin, password: admin } ]
                imports: [ { service: { account: STORE, subject: "orders.>" } } ]
            }
            STORE {
                jetstream: enabled
                users: [ { user: store, password: store } ]
                exports: [ { service: "orders.>" } ]
            }
        }
        no_auth_user: admin
    """
    server.start()
    return Streams(server.url, user="store", password="store")


def ids(stored: list[Stored]) -> dict[int, str]:
    """Return the message id at each sequence, as `Outbox.marks` should name it."""
    return {message.seq: message.headers["Nats-Msg-Id"] for message in stored}


def assert_once_and_in_order(stored: list[Stored], events: int, keys: int) -> None:
    """Hold a stream against `Outbox.fill`: every event once, and each key in its order."""
    by_key: dict[int, list[int]] = defaultdict(list)
    for message in stored:
        by_key[message.i % keys].append(message.i)
    assert len(stored) == events
    for key, numbers in by_key.items():
        assert numbers == sorted(set(numbers)), f"key {key}"


@pytest.fixture
def nats(nats_server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the session's NATS, with no stream in it."""
    streams = Streams(nats_server.address)
    for name in streams.api("STREAM.NAMES")["streams"] or ():
        streams.api(f"STREAM.DELETE.{name}")
    with nats_server.watch(request):
        yield nats_server.address


@pytest.fixture
def streams(nats: str) -> Streams:
    """The streams of the session's server; none at the beginning of each test."""
    return Streams(nats)
