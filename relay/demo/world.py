"""Everything the demo runs on, in a temporary directory: servers, databases, the real relay, and its projection."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from relay.demo.servers import NatsServer, PostgresServer, free_port, launch
from relay.errors import RelayError
from relay.postgres.migrate import migrate

_SHOP = "shop"
_READ_MODEL = "read_model"
_STREAM = "ORDERS"
_SUBJECTS = "orders.>"
_PROJECTIONS = Path(__file__).parent / "projections"
_STOPS_WITHIN_S = 15.0


@dataclass(frozen=True)
class Process:
    """A command of the relay that runs until it is told to stop; `name` is what it is called when it has ended."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            RelayError: It has ended; with what it said last.
        """
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text("utf-8", "replace")[-2000:]
            raise RelayError(f"{self.name} has ended with exit code {code}:\n{tail}")

    def stop(self) -> None:
        """Have it end, by force if need be."""
        self.process.terminate()
        try:
            self.process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class World:
    """What runs, and where it is found.

    Attributes:
        shop_dsn: The database with the outbox in it.
        list_dsn: The database of the read model.
        http_port: Where the relay serves its metrics.
    """

    nats: NatsServer
    shop_dsn: str
    list_dsn: str
    http_port: int
    processes: tuple[Process, ...]

    def check(self) -> None:
        """Make sure that the relay and the runner of the projection run.

        Raises:
            RelayError: One has ended; with what it said last.
        """
        for one in self.processes:
            one.check()


@contextmanager
def world() -> Iterator[World]:
    """Start everything; at the end no process and no file of it is left."""
    with (
        tempfile.TemporaryDirectory(prefix="relay-demo-") as name,
        PostgresServer(Path(name) / "postgres") as postgres,
        NatsServer(Path(name) / "nats") as nats,
    ):
        with psycopg.connect(postgres.dsn(), autocommit=True) as conn:
            for database in (_SHOP, _READ_MODEL):
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        with psycopg.connect(postgres.dsn(_SHOP)) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)
        http_port = free_port()
        common = environment(nats.url)
        relay = start(
            "the relay",
            ["run"],
            Path(name) / "relay.log",
            {**common, "RELAY_POSTGRES__DSN": postgres.dsn(_SHOP), "RELAY_HTTP__PORT": str(http_port)},
        )
        runner = start(
            "the projection",
            ["projection", "run", str(_PROJECTIONS), "--http-port", "0"],
            Path(name) / "projection.log",
            {**common, "RELAY_POSTGRES__DSN": postgres.dsn(_READ_MODEL)},
        )
        try:
            yield World(nats, postgres.dsn(_SHOP), postgres.dsn(_READ_MODEL), http_port, (relay, runner))
        finally:
            runner.stop()
            relay.stop()


def start(name: str, args: list[str], log: Path, environ: dict[str, str]) -> Process:
    """Start a command of the relay, with this environment and no other."""
    return Process(name, launch([sys.executable, "-m", "relay", *args], log, env=environ), log)


def environment(url: str) -> dict[str, str]:
    """Configure a command of the relay by the environment alone, and by nothing that was there before."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "PG"))}
    return {
        **foreign,
        "RELAY_NATS__SERVERS": url,
        "RELAY_STREAM__MANAGE": "true",
        "RELAY_STREAM__NAME": _STREAM,
        "RELAY_STREAM__SUBJECTS": _SUBJECTS,
        # What a projection tells events apart by.
        "RELAY_HEADERS__KEY": "true",
        "RELAY_HEADERS__SEQ": "true",
        "RELAY_HEADERS__CREATED_AT": "true",
        "RELAY_LOG__FORMAT": "json",
    }
