"""What the examples run on: embedded servers, the relay, a runner of projections, and a line a second about them."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from relay.demo.redis_server import RedisServer
from relay.demo.servers import NatsServer, PostgresServer, launch
from relay.postgres.migrate import migrate

_STOPS_WITHIN_S = 15.0
# The relay says up to when its stream is complete, and a projection up to when it has settled that.
_COMMON = {"RELAY_WATERMARK__SUBJECT": "outbox.watermark", "RELAY_LOG__FORMAT": "json"}


class Process:
    """A process of the relay's command line that can be killed and started again."""

    def __init__(self, args: list[str], log: Path, environ: Mapping[str, str]) -> None:
        self._args = args
        self.log = log
        self._environ = environ
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return launch([sys.executable, "-m", "relay", *self._args], self.log, env=self._environ)

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text("utf-8", "replace")[-2000:]

    def kill(self) -> None:
        """End it without a chance to do anything (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start it again."""
        self._process = self._start()

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            RuntimeError: It has ended; with what it said last.
        """
        if self._process.poll() is not None:
            raise RuntimeError(f"relay {self._args[0]} has ended:\n{self.last_words}")

    def stop(self) -> None:
        """Have it end, by force if need be."""
        self._process.terminate()
        try:
            self._process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()


class World:
    """Servers and processes of one example; `world` makes it.

    Attributes:
        write_dsn: The database of the commands, with the outbox in it.
        read_dsn: The database of the read models.
    """

    def __init__(self, folder: Path, postgres: PostgresServer, nats: NatsServer, redis: RedisServer) -> None:
        self.nats = nats
        self.redis = redis
        self.write_dsn = postgres.dsn("write")
        self.read_dsn = postgres.dsn("read")
        self._folder = folder
        with psycopg.connect(postgres.dsn(), autocommit=True) as conn:
            for name in ("write", "read"):
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(self.write_dsn) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)

    def relay(self, stream: str, subjects: str) -> Process:
        """Start the relay: it makes the stream, and sends what a projection needs to tell events apart."""
        extra = {
            "RELAY_POSTGRES__DSN": self.write_dsn,
            "RELAY_STREAM__MANAGE": "true",
            "RELAY_STREAM__NAME": stream,
            "RELAY_STREAM__SUBJECTS": subjects,
            "RELAY_HEADERS__KEY": "true",
            "RELAY_HEADERS__SEQ": "true",
            "RELAY_HEADERS__CREATED_AT": "true",
            "RELAY_HTTP__PORT": "0",
        }
        return Process(["run"], self._folder / "relay.log", self._environ(extra))

    def runner(self, projections: Path) -> Process:
        """Start a runner of the projections of a folder."""
        extra = {"RELAY_POSTGRES__DSN": self.read_dsn, "RELAY_REDIS__URL": self.redis.url}
        return Process(
            ["projection", "run", str(projections), "--http-port", "0"],
            self._folder / "runner.log",
            self._environ(extra),
        )

    def _environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        foreign = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "PG"))}
        return {**foreign, "RELAY_NATS__SERVERS": self.nats.url, **_COMMON, **extra}


@contextmanager
def world(*, with_redis: bool = False) -> Iterator[World]:
    """Start the servers; at the end no process and no file of them is left."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-example-")))
        postgres = stack.enter_context(PostgresServer(folder / "postgres"))
        nats = stack.enter_context(NatsServer(folder / "nats"))
        redis = RedisServer(folder / "redis")
        if with_redis:
            stack.enter_context(redis)
        yield World(folder, postgres, nats, redis)


class Show:
    """Calls faults at their time, and prints a line a second."""

    def __init__(self, seconds: float, faults: Mapping[str, tuple[float, Callable[[], object]]]) -> None:
        self._began_at = time.monotonic()
        self._seconds = seconds
        self._faults = dict(faults)
        self._told_at = float("-inf")

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.elapsed_s >= self._seconds

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_at

    def beat(self, line: Callable[[], str]) -> None:
        """Do what is due."""
        for name, (share, act) in list(self._faults.items()):
            if self.elapsed_s >= share * self._seconds:
                del self._faults[name]
                self.say(name)
                act()
        if self.elapsed_s - self._told_at >= 1:
            self._told_at = self.elapsed_s
            self.say(line())

    def say(self, text: str) -> None:
        """Print a line with the time."""
        print(f"{int(self.elapsed_s) // 60}:{int(self.elapsed_s) % 60:02}  {text}", flush=True)
