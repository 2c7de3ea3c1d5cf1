"""The servers of a run, an outbox in a known state, and the processes that work on it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, LiteralString

import nats
import psycopg
from nats.js.errors import APIError, NotFoundError
from psycopg import sql

from relay.demo.servers import NatsServer, PostgresServer, free_port
from relay.postgres.migrate import migrate

ROOT = Path(__file__).parents[1]
STREAM = "BENCH"
SUBJECTS = "orders.>"
_WAIT_S = 900.0
_START_S = 30.0

# 256 bytes of JSON text, 1,000 keys.
_ROWS: LiteralString = """
    INSERT INTO outbox_events (delivered_at, stream, stream_seq, topic, key, payload)
    SELECT {marks},
           'orders.placed',
           'k' || mod(i, 1000),
           jsonb_build_object('id', lpad(i::text, 9, '0'), 'note', repeat(md5(i::text), 6) || repeat('x', 33))
    FROM generate_series(1, %s::bigint) i
"""
_PENDING = _ROWS.format(marks="NULL, NULL, NULL::bigint")
_DELIVERED = _ROWS.format(marks="now(), 'BENCH', i")


class World:
    """A PostgreSQL and a NATS of this run.

    Checkpoints come only if a scenario asks for them, so that none falls into one contender's time and not
    into the other's.

    Args:
        directory: Where data and logs go.
        further: Further settings of PostgreSQL.
        copies: So many nodes of NATS make a cluster, and each has a copy of the stream.

    Attributes:
        nats: The node that is connected to.
        nodes: All of them.
    """

    def __init__(self, directory: Path, further: Mapping[str, str] | None = None, copies: int = 1) -> None:
        settings = {"checkpoint_timeout": "1h", "max_wal_size": "16GB", **(further or {})}
        self.postgres = PostgresServer(directory / "postgres", fsync=True, settings=settings)
        self.nodes = [NatsServer(directory / "nats")] if copies == 1 else _cluster(directory, copies)
        self.nats = self.nodes[0]
        self._logs = directory
        self._database = "postgres"

    def __enter__(self) -> "World":
        self.postgres.start()
        for node in self.nodes:
            node.start()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()
        self.postgres.stop("immediate")

    @property
    def dsn(self) -> str:
        """Where the outbox is."""
        return self.postgres.dsn(self._database)

    def use(self, database: str) -> bool:
        """Work in another database from now on; True if it was made just now."""
        self._database = "postgres"
        with self.connect() as conn:
            known = conn.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone()
            if known is None:
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        self._database = database
        return known is None

    def forget_databases(self) -> None:
        """Drop what scenarios have left: all of it together, with the WAL, would fill the disks of many machines."""
        self._database = "postgres"
        with self.connect() as conn:
            made = conn.execute("SELECT datname FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate")
            for (name,) in made.fetchall():
                conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            conn.execute("CHECKPOINT")

    def connect(self) -> psycopg.Connection[Any]:
        """Open a connection in autocommit."""
        return psycopg.connect(self.dsn, autocommit=True)

    def ask(self, query: LiteralString) -> Any:
        """Return the one value of a query."""
        with self.connect() as conn:
            row = conn.execute(query).fetchone()
            return row[0] if row else None

    def versions(self) -> dict[str, str]:
        """Name what was measured."""
        return {
            "python": ".".join(map(str, sys.version_info[:3])),
            "postgresql": str(self.ask("SHOW server_version")),
            "nats-server": asyncio.run(_version(self.nats.url)),
            "nats-py": metadata.version("nats-py"),
            "psycopg": metadata.version("psycopg"),
        }

    def empty_outbox(self, delivered: int = 0, *, bell: bool = True) -> None:
        """Make a new outbox, with `delivered` rows that an earlier relay has marked, vacuumed."""
        with self.connect() as conn:
            conn.execute("DROP SCHEMA public CASCADE")
            conn.execute("CREATE SCHEMA public")
            migrate(conn, "outbox_events", "jsonb", bell)
            if delivered:
                conn.execute(_DELIVERED, (delivered,))
                conn.execute("UPDATE outbox_shards SET watermark = (SELECT max(seq) FROM outbox_events)")
            conn.execute("VACUUM ANALYZE outbox_events")

    def fill(self, rows: int) -> range:
        """Add pending rows, and do what autovacuum and the checkpointer would sooner or later do; return their seqs."""
        with self.connect() as conn:
            before = conn.execute("SELECT coalesce(max(seq), 0) FROM outbox_events").fetchone()
            conn.execute(_PENDING, (rows,))
            after = conn.execute("SELECT max(seq) FROM outbox_events").fetchone()
            conn.execute("VACUUM ANALYZE outbox_events")
            conn.execute("CHECKPOINT")
        assert before is not None
        assert after is not None
        return range(before[0] + 1, after[0] + 1)

    def stream(self, *, atomic: bool, direct: bool = False) -> None:
        """Make a new stream, with a copy on each node."""
        asyncio.run(_make_stream(self.nats.url, atomic, direct, len(self.nodes)))

    def forget_streams(self) -> None:
        """Have the next relay not miss what the stream held before it was made again: it would send all of it again."""
        with self.connect() as conn:
            conn.execute("DELETE FROM outbox_streams")

    @contextmanager
    def relay(self, settings: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Run the real ``relay run`` beside the block; afterwards it is asked to stop, and must end well."""
        with self._command(["relay", "run"], settings or {}) as process:
            yield process

    @contextmanager
    def projections(
        self, *sources: Path, settings: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run the real ``relay projection run`` beside the block, by the rule of `relay`.

        Args:
            sources: Files of projections, and folders of them.
        """
        with self._command(["relay", "projection", "run", *map(str, sources)], settings or {}) as process:
            yield process

    @contextmanager
    def console(self, settings: Mapping[str, str]) -> Iterator[tuple[int, str]]:
        """Run the real ``relay console`` beside the block; yield its process id and the link that lets in."""
        log = self._logs / "contender.log"
        before = log.stat().st_size if log.exists() else 0
        with self._command(["relay", "console"], {"RELAY_CONSOLE__PORT": "0", **settings}) as process:
            deadline = time.monotonic() + _START_S
            while (link := re.search(rb"^http://\S+$", log.read_bytes()[before:], re.MULTILINE)) is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"relay console did not start: {self._tail()}")
                time.sleep(0.05)
            yield process.pid, link[0].decode()

    @contextmanager
    def program(self, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program of the benchmark beside the block."""
        with self._process([module, *arguments], dict(os.environ)) as process:
            yield process

    @contextmanager
    def _command(self, module: list[str], settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        environment |= {
            "RELAY_POSTGRES__DSN": self.dsn,
            "RELAY_NATS__SERVERS": ",".join(node.url for node in self.nodes),
            "RELAY_HTTP__PORT": "0",
            "RELAY_PROJECTION_HTTP__PORT": "0",
            "RELAY_LOG__FORMAT": "json",
            **settings,
        }
        with self._process(module, environment) as process:
            yield process
            # Whoever killed it in the block has no use for its exit code.
            if process.poll() == -signal.SIGKILL:
                return
            process.send_signal(signal.SIGTERM)
            if process.wait(30) != 0:
                raise RuntimeError(f"{' '.join(module)} ended with {process.returncode}: {self._tail()}")

    @contextmanager
    def _process(self, module: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        # Appended to: two contenders may be at work at once.
        with (self._logs / "contender.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _tail(self) -> str:
        return (self._logs / "contender.log").read_text("utf-8", "replace")[-2000:]

    def wait_until_drained(self, process: subprocess.Popen[bytes], seqs: range) -> None:
        """Wait until the last of the rows and then every one is delivered.

        Looks at one row by its key, ten times a second: no work that the contender would notice.

        Raises:
            RuntimeError: The process has ended, or the time is up.
        """
        deadline = time.monotonic() + _WAIT_S
        pending: LiteralString = (
            "SELECT count(*) FROM outbox_events WHERE seq BETWEEN %s AND %s AND delivered_at IS NULL"
        )
        first = seqs[-1]
        with self.connect() as conn:
            while True:
                row = conn.execute(pending, (first, seqs[-1])).fetchone()
                if row == (0,):
                    if first == seqs[0]:
                        return
                    first = seqs[0]
                    continue
                code = process.poll()
                if code or time.monotonic() > deadline:
                    raise RuntimeError(f"the outbox was not drained (exit {code}): {self._tail()}")
                time.sleep(0.1)

    def wait_until_empty(self) -> None:
        """Wait until nothing is pending, looking at the whole table ten times a second.

        Raises:
            RuntimeError: The time is up.
        """
        deadline = time.monotonic() + _WAIT_S
        while self.ask("SELECT EXISTS (SELECT FROM outbox_events WHERE delivered_at IS NULL)"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the outbox was not drained: {self._tail()}")
            time.sleep(0.1)

    def drain_rate(self, seqs: range) -> float:
        """Return the events a second of a drain, from the marks on its rows.

        The clock starts when the first UPDATE has marked its last row and stops with the last mark of all. The
        rows of that first UPDATE are not counted: starting and connecting are no part of the rate, and the size
        of a contender's batches does not bias it.
        """
        with self.connect() as conn:
            marks = conn.execute(
                "SELECT count(*), extract(epoch FROM max(delivered_at))::float8 FROM outbox_events"
                " WHERE seq BETWEEN %s AND %s GROUP BY xmin ORDER BY 2",
                (seqs[0], seqs[-1]),
            ).fetchall()
        counted = sum(rows for rows, _ in marks[1:])
        return float(counted / (marks[-1][1] - marks[0][1]))


async def _version(url: str) -> str:
    client = await nats.connect(url)
    version = client.connected_server_version
    await client.close()
    return f"{version.major}.{version.minor}.{version.patch}"


def _cluster(directory: Path, size: int) -> list[NatsServer]:
    ports = [free_port() for _ in range(size)]
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
    return [
        NatsServer(
            directory / f"nats{number}",
            config=f'server_name: n{number}\ncluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n',
        )
        for number, port in enumerate(ports)
    ]


async def _make_stream(url: str, atomic: bool, direct: bool, copies: int) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with suppress(NotFoundError):
                await js.delete_stream(STREAM)
            await js.add_stream(
                name=STREAM, subjects=[SUBJECTS], allow_atomic=atomic, allow_direct=direct, num_replicas=copies
            )
            break
        except (APIError, TimeoutError):
            # The nodes of a cluster may still look for each other.
            if copies == 1 or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
    await client.close()
