"""The servers of the session, and for each test a database of its own."""

import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from relay.postgres.migrate import migrate
from tests.support import backends
from tests.support.backends import Server
from tests.support.fix_rights import let_relay_in

_ENDED_WITHIN_S = 60.0


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


@pytest.fixture(scope="session")
def administrator(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection that makes and drops databases: one for each of them took half the CPU of a copy.

    It is in a database of its own, for one that somebody is connected to cannot be copied.
    """
    with psycopg.connect(postgres_dsn, autocommit=True) as conn:
        home = _new_database(conn, "template0")
    with psycopg.connect(_address(postgres_dsn, home), autocommit=True) as conn:
        yield conn
    with psycopg.connect(postgres_dsn, autocommit=True) as conn:
        _drop_database(conn, home)


def _new_database(administrator: psycopg.Connection, template: str) -> str:
    name = f"test_{uuid.uuid4().hex[:12]}"
    # Page by page through the WAL, the default since 15, takes twice the CPU of a copy of the files. 14 knows no other.
    copied = "STRATEGY file_copy" if administrator.info.server_version >= 150000 else ""
    administrator.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
            sql.Identifier(name), sql.Identifier(template), sql.SQL(copied)
        )
    )
    return name


def _drop_database(administrator: psycopg.Connection, name: str) -> None:
    """Drop a database once the sessions in it have ended."""
    deadline = time.monotonic() + _ENDED_WITHIN_S
    while True:
        try:
            administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        except psycopg.errors.ObjectInUse:
            # It ends them itself and waits for five seconds: a killed relay's session may just make a gigabyte of text.
            if time.monotonic() > deadline:
                raise
        else:
            return


def _address(dsn: str, name: str) -> str:
    return dsn.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture(scope="session")
def migrated_template(postgres_dsn: str, administrator: psycopg.Connection) -> Iterator[str]:
    """A database with the outbox in it, to be copied."""
    name = _new_database(administrator, "template0")
    with psycopg.connect(_address(postgres_dsn, name)) as conn:
        migrate(conn, "outbox_events", "jsonb", bell=True)
    yield name
    _drop_database(administrator, name)


@pytest.fixture
def database(
    postgres_server: Server, administrator: psycopg.Connection, migrated_template: str, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The DSN of a database of the test's own, with the outbox in it."""
    name = _new_database(administrator, migrated_template)
    with postgres_server.watch(request):
        yield _address(postgres_server.address, name)
    _drop_database(administrator, name)


@pytest.fixture
def empty_database(postgres_dsn: str, administrator: psycopg.Connection) -> Iterator[str]:
    """The DSN of a database of the test's own, with nothing in it."""
    name = _new_database(administrator, "template0")
    yield _address(postgres_dsn, name)
    with psycopg.connect(_address(postgres_dsn, name), autocommit=True) as conn:
        # A prepared transaction that a failing test has left would keep the database.
        for (gid,) in conn.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()").fetchall():
            conn.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
    _drop_database(administrator, name)
