"""Three nats-servers that share their streams: the cluster whose leaders a test can move, freeze and kill."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import nats.errors
import pytest
from nats.aio.client import Client

from relay.cancellation import heed_cancellation
from relay.demo.servers import NatsServer, free_port
from tests.support.fix_stream import Streams

_READY_S = 40.0
_ASK_S = 1.0


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """Yield a connection to one server that is not made again when it ends.

    A cancellation that the client library swallows ends the block all the same, once the block itself has ended.

    Raises:
        nats.errors.Error, OSError, TimeoutError: The server does not answer now.
    """
    client = Client()
    try:
        async with asyncio.timeout(2 * _ASK_S):
            await client.connect(
                url,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=1,
                error_cb=_unsaid,
            )
        heed_cancellation()
        yield client
    finally:
        await client.close()
        heed_cancellation()


async def _unsaid(_: Exception) -> None:
    """Take what the client library reports of a connection whose end we see for ourselves."""


async def ask_any(urls: Sequence[str], question: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """Ask the JetStream API at the first server that answers; return its answer, or an empty one without any."""
    data = b"" if body is None else json.dumps(body).encode()
    for url in urls:
        try:
            async with connected(url) as client:
                answer = await client.request(f"$JS.API.{question}", data, timeout=_ASK_S)
                decoded: dict[str, Any] = json.loads(answer.data)
                return decoded
        except (nats.errors.Error, OSError, TimeoutError):
            continue
    return {}


class Cluster:
    """Nodes ``n0``, ``n1`` and ``n2``, each a process with its own storage."""

    def __init__(self, directory: Path, size: int = 3) -> None:
        routes = [free_port() for _ in range(size)]
        listed = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        self.nodes = [
            NatsServer(
                directory / f"n{number}",
                config=f"server_name: n{number}\n"
                f'cluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{listed}], no_advertise: true }}\n',
            )
            for number, port in enumerate(routes)
        ]

    def start(self) -> Self:
        """Start every node that is not running; an election may still be under way afterwards."""
        for node in self.nodes:
            if not node.running:
                node.start()
        return self

    def stop(self) -> None:
        """Kill every node."""
        for node in self.nodes:
            node.kill()

    @property
    def urls(self) -> str:
        """The addresses of the nodes, as the relay takes them."""
        return ",".join(node.url for node in self.nodes)

    def streams(self) -> Streams:
        """The streams, asked for at a node that runs."""
        return Streams(next(node.url for node in self.nodes if node.running))

    def make(self, name: str, *subjects: str, **config: Any) -> None:
        """Make a stream with a copy on each node, as soon as the nodes have found each other."""
        wanted = {"name": name, "subjects": list(subjects), "num_replicas": len(self.nodes), **config}
        deadline = time.monotonic() + _READY_S
        while "config" not in (answer := asyncio.run(self._ask(f"STREAM.CREATE.{name}", wanted))):
            assert time.monotonic() < deadline, f"the cluster made no stream: {answer}"
            time.sleep(0.1)
        self.settled(name)

    def leader(self, name: str) -> NatsServer | None:
        """Return the node that leads a stream; None if none does, or nobody says."""
        return asyncio.run(self.find_leader(name))

    async def find_leader(self, name: str) -> NatsServer | None:
        """Do what `leader` does, in a running loop."""
        answer = await self._ask(f"STREAM.INFO.{name}", None)
        leader = answer.get("cluster", {}).get("leader")
        return next((node for node in self.nodes if leader == f"n{self.nodes.index(node)}"), None)

    async def answers(self) -> bool:
        """Report whether the cluster as a whole has a leader, whom everybody asks about streams."""
        return "streams" in await self._ask("STREAM.NAMES", None)

    def settled(self, name: str) -> NatsServer:
        """Wait until the cluster has a leader, known to every node, and a stream too; return the stream's."""
        deadline = time.monotonic() + _READY_S
        while (leader := self.leader(name)) is None or not asyncio.run(self._all_answer()):
            assert time.monotonic() < deadline, f"stream {name} has no leader"
            time.sleep(0.05)
        return leader

    async def _all_answer(self) -> bool:
        nodes = [node for node in self.nodes if node.running]
        return all(["streams" in await ask_any([node.url], "STREAM.NAMES", None) for node in nodes])

    def step_down(self, name: str) -> None:
        """Make the leader of a stream give its office up."""
        asyncio.run(self._ask(f"STREAM.LEADER.STEPDOWN.{name}", {}))

    async def _ask(self, question: str, body: dict[str, Any] | None) -> dict[str, Any]:
        return await ask_any([node.url for node in self.nodes if node.running], question, body)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own."""
    one = Cluster(tmp_path / "cluster")
    try:
        yield one.start()
    finally:
        one.stop()
