"""A supervisor may signal a process and its group, and again while it ends: that is one stop, with exit code 0."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay.demo.servers import PostgresServer, launch
from relay.errors import Exit
from relay.stop_signals import SAME_WISH_S
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import STREAM, TABLES
from tests.support.fix_relay import ROOT, MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

_SPACING_S = 0.005
SERVERS = {
    "run": (["run", "--http-port", "0"], "relay.active"),
    "projection run": (["projection", "run", "trail.toml", "--http-port", "0"], "projection.claimed"),
    "console": (["console", "--console-port", "0"], "console.started"),
}


def _signals_until_it_ends(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Send a signal again and again within one wish, also while the process ends; return its exit code."""
    began = time.monotonic()
    while time.monotonic() - began < SAME_WISH_S - 0.1:
        process.send_signal(number)
        try:
            return process.wait(_SPACING_S)
        except subprocess.TimeoutExpired:
            continue
    return process.wait(20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("command", SERVERS)
def test_several_signals_at_once_stop_it_cleanly(
    database: str, streams: Streams, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    streams.make(STREAM, "orders.>")
    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    arguments, up = SERVERS[command]
    env = {"RELAY_POSTGRES__DSN": database, "RELAY_NATS__SERVERS": streams.url, "PYTHONPATH": str(ROOT), "PATH": ""}
    log = tmp_path / "log"
    process = launch([sys.executable, "-m", "relay", *arguments], log, cwd=tmp_path, env=env)
    try:
        wait_until("it is up", lambda: f'"{up}"' in log.read_text("utf-8") or process.poll() is not None, 30)
        assert _signals_until_it_ends(process, number) == 0, log.read_text("utf-8")
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text("utf-8")


@pytest.mark.parametrize("pending", [False, True], ids=["at rest", "with events"])
def test_a_stop_while_postgresql_is_frozen_ends_in_the_time_that_a_supervisor_gives(
    own_postgres: PostgresServer, streams: Streams, make_relay: MakeRelay, pending: bool
) -> None:
    shutdown_s = 1
    outbox = Outbox(own_postgres.dsn())
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, delivery__shutdown_timeout_s=str(shutdown_s)).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    if pending:
        # Some of them are stored, and cannot be marked.
        outbox.fill("orders.placed", 5_000, keys=5)
    own_postgres.pause()
    try:
        began = time.monotonic()
        relay.signal(signal.SIGTERM)
        assert relay.wait(60) == Exit.DRAIN_INCOMPLETE
        assert time.monotonic() - began < 3 * shutdown_s + 5
        assert "PostgreSQL has not confirmed" in relay.said("relay.drained_partly")["message"]
        # The log tells of what was seen: nothing was in flight, and no shard is known to be given back.
        assert ("events were in flight" in relay.said("relay.drained_partly")["message"]) <= pending
        assert "has not confirmed that the shards were given back" in relay.said("relay.stopped")["message"]
    finally:
        own_postgres.resume()
        outbox.conn.close()
