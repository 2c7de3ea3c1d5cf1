"""``make servers``: a PostgreSQL and a nats-server to try things on, until Ctrl-C. Their data goes with them."""

import argparse
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg

from relay.demo.servers import NatsServer, PostgresServer

_POSTGRES_PORT = 25432
_NATS_PORT = 24222
# `relay migrate` makes the roles that are not there; a login of them can so be there before.
_LOGIN = """
CREATE ROLE outbox_relay NOLOGIN;
CREATE ROLE outbox_producer NOLOGIN;
CREATE ROLE relay LOGIN IN ROLE outbox_relay, outbox_producer;
"""


def serve(postgres_port: int, nats_port: int) -> None:
    """Start both on loopback, print how to reach them, and keep them until SIGINT or SIGTERM.

    Raises:
        ServerError: One of them did not start; neither is running then.
    """
    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    with (
        TemporaryDirectory(prefix="outbox-relay-servers-") as name,
        PostgresServer(Path(name) / "postgres", port=postgres_port) as postgres,
        NatsServer(Path(name) / "nats", port=nats_port) as nats,
    ):
        with psycopg.connect(postgres.dsn(), autocommit=True) as conn:
            conn.execute(_LOGIN)
        owner = postgres.dsn()
        login = owner.replace(f"//{urlsplit(owner).username}@", "//relay@", 1)
        print(f"PostgreSQL  {owner}  for relay migrate")
        print(f"            {login}     for everything else: it may send and relay events, and nothing more")
        print(f"NATS        {nats.url}\nCtrl-C ends both.", flush=True)
        signal.sigwait(stop)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres-port", type=int, default=_POSTGRES_PORT)
    parser.add_argument("--nats-port", type=int, default=_NATS_PORT)
    given = parser.parse_args()
    serve(given.postgres_port, given.nats_port)
