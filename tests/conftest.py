"""Where the suite's servers come from: embedded ones, or those that the environment names."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from relay.migrate import migrate
from relay.servers import NatsServer, PostgresServer
from tests.fix_rights import SUBJECTS, let_relay_in, nats_config, nothing_denied

pytest_plugins = [
    "tests.fix_proxy",
    "tests.fix_relay",
    "tests.fix_stream",
    "tests.fix_cluster",
    "tests.fix_tls",
    "tests.fix_pgbouncer",
    "tests.fix_prometheus",
]

# Logs of the session's own servers; those that the environment names keep theirs to themselves.
_LOGS = pytest.StashKey[dict[str, Path]]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the logs of the servers at hand."""
    config.stash[_LOGS] = {}


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """A PostgreSQL of the session: ``RELAY_TEST_POSTGRES``, or an embedded one."""
    given = os.environ.get("RELAY_TEST_POSTGRES")
    if given:
        let_relay_in(given)
        yield given
        return
    directory = tmp_path_factory.mktemp("postgres")
    with PostgresServer(directory, fsync=False, settings={"max_prepared_transactions": "10"}) as server:
        let_relay_in(server.dsn())
        pytestconfig.stash[_LOGS]["postgres"] = server.log
        yield server.dsn()


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """A NATS of the session: ``RELAY_TEST_NATS``, or an embedded one."""
    given = os.environ.get("RELAY_TEST_NATS")
    if given:
        yield given
        return
    with NatsServer(tmp_path_factory.mktemp("nats"), config=nats_config(*SUBJECTS)) as server:
        pytestconfig.stash[_LOGS]["nats"] = server.log
        yield server.url


@contextmanager
def _watching(name: str, request: pytest.FixtureRequest) -> Iterator[None]:
    log = request.config.stash[_LOGS].get(name)
    if log is None:
        yield
        return
    with nothing_denied(log, request):
        yield


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
def database(postgres_dsn: str, migrated_template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a database of the test's own, with the outbox in it."""
    name = _new_database(postgres_dsn, migrated_template)
    with _watching("postgres", request):
        yield _address(postgres_dsn, name)
    _drop_database(postgres_dsn, name)


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
def nats(nats_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the session's NATS, with no stream in it."""
    import asyncio

    from nats.aio.client import Client

    async def empty() -> None:
        client = Client()
        await client.connect(nats_url)
        manager = client.jsm()
        for info in await manager.streams_info():
            await manager.delete_stream(info.config.name or "")
        await client.close()

    asyncio.run(empty())
    with _watching("nats", request):
        yield nats_url


@pytest.fixture
def own_nats(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    """A nats-server of the test's own, to be stopped, killed and frozen."""
    server = NatsServer(tmp_path / "nats", config=nats_config(*SUBJECTS))
    with nothing_denied(server.log, request), server:
        yield server


@pytest.fixture
def own_postgres(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be stopped, killed and frozen, with the outbox in its only database."""
    server = PostgresServer(tmp_path / "postgres", settings={"max_prepared_transactions": "10"})
    with nothing_denied(server.log, request), server:
        let_relay_in(server.dsn())
        with psycopg.connect(server.dsn()) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)
        yield server
