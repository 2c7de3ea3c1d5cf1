"""A log that nobody takes, and an installation that is replaced, stop no relay."""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.demo.servers import free_port
from tests.support.fix_relay import ROOT, Outbox, wait_until
from tests.support.fix_stream import Streams

Start = Callable[..., subprocess.Popen[bytes]]
# The smallest pipe that Linux makes: a line or two of the start fill it.
PIPE_BYTES = 4096


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[bytes]] = []

    def begin(dsn: str, servers: str, package: Path, stderr: int) -> subprocess.Popen[bytes]:
        env = {
            "RELAY_POSTGRES__DSN": dsn,
            "RELAY_NATS__SERVERS": servers,
            "RELAY_HTTP__PORT": str(free_port()),
            "PYTHONPATH": str(package),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": "",
        }
        # From elsewhere, so that the checkout is not the first place where modules are looked for.
        processes.append(subprocess.Popen([sys.executable, "-m", "relay", "run"], stderr=stderr, env=env, cwd=package))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def test_a_log_that_nobody_reads_stops_nothing(outbox: Outbox, streams: Streams, start: Start) -> None:
    streams.make("ORDERS", "orders.>")
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = start(outbox.dsn, streams.url, ROOT, writing)
    os.close(writing)
    try:
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
        # Each has a line in the log, of several hundred bytes.
        outbox.conn.execute(
            "INSERT INTO outbox_events (topic, key, payload, headers)"
            " SELECT 'orders.refused', 'r' || i, '{}', '{\"Nats-Msg-Id\": \"mine\"}' FROM generate_series(1, 40) i"
        )
        wait_until("they are dead", lambda: outbox.count("dead_at IS NOT NULL") == 40)
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
        room = select.poll()
        room.register(reading, select.POLLIN)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert room.poll(0), "the log had lines"
    finally:
        os.close(reading)


def test_a_relay_goes_on_if_its_installation_is_replaced(
    outbox: Outbox, streams: Streams, start: Start, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>")
    installed = tmp_path / "installed"
    shutil.copytree(ROOT / "relay", installed / "relay", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "sql", installed / "relay" / "_sql")
    with (tmp_path / "log").open("wb") as log:
        process = start(outbox.dsn, streams.url, installed, log.fileno())
    wait_until("it works", lambda: b'"relay.active"' in (tmp_path / "log").read_bytes())
    installed.rename(tmp_path / "replaced")
    for number in range(3):
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": number}))
    # Held, found dead, corrected, due: what is asked for the first time now.
    outbox.dead(outbox.insert("orders.placed", "k", {"i": 3}, {"Nats-Msg-Id": "mine"}))
    held = outbox.insert("nowhere.x", "h", {"i": 4})
    wait_until("it is held", lambda: outbox.row(held)["last_error"])
    streams.make("NOWHERE", "nowhere.>")
    outbox.delivered(held)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, (tmp_path / "log").read_text("utf-8")
    assert "Traceback" not in (tmp_path / "log").read_text("utf-8")
