"""Everything the demo runs on, in a temporary directory: servers, databases, and the real ``relay run``."""

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

from relay.demo.order_list import STREAM, SUBJECTS
from relay.demo.servers import NatsServer, PostgresServer, free_port, launch
from relay.errors import RelayError
from relay.postgres.migrate import migrate

_SHOP = "shop"
_READ_MODEL = "read_model"
_RELAY_STOPS_WITHIN_S = 15.0


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
    relay: subprocess.Popen[bytes]
    relay_log: Path

    def check(self) -> None:
        """Make sure that the relay runs.

        Raises:
            RelayError: It has ended; with what it said last.
        """
        code = self.relay.poll()
        if code is not None:
            tail = self.relay_log.read_text("utf-8", "replace")[-2000:]
            raise RelayError(f"the relay has ended with exit code {code}:\n{tail}")


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
        log = Path(name) / "relay.log"
        relay = launch(
            [sys.executable, "-m", "relay", "run"], log, env=_environment(postgres.dsn(_SHOP), nats.url, http_port)
        )
        try:
            yield World(nats, postgres.dsn(_SHOP), postgres.dsn(_READ_MODEL), http_port, relay, log)
        finally:
            _stop(relay)


def _environment(dsn: str, url: str, http_port: int) -> dict[str, str]:
    """Configure the relay by the environment alone, and by nothing that was there before."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "PG"))}
    return {
        **foreign,
        "RELAY_POSTGRES__DSN": dsn,
        "RELAY_NATS__SERVERS": url,
        "RELAY_STREAM__MANAGE": "true",
        "RELAY_STREAM__NAME": STREAM,
        "RELAY_STREAM__SUBJECTS": SUBJECTS,
        "RELAY_HTTP__PORT": str(http_port),
        "RELAY_LOG__FORMAT": "json",
    }


def _stop(relay: subprocess.Popen[bytes]) -> None:
    relay.terminate()
    try:
        relay.wait(_RELAY_STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        relay.kill()
        relay.wait()
