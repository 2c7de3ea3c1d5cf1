"""The real daemon as a process, and the two ends it connects, as a test sees them."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from relay.demo.servers import free_port
from tests.support import forks
from tests.support.fix_rights import LOGIN, NATS_USER, as_relay

TIMEOUT_S = 30.0
ROOT = Path(__file__).parents[2]
_IDENTITIES = {"nats__user", "nats__token", "nats__token_file", "nats__nkey_seed_file", "nats__creds_file"}


def wait_until(what: str, holds: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until something holds; fail the test with `what` if it never does.

    The longer it takes the more seldom it is looked, up to ten times a second: a look often reads a whole table.
    """
    began = time.monotonic()
    while not holds():
        waited = time.monotonic() - began
        if waited > timeout_s:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(min(0.02 + waited / 20, 0.1))


def holds_for(seconds: float, what: str, holds: Callable[[], object]) -> None:
    """Watch for a while that something holds all the time; fail the test with `what` if it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert holds(), f"no longer so: {what}"
        time.sleep(0.05)


# Small enough that a drain of some thousand events takes a while, and is met in its middle.
SLOWLY = {"delivery__fetch_batch": "100", "delivery__window": "20", "delivery__atomic_batch": "20"}


class Relay:
    """A daemon that can be stopped, killed, frozen and started again.

    Args:
        directory: Where its log goes.
        settings: Its environment; with any ``RELAY_TEST_`` among them it runs as `tests.support.faulty_relay`.
        arguments: What it is told to do.
    """

    def __init__(self, directory: Path, settings: dict[str, str], arguments: Sequence[str] = ("run",)) -> None:
        self._settings = settings
        self._arguments = arguments
        self._log = directory / "relay.log"
        self.target = f"127.0.0.1:{settings['RELAY_HTTP__PORT']}"
        self._process: subprocess.Popen[bytes] | forks.Fork | None = None

    def start(self) -> "Relay":
        """Start it; return itself."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        what = forks.Start(self._module, [*self._arguments], str(self._log), inherited | self._settings)
        self._process = forks.start(what)
        return self

    @property
    def _module(self) -> str:
        return (
            "tests.support.faulty_relay" if any(name.startswith("RELAY_TEST_") for name in self._settings) else "relay"
        )

    def patch(self, **environ: str) -> None:
        """Run with faults of `tests.support.faulty_relay` from the next start on, as ``patch(failpoint=...)``."""
        for name in [name for name in self._settings if name.startswith("RELAY_TEST_")]:
            del self._settings[name]
        self._settings |= {f"RELAY_TEST_{name.upper()}": value for name, value in environ.items()}

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Await its end and give the exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def ends_within(self, seconds: float) -> bool:
        """Wait for a while, and report whether it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(seconds)
        return not self.running

    def stop(self) -> int:
        """Stop it with SIGTERM and give the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.signal(signal.SIGKILL)
        self.wait()

    def end(self) -> None:
        """Leave no process behind, whatever the test did."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def lines(self, action: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of the log, or those of one action."""
        text = self._log.read_text("utf-8") if self._log.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if action is None or line["action"] == action]

    def text(self) -> str:
        """Return the whole log as it stands."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def said(self, action: str, times: int = 1) -> dict[str, Any]:
        """Wait until the log has so many lines of an action; return the last of these."""
        wait_until(f"log line {action}", lambda: len(self.lines(action)) >= times)
        return self.lines(action)[times - 1]

    def get(self, path: str) -> tuple[int, str]:
        """Ask the HTTP server; return status and body, 0 if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.target}{path}", timeout=5) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""


MakeRelay = Callable[..., Relay]


@pytest.fixture
def make_relay(tmp_path: Path) -> Iterator[MakeRelay]:
    """Make daemons: ``make_relay(dsn, nats_url, delivery__window="10")``; what still runs is killed at the end.

    They log in with the least rights (tests.support.fix_rights), but for one that is to manage its stream.
    """
    made: list[Relay] = []

    def make(dsn: str, servers: str, **settings: str) -> Relay:
        if "stream__manage" not in settings and "@" not in servers and not _IDENTITIES & settings.keys():
            settings = NATS_USER | settings
        environment = {
            "RELAY_POSTGRES__DSN": as_relay(dsn),
            "RELAY_NATS__SERVERS": servers,
            "RELAY_HTTP__PORT": str(free_port()),
            "RELAY_LOG__FORMAT": "json",
            **{f"RELAY_{name.upper()}": value for name, value in settings.items()},
        }
        directory = tmp_path / f"relay{len(made)}"
        directory.mkdir()
        made.append(Relay(directory, environment))
        return made[-1]

    yield make
    for relay in made:
        relay.end()
    for relay in made:
        assert "Traceback" not in relay.text(), relay.text()[-3000:]


class Outbox:
    """The outbox as an application and an operator use it."""

    def __init__(self, dsn: str, table: str = "outbox_events") -> None:
        self.dsn = dsn
        self._table = table
        self.conn = psycopg.connect(dsn, autocommit=True)

    def reconnect(self) -> None:
        """Connect again, after the server was stopped."""
        self.conn.close()
        self.conn = psycopg.connect(self.dsn, autocommit=True)

    def insert(
        self, topic: str, key: str | None = None, payload: object = None, headers: Mapping[str, object] | None = None
    ) -> int:
        """Insert one event and commit; return its seq."""
        row = self.conn.execute(
            f"INSERT INTO {self._table} (topic, key, payload, headers) VALUES (%s, %s, %s, %s) RETURNING seq",
            (topic, key, json.dumps(payload), None if headers is None else json.dumps(headers)),
        ).fetchone()
        assert row is not None
        return int(row[0])

    def fill(self, topic: str, events: int, keys: int) -> None:
        """Insert many events at once; payload ``{"i": 1}`` and on, key ``k0`` to ``k<keys - 1>``."""
        self.conn.execute(
            f"INSERT INTO {self._table} (topic, key, payload)"
            " SELECT %s, 'k' || mod(i, %s), jsonb_build_object('i', i) FROM generate_series(1, %s) i",
            (topic, keys, events),
        )

    def count(self, where: str) -> int:
        """Count the rows for which a condition holds."""
        row = self.conn.execute(f"SELECT count(*) FROM {self._table} WHERE {where}".encode()).fetchone()
        assert row is not None
        return int(row[0])

    def row(self, seq: int) -> dict[str, Any]:
        """Return every column of one row."""
        with self.conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            found = cursor.execute(f"SELECT * FROM {self._table} WHERE seq = %s".encode(), (seq,)).fetchone()
        assert found is not None
        return found

    def leases_run_out(self, ended: int | None = None) -> None:
        """Let time pass for relays that are gone: their leases run out, and they count as members no more.

        Args:
            ended: How many relays in a row are said to have crashed; None: as it is.
        """
        self.conn.execute("DELETE FROM outbox_members")
        self.conn.execute("UPDATE outbox_shards SET lease_until = '-infinity'")
        if ended is not None:
            self.conn.execute("UPDATE outbox_shards SET owner = NULL, crashes = %s", (ended,))

    def killed_relays_are_gone(self) -> None:
        """Wait until the sessions of killed relays have ended: what they had asked for may be done after the kill."""
        left = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
        wait_until("no session of a relay", lambda: not self.conn.execute(left, (LOGIN,)).fetchall())

    def marks(self) -> dict[int, str]:
        """Return the id of the event at each sequence of its stream, as the marks name it."""
        return dict(self.conn.execute(f"SELECT stream_seq, id::text FROM {self._table}".encode()).fetchall())

    def delivered_at_least(self, events: int) -> None:
        """Wait until so many events are marked."""
        wait_until(f"{events} events delivered", lambda: self.count("delivered_at IS NOT NULL") >= events)

    def drained(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until no event is pending."""
        wait_until("no event pending", lambda: self.count("delivered_at IS NULL AND dead_at IS NULL") == 0, timeout_s)

    def dead(self, seq: int) -> str:
        """Wait until an event is a dead letter; return the reason."""
        wait_until(f"event {seq} dead", lambda: self.row(seq)["dead_at"] is not None)
        return str(self.row(seq)["last_error"])

    def delivered(self, seq: int, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until an event is delivered."""
        wait_until(f"event {seq} delivered", lambda: self.row(seq)["delivered_at"] is not None, timeout_s)


@pytest.fixture
def outbox(database: str) -> Iterator[Outbox]:
    """The outbox of the test's own database."""
    one = Outbox(database)
    yield one
    one.conn.close()
