"""The world of a run: servers, relays, and a proxy on every way between them."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from relay.demo.servers import NatsServer, PostgresServer, free_port
from relay.postgres.migrate import migrate, new_origin
from tests.chaos.history import Entry
from tests.chaos.process import Process, proxy_to
from tests.chaos.read_side import ReadSide
from tests.support.faulty_relay.mutants import OF_RUNNERS
from tests.support.fix_cluster import Cluster, ask_any
from tests.support.fix_relay import Relay
from tests.support.fix_rights import LOGIN, NATS_USER, let_relay_in
from tests.support.fix_stream import Streams

# ORDERS takes atomic batches and soon forgets ids (`World.window_s`); LEDGER is written one by one and remembers them.
# AUDIT may not be looked at by the relays at times.
STREAMS: dict[str, dict[str, Any]] = {
    "ORDERS": {"subjects": ["orders.>"], "allow_atomic": True},
    "LEDGER": {"subjects": ["ledger.>"], "duplicate_window": 120_000_000_000},
    "AUDIT": {"subjects": ["audit.>"]},
}
# The stream of the same name at the leaf node, which takes none of our events.
NAMESAKE = ("ORDERS", "local.>")
DOMAIN = "hub"
_MAX_PAYLOAD = 1_048_576
# What the relay asks about one stream.
_LOOKS = ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET", "CONSUMER.LIST")
_COMMON = {"discard": "new", "allow_direct": True, "storage": "file"}
# Shorter than the defaults if a fault ends sooner than they would notice; all within what an operator may set.
_RELAY = {
    "RELAY_LEASE__TTL_S": "2",
    "RELAY_NATS__PING_INTERVAL_S": "1",
    "RELAY_NATS__CONNECT_TIMEOUT_S": "1",
    "RELAY_POSTGRES__CONNECT_TIMEOUT_S": "2",
    "RELAY_POSTGRES__STATEMENT_TIMEOUT_S": "3",
    "RELAY_DELIVERY__ACK_TIMEOUT_S": "2",
    "RELAY_HEADERS__KEY": "true",
    "RELAY_HEADERS__SEQ": "true",
    "RELAY_HEADERS__CREATED_AT": "true",
    "RELAY_LOG__FORMAT": "json",
    "RELAY_LOG__LEVEL": "info",
}


def bare(stream: str | None) -> str | None:
    """Return a stream without its domain."""
    return None if stream is None else stream.rpartition("/")[2]


class World:
    """PostgreSQL, the cluster, the relays and the read side; an asynchronous context that starts and ends them.

    Args:
        directory: Where data and logs go.
        window_s: Duplicate window of ORDERS, seconds. Were a link silent for longer than this, a message could arrive
            when its id is forgotten, and after it was looked for: it would be stored twice.
        mutant: What of `tests.support.faulty_relay` the relays or the runners run with; None: as they are.
    """

    def __init__(self, directory: Path, *, relays: int = 2, window_s: float = 5.0, mutant: str | None = None) -> None:
        self._directory = directory
        self._window_s = window_s
        self._mutant = None if mutant in OF_RUNNERS else mutant
        self._count = relays
        self.postgres = PostgresServer(directory / "postgres", fsync=False, settings={"max_connections": "100"})
        self.cluster = Cluster(directory / "cluster")
        self.replicas: list[Process] = []
        self.read_side = ReadSide(directory, mutant if mutant in OF_RUNNERS else None)
        # Come and go: started by a fault alone. The second one is connected to a leaf node with a namesake of ORDERS.
        self.third: Process | None = None
        self.edge: Process | None = None
        self._leaf: NatsServer | None = None
        self._leaf_ports = [free_port() for _ in self.cluster.nodes]
        self._configs = [node.config or "" for node in self.cluster.nodes]
        self._unreadable: str | None = None
        self.max_payload = _MAX_PAYLOAD
        # Cleared while an operator keeps the applications out.
        self.may_write = asyncio.Event()
        self.may_write.set()
        # What a fault itself has shown to be wrong, in words.
        self.wrong: list[str] = []
        # What faults have done that the checker has to know.
        self.entries: list[Entry] = []

    async def __aenter__(self) -> "World":
        async with AsyncExitStack() as otherwise:
            otherwise.push_async_exit(self)
            await asyncio.to_thread(self.postgres.start)
            self._configure()
            await asyncio.to_thread(self.cluster.start)
            let_relay_in(self.postgres.dsn())
            with psycopg.connect(self.postgres.dsn()) as conn:
                migrate(conn, "outbox_events", "jsonb", bell=True)
            for name, config in STREAMS.items():
                wanted = {"duplicate_window": round(self._window_s * 1e9), **_COMMON, **config}
                await asyncio.to_thread(self.cluster.make, name, *wanted.pop("subjects"), **wanted)
            for number in range(self._count):
                self.replicas.append(await self._replica(f"r{number}", [node.port for node in self.cluster.nodes]))
                self.replicas[-1].relay.start()
            self.third = await self._replica(f"r{self._count}", [node.port for node in self.cluster.nodes])
            self._leaf = await asyncio.to_thread(self._start_leaf)
            self.edge = await self._replica("edge", [self._leaf.port])
            await self.read_side.start([node.port for node in self.cluster.nodes])
            otherwise.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        for replica in self.all_replicas():
            await replica.end()
        await self.read_side.stop()
        if self._leaf is not None:
            await asyncio.to_thread(self._leaf.kill)
        await asyncio.to_thread(self.cluster.stop)
        await asyncio.to_thread(self.postgres.kill)

    def all_replicas(self) -> list[Process]:
        """Return those that always run, and those that come and go."""
        return [*self.replicas, *(one for one in (self.third, self.edge) if one is not None)]

    def _configure(self) -> None:
        """Write down what each node of the cluster allows the relays now."""
        user, password = NATS_USER.values()
        looks = [f"$JS.API.{question}.{self._unreadable}" for question in _LOOKS]
        denied = json.dumps(looks if self._unreadable is not None else [])
        for node, config, port in zip(self.cluster.nodes, self._configs, self._leaf_ports, strict=True):
            node.config = f"""{config}
                max_payload: {self.max_payload}
                jetstream {{ domain: {DOMAIN} }}
                leafnodes {{ host: 127.0.0.1, port: {port} }}
                accounts {{ CHAOS {{ jetstream: enabled, users: [
                    {{ user: admin, password: admin }}
                    {{ user: {user}, password: {password}, permissions: {{ publish: {{ deny: {denied} }} }} }}
                ] }} }}
                no_auth_user: admin
            """

    async def reload(self, *, unreadable: str | None = None, max_payload: int | None = None) -> None:
        """Have every node read its configuration again.

        Args:
            unreadable: A stream that the relays may not look at from now on; None: they may look at each.
            max_payload: The largest message from now on, bytes; None: as it was.
        """
        self._unreadable = unreadable
        self.max_payload = max_payload or self.max_payload
        self._configure()
        for node in self.cluster.nodes:
            (node.directory / "nats.conf").write_text(node.config or "", "utf-8")
            if node.running:
                os.kill(node.pid, signal.SIGHUP)

    def _start_leaf(self) -> NatsServer:
        directory = self._directory / "leaf"
        remotes = ", ".join(f'"nats-leaf://admin:admin@127.0.0.1:{port}"' for port in self._leaf_ports)
        config = f"""
            server_name: leaf
            jetstream {{ domain: edge }}
            leafnodes {{ remotes: [ {{ urls: [{remotes}] }} ], reconnect: "500ms" }}
        """
        leaf = NatsServer(directory, config=config).start()
        Streams(leaf.url).make(*NAMESAKE)
        return leaf

    async def _replica(self, name: str, nats_ports: Sequence[int]) -> Process:
        to_postgres = await proxy_to(self.postgres.port)
        to_nats = [await proxy_to(port) for port in nats_ports]
        directory = self._directory / name
        directory.mkdir()
        settings = {
            **_RELAY,
            "RELAY_POSTGRES__DSN": f"postgresql://{LOGIN}@127.0.0.1:{to_postgres.port}/postgres",
            "RELAY_NATS__SERVERS": ",".join(f"nats://127.0.0.1:{proxy.port}" for proxy in to_nats),
            "RELAY_NATS__USER": NATS_USER["nats__user"],
            "RELAY_NATS__PASSWORD": NATS_USER["nats__password"],
            "RELAY_HTTP__PORT": str(free_port()),
        }
        if self._mutant is not None:
            settings["RELAY_TEST_MUTANT"] = self._mutant
        return Process(name, Relay(directory, settings), {"postgres": [to_postgres], "nats": to_nats})

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Keep the applications out; the relays come and go as they like."""
        self.may_write.clear()
        try:
            yield
        finally:
            self.may_write.set()

    @asynccontextmanager
    async def new_origin(self) -> AsyncIterator[None]:
        """Keep the applications out while PostgreSQL may lose commits; their seqs are then drawn in another history."""
        async with self.closed():
            yield
            await self.begin_origin()

    async def begin_origin(self) -> None:
        """Do what `relay migrate --new-origin` does."""
        await asyncio.to_thread(self._begin_origin)

    def _begin_origin(self) -> None:
        with psycopg.connect(self.postgres.dsn(), connect_timeout=3) as conn:
            new_origin(conn, "outbox_events")

    async def rows(self, query: LiteralString, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query on a connection of its own.

        Raises:
            psycopg.OperationalError: PostgreSQL does not answer.
        """
        async with await psycopg.AsyncConnection.connect(
            self.postgres.dsn(), autocommit=True, connect_timeout=3
        ) as conn:
            return await (await conn.execute(query, params or None)).fetchall()

    async def streams_lead(self) -> None:
        """Wait until every stream has a leader, and the cluster too."""
        for name in STREAMS:
            while await self.cluster.find_leader(name) is None:
                await asyncio.sleep(0.02)
        while not await self.cluster.answers():
            await asyncio.sleep(0.02)

    async def ask(self, question: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API, again and again until it answers without an error."""
        while True:
            answer = await ask_any([node.url for node in self.cluster.nodes if node.running], question, body)
            if answer and "error" not in answer:
                return answer
            await asyncio.sleep(0.05)
