"""The broker has no room left: events wait, none dies, and with room again all of them flow.

Two ways to make it: JetStream's own limit (``max_file_store``), and a disk that is full. The disk is a file system in
memory of a few MB that only this nats-server sees, mounted in namespaces of its own, so it needs no root; a machine
that lets nobody make such namespaces fails the test and does not pass it over.
"""

import errno
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer
from tests.faults.relay_midway import ALERT, ends_well
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams

KEYS = 20
_DISK_BYTES = 24 * 1024 * 1024
_PIECE = b"\0" * 65_536
_STORE_LIMIT_BYTES = 2 * 1024 * 1024


class SmallDisk:
    """A file system in memory that lives as long as the process that holds its namespaces.

    Args:
        directory: Where it is mounted, as those see it who enter.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        mount = f'mount -t tmpfs -o size={_DISK_BYTES} tmpfs "$0" && echo mounted && exec sleep infinity'
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(directory)]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline().strip()
        assert said == "mounted", f"no file system of a few MB can be made here: {said}"
        self._ballast = Path(f"/proc/{self._holder.pid}/root{directory}/ballast")

    def command(self, file: Path, binary: str) -> Path:
        """Write a script that runs a program inside; return its path."""
        enter = f"nsenter --target {self._holder.pid} --user --mount --preserve-credentials --"
        file.write_text(f'#!/bin/sh\nexec {enter} {binary} "$@"\n', "ascii")
        file.chmod(0o755)
        return file

    def fill(self) -> None:
        """Take all the room that is left."""
        with pytest.raises(OSError, check=lambda error: error.errno == errno.ENOSPC):
            self._write_for_ever()

    def _write_for_ever(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            while ballast.write(_PIECE):
                pass

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def end(self) -> None:
        """Take it away."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk where the store of `small_nats` is."""
    one = SmallDisk(tmp_path / "nats" / "jetstream")
    yield one
    one.end()


@pytest.fixture
def small_nats(tmp_path: Path, disk: SmallDisk) -> Iterator[NatsServer]:
    """A nats-server whose store is on a disk of a few MB."""
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    with NatsServer(tmp_path / "nats", binary=disk.command(tmp_path / "nats-server", str(installed))) as server:
        yield server


def more(outbox: Outbox) -> None:
    """Add 3,000 events of 1 kB to the first 500 of `Outbox.fill`."""
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload) SELECT 'orders.placed', 'k' || mod(i, %s),"
        " jsonb_build_object('i', i, 'x', repeat('x', 1000)) FROM generate_series(501, 3500) i",
        (KEYS,),
    )


def test_a_disk_that_is_full_costs_time_and_no_event(
    outbox: Outbox, small_nats: NatsServer, disk: SmallDisk, make_relay: MakeRelay
) -> None:
    streams = Streams(small_nats.url)
    streams.make("ORDERS", "orders.>")
    outbox.fill("orders.placed", 500, KEYS)
    relay = make_relay(outbox.dsn, small_nats.url, delivery__ack_timeout_s="1", **ALERT).start()
    outbox.drained()
    disk.fill()
    more(outbox)
    assert relay.said("hold.opened")["failure_class"] == "outage"
    disk.free()
    # After an error of writing the stream takes nothing until its server is started again.
    small_nats.stop()
    small_nats.start()
    ends_well(outbox, streams, relay, 3500, KEYS)


def test_a_store_at_its_limit_costs_time_and_no_event(outbox: Outbox, tmp_path: Path, make_relay: MakeRelay) -> None:
    with NatsServer(tmp_path / "nats", config=f"jetstream {{ max_file_store: {_STORE_LIMIT_BYTES} }}\n") as server:
        streams = Streams(server.url)
        streams.make("ORDERS", "orders.>")
        outbox.fill("orders.placed", 500, KEYS)
        relay = make_relay(outbox.dsn, server.url, **ALERT).start()
        outbox.drained()
        more(outbox)
        more_than_fits = relay.said("hold.opened")
        assert more_than_fits["failure_class"] in ("outage", "capacity"), more_than_fits
        assert 500 < streams.messages("ORDERS") < 3500
        server.stop()
        server.config = None
        server.start()
        ends_well(outbox, streams, relay, 3500, KEYS)
