"""A real PgBouncer in front of a PostgreSQL of the test's own."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from relay.demo.servers import PostgresServer, free_port, launch
from tests.support.fix_relay import wait_until
from tests.support.fix_rights import LOGIN
from tests.support.programs import libraries, program

Mode = Literal["session", "transaction"]
MakePooler = Callable[[PostgresServer, Mode], str]


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[MakePooler]:
    """Make poolers: ``pooler(server, "transaction")`` gives the relay's address through it."""
    pgbouncer = program("pgbouncer")
    running: list[subprocess.Popen[bytes]] = []

    def make(server: PostgresServer, mode: Mode) -> str:
        port, users, config = free_port(), tmp_path / "users.txt", tmp_path / "pgbouncer.ini"
        users.write_text(f'"{LOGIN}" ""\n"postgres" ""\n', "utf-8")
        config.write_text(
            f"""
            [databases]
            postgres = host=127.0.0.1 port={server.port} dbname=postgres
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = trust
            auth_file = {users}
            pool_mode = {mode}
            """,
            "utf-8",
        )
        # It does not run as root.
        nobody = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"] if os.geteuid() == 0 else []
        running.append(launch([*nobody, pgbouncer, str(config)], tmp_path / "pgbouncer.log", env=libraries()))

        def answers() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            return False

        wait_until("pgbouncer takes clients", answers)
        return f"postgresql://{LOGIN}@127.0.0.1:{port}/postgres"

    yield make
    for process in running:
        process.terminate()
        process.wait()
