"""TLS, certificates and passwords of PostgreSQL: what is wrong is said in a line, and waited for."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from relay.demo.servers import PostgresServer, free_port
from relay.postgres.migrate import migrate
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_rights import LOGIN, let_relay_in
from tests.support.fix_stream import Streams
from tests.support.fix_tls import Authority, Identity, MakeFront, TlsFront, tls_postgres

PROGRAMS = tls_postgres()
NO_TLS = (
    "no PostgreSQL with OpenSSL is installed, and the wheel's is built without it; the relay's side is tested all the"
    " same, by the tests behind a front that speaks TLS"
)


def address(port: int, authority: Authority, client: Identity, host: str = "localhost") -> str:
    """Return the DSN of a relay that trusts nothing but its own authority, and logs in by certificate."""
    return (
        f"host={host} port={port} dbname=postgres user={LOGIN} sslmode=verify-full"
        f" sslrootcert={authority.file} sslcert={client.certificate} sslkey={client.key}"
    )


@pytest.fixture
def server_identity(authority: Authority) -> Identity:
    """The certificate of the server."""
    return authority.issue("server", "localhost")


@pytest.mark.skipif(PROGRAMS is None, reason=NO_TLS)
def test_a_real_server_is_verified_and_knows_the_relay_by_its_certificate(
    tmp_path: Path, authority: Authority, server_identity: Identity, streams: Streams, make_relay: MakeRelay
) -> None:
    server = PostgresServer(
        tmp_path / "postgres",
        binaries=PROGRAMS,
        fsync=False,
        settings={
            "ssl": "on",
            "ssl_cert_file": str(server_identity.certificate),
            "ssl_key_file": str(server_identity.key),
            "ssl_ca_file": str(authority.file),
        },
    )
    client = authority.issue(LOGIN, expired=True)
    streams.make("ORDERS", "orders.>")
    with server:
        let_relay_in(server.dsn())
        with psycopg.connect(server.dsn()) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)
        (server.data / "pg_hba.conf").write_text(
            f"hostssl all {LOGIN} 127.0.0.1/32 cert\nhost all postgres 127.0.0.1/32 trust\n", "utf-8"
        )
        os.kill(server.pid, signal.SIGHUP)
        wait_until("nobody is let in without a certificate", lambda: not _lets_in(server.dsn(user=LOGIN)))
        outbox = Outbox(server.dsn())
        relay = make_relay(address(server.port, authority, client), streams.url).start()
        assert "certificate expired" in relay.said("postgres.lost")["error"]
        authority.issue(LOGIN)
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
        connections = outbox.conn.execute(
            "SELECT s.ssl, s.client_serial FROM pg_stat_activity JOIN pg_stat_ssl s USING (pid)"
            " WHERE application_name LIKE 'outbox-relay %'"
        ).fetchall()
        assert len(connections) >= 3
        assert all(encrypted and serial is not None for encrypted, serial in connections)
        outbox.conn.close()
        relay.end()


def _lets_in(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def outbox_behind_tls(own_postgres: PostgresServer) -> Iterator[Outbox]:
    """An outbox that its tests reach without the front."""
    one = Outbox(own_postgres.dsn())
    yield one
    one.conn.close()


@pytest.fixture
def front(
    own_postgres: PostgresServer, authority: Authority, server_identity: Identity, tls_front: MakeFront
) -> TlsFront:
    """What speaks TLS before that outbox, and asks for a certificate."""
    return tls_front(own_postgres.port, server_identity, authority.file)


def test_every_connection_is_verified_and_shows_the_relays_certificate(
    front: TlsFront, outbox_behind_tls: Outbox, authority: Authority, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(address(front.port, authority, authority.issue(LOGIN)), streams.url).start()
    outbox_behind_tls.delivered(outbox_behind_tls.insert("orders.placed", "k", {"i": 0}))
    wait_until("fetch, settle and bell", lambda: len(front.names) >= 3)
    assert set(front.names) == {LOGIN}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        # The front ends the connection without an error message; what a real server says is tested above.
        ("expired client", "connection failed"),
        ("expired server", "certificate verify failed"),
        ("another host", "does not match host name"),
        ("unknown authority", "certificate verify failed"),
        ("no key", "could not"),
    ],
)
def test_a_bad_certificate_is_told_in_a_line_and_the_relay_works_when_it_is_renewed(
    front: TlsFront,
    outbox_behind_tls: Outbox,
    authority: Authority,
    server_identity: Identity,
    streams: Streams,
    make_relay: MakeRelay,
    tmp_path: Path,
    fault: str,
    told: str,
) -> None:
    streams.make("ORDERS", "orders.>")
    client = authority.issue(LOGIN, expired=fault == "expired client")
    match fault:
        case "expired server":
            authority.issue("server", "localhost", expired=True)
        case "another host":
            authority.issue("server", "elsewhere.example")
        case "unknown authority":
            (tmp_path / "stranger").mkdir()
            stranger = Authority(tmp_path / "stranger").issue("server", "localhost")
            server_identity.certificate.write_bytes(stranger.certificate.read_bytes())
            server_identity.key.write_bytes(stranger.key.read_bytes())
        case "no key":
            client.key.write_text("", "utf-8")
    relay = make_relay(address(front.port, authority, client), streams.url).start()
    lost = relay.said("postgres.lost")
    assert told in lost["error"]
    assert "\n" not in lost["error"]
    wait_until("it is not ready", lambda: relay.get("/readyz")[0] == 503)
    authority.issue("server", "localhost")
    authority.issue(LOGIN)
    outbox_behind_tls.delivered(outbox_behind_tls.insert("orders.placed", "k", {"i": 0}))
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)


def test_verify_full_never_falls_back_to_a_connection_in_the_clear(
    own_postgres: PostgresServer, authority: Authority, streams: Streams, make_relay: MakeRelay
) -> None:
    relay = make_relay(address(own_postgres.port, authority, authority.issue(LOGIN)), streams.url).start()
    assert "does not support SSL" in relay.said("postgres.lost")["error"]


def test_a_password_that_is_renewed_in_its_file_is_taken_up_without_a_restart(
    own_postgres: PostgresServer, streams: Streams, make_relay: MakeRelay, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox = Outbox(own_postgres.dsn())
    outbox.conn.execute(f"ALTER ROLE {LOGIN} PASSWORD 'first-secret'")
    hba = own_postgres.data / "pg_hba.conf"
    hba.write_text(f"host all {LOGIN} 127.0.0.1/32 scram-sha-256\n{hba.read_text('utf-8')}", "utf-8")
    os.kill(own_postgres.pid, signal.SIGHUP)
    file = tmp_path / "dsn"

    def write(password: str) -> None:
        file.write_text(f"postgresql://{LOGIN}:{password}@127.0.0.1:{own_postgres.port}/postgres\n", "utf-8")

    write("first-secret")
    relay = make_relay("", streams.url, postgres__dsn_file=str(file)).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(f"ALTER ROLE {LOGIN} PASSWORD 'second-secret'")
    outbox.conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (LOGIN,)
    ).fetchall()
    refused = [f'password authentication failed for user "{LOGIN}"' in line["error"] for line in _told(relay)]
    assert any(refused)
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    # As while it is being written: neither is worth an end.
    file.write_text("", "utf-8")
    file.write_text("postgresql://suite_relay:second-sec", "utf-8")
    write("second-secret")
    outbox.delivered(seq)
    assert relay.stop() == 0
    assert "secret" not in relay.text()
    outbox.conn.close()


def _told(relay: Relay) -> list[dict[str, str]]:
    wait_until("it says that it is not let in", lambda: "password authentication failed" in relay.text())
    return relay.lines("postgres.lost")


@pytest.mark.denials
def test_a_right_that_is_taken_away_is_told_and_waited_for(
    own_postgres: PostgresServer, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox = Outbox(own_postgres.dsn())
    relay = make_relay(own_postgres.dsn(), streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute("REVOKE UPDATE (delivered_at) ON outbox_events FROM outbox_relay")
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    assert "permission denied for table outbox_events" in relay.said("postgres.lost")["error"]
    outbox.conn.execute("GRANT UPDATE (delivered_at) ON outbox_events TO outbox_relay")
    outbox.delivered(seq)
    assert [message.i for message in streams.read("ORDERS")] == [0, 1]
    outbox.conn.close()


def test_a_server_that_is_not_there_is_no_matter_of_identity(streams: Streams, make_relay: MakeRelay) -> None:
    relay = make_relay(f"postgresql://{LOGIN}@127.0.0.1:{free_port()}/postgres", streams.url).start()
    assert "refused" in relay.said("postgres.lost")["error"]
    assert relay.stop() == 0
    assert len(relay.lines("postgres.lost")) <= 2
