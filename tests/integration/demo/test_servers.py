"""The embedded servers: ready when started, the same after a crash, and gone when nobody needs them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from nats.aio.client import Client

from relay.demo.servers import NatsServer, PostgresServer, ServerError, free_port, launch
from tests.support.processes import alive, gone, linux_alone

_BOTH = """
import signal, sys
from pathlib import Path
from relay.demo.servers import NatsServer, PostgresServer
directory = Path(sys.argv[1])
with PostgresServer(directory / "postgres", fsync=False) as postgres, NatsServer(directory / "nats") as nats:
    print(postgres.pid, nats.pid, flush=True)
    signal.pause()
"""


def _rows(server: PostgresServer) -> list[int]:
    with psycopg.connect(server.dsn()) as conn:
        return [row[0] for row in conn.execute("SELECT n FROM kept ORDER BY n").fetchall()]


def test_postgres_keeps_its_rows_and_its_port_over_stop_crash_and_kill(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres") as server:
        port = server.port
        with psycopg.connect(server.dsn()) as conn:
            conn.execute("CREATE TABLE kept (n int)")
        for n, end in enumerate((server.stop, lambda: server.stop("immediate"), server.kill)):
            with psycopg.connect(server.dsn()) as conn:
                conn.execute("INSERT INTO kept VALUES (%s)", (n,))
            pid = server.pid
            end()
            assert not alive({pid})
            assert not server.running
            server.start()
            assert server.port == port
            assert _rows(server) == list(range(n + 1))


async def _publish(url: str) -> int:
    client = Client()
    await client.connect(url, allow_reconnect=False)
    js = client.jetstream()
    await js.add_stream(name="KEPT", subjects=["kept"])
    sequence = (await js.publish("kept", b"")).seq
    await client.close()
    return sequence


def test_nats_keeps_its_messages_and_its_port_over_stop_and_kill(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as server:
        url = server.url
        for n, end in enumerate((server.stop, server.kill)):
            assert asyncio.run(_publish(url)) == n + 1
            pid = server.pid
            end()
            assert not alive({pid})
            server.start()
        assert asyncio.run(_publish(url)) == 3


def test_a_frozen_server_stays_connected_and_silent_until_it_goes_on(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as server:
        server.pause()
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as sock:
            with pytest.raises(TimeoutError):
                sock.recv(1)
            server.resume()
            sock.settimeout(5)
            assert sock.recv(4) == b"INFO"


def test_a_frozen_server_can_be_stopped(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres", fsync=False) as server:
        for end in (server.stop, server.kill):
            pid = server.pid
            server.pause()
            end()
            assert not alive({pid})
            server.start()


def test_a_config_is_taken(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", config='authorization { token: "s3cret" }')
    with server, socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        assert b'"auth_required":true' in sock.recv(4096)


def test_a_server_that_does_not_start_says_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="NatsServer did not start"):
        NatsServer(tmp_path / "nats", config="no such thing {").start()
    with pytest.raises(ServerError, match="no_such_setting"):
        PostgresServer(tmp_path / "postgres", settings={"no_such_setting": "1"}).start()


def test_a_machine_without_user_namespaces_is_named_to_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = tmp_path / "bin" / "unshare"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho unshare: Operation not permitted >&2\nexit 1\n", "utf-8")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(refusing.parent), prepend=os.pathsep)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ServerError, match=r"be another user.*\n.*not permitted"):
        PostgresServer(tmp_path / "postgres").start()


@linux_alone
def test_the_servers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _BOTH, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = {int(pid) for pid in parent.stdout.readline().split()}
        running = alive(pids)
        parent.send_signal(signal.SIGKILL)
    assert len(running) == 2
    assert gone(pids)


def test_what_is_launched_is_out_of_reach_of_the_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid(), os.environ['WORD'])"]
    assert launch(command, tmp_path / "log", env={"WORD": "here"}).wait() == 0
    assert (tmp_path / "log").read_text("utf-8") == "True here\n"


def test_no_free_port_is_one_that_an_outgoing_connection_could_take() -> None:
    assert all(20_000 <= free_port() < 32_000 for _ in range(20))


def test_a_port_is_not_given_again_while_its_server_may_be_down() -> None:
    assert len({free_port() for _ in range(200)}) == 200
