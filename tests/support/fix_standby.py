"""A standby of a PostgreSQL: a copy that follows it, asynchronously."""

import subprocess
from pathlib import Path

from relay.demo.servers import PostgresServer, ServerError, as_somebody


def base_backup(postgres: PostgresServer, data: Path) -> None:
    """Copy a running server into a data directory that will follow it.

    Raises:
        ServerError: No copy could be made.
    """
    command = [str(postgres.binaries / "pg_basebackup"), "-D", str(data), "-d", postgres.dsn()]
    done = subprocess.run(
        [*as_somebody(), *command, "-c", "fast", "-X", "stream", "--no-sync", "-R"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerError(f"no copy for the standby: {done.stderr}")
