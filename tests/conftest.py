"""What each test has of its own: a database, an empty NATS, servers that it may kill."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from relay.demo.servers import NatsServer, PostgresServer
from relay.postgres.migrate import migrate
from tests.support import backends
from tests.support.backends import SETTINGS, Server
from tests.support.fix_rights import SUBJECTS, let_relay_in, nats_config, nothing_denied

# How long an example takes is up to the machine.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

pytest_plugins = [
    "tests.support.fix_proxy",
    "tests.support.fix_relay",
    "tests.support.fix_stream",
    "tests.support.fix_cluster",
    "tests.support.fix_tls",
    "tests.support.fix_pgbouncer",
    "tests.kube.cluster",
    "tests.support.fix_prometheus",
]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The PostgreSQL of the session, with the login of the suite's relays."""
    with backends.postgres(tmp_path_factory.mktemp("postgres")) as server:
        let_relay_in(server.address)
        yield server


@pytest.fixture(scope="session")
def postgres_dsn(postgres_server: Server) -> str:
    """The address of the session's PostgreSQL, as its administrator."""
    return postgres_server.address


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The NATS of the session, with the users of `tests.support.fix_rights`."""
    with backends.nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


def _new_database(dsn: str, template: str) -> str:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    return name


def _drop_database(dsn: str, name: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _address(dsn: str, name: str) -> str:
    return dsn.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture(scope="session")
def migrated_template(postgres_dsn: str) -> Iterator[str]:
    """A database with the outbox in it, to be copied."""
    name = _new_database(postgres_dsn, "template0")
    with psycopg.connect(_address(postgres_dsn, name)) as conn:
        migrate(conn, "outbox_events", "jsonb", bell=True)
    yield name
    _drop_database(postgres_dsn, name)


@pytest.fixture
def database(postgres_server: Server, migrated_template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a database of the test's own, with the outbox in it."""
    name = _new_database(postgres_server.address, migrated_template)
    with postgres_server.watch(request):
        yield _address(postgres_server.address, name)
    _drop_database(postgres_server.address, name)


@pytest.fixture
def empty_database(postgres_dsn: str) -> Iterator[str]:
    """The DSN of a database of the test's own, with nothing in it."""
    name = _new_database(postgres_dsn, "template0")
    yield _address(postgres_dsn, name)
    with psycopg.connect(_address(postgres_dsn, name), autocommit=True) as conn:
        # A prepared transaction that a failing test has left would keep the database.
        for (gid,) in conn.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()").fetchall():
            conn.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
    _drop_database(postgres_dsn, name)


@pytest.fixture
def own_nats(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    """A nats-server of the test's own, to be stopped, killed and frozen."""
    server = NatsServer(tmp_path / "nats", config=nats_config(*SUBJECTS))
    with nothing_denied(server.log, request), server:
        yield server


@pytest.fixture
def own_postgres(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be stopped, killed and frozen, with the outbox in its only database."""
    server = PostgresServer(tmp_path / "postgres", settings=SETTINGS)
    with nothing_denied(server.log, request), server:
        let_relay_in(server.dsn())
        with psycopg.connect(server.dsn()) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)
        yield server
