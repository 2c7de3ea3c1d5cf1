"""Every Python sample of the README and of the producers' guide runs as it is printed."""

import uuid
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from conftest import Stored
from psycopg.types.json import Jsonb
from relay.postgres.tables import sql_directory
from samples import GUIDE, README, Names, insert_of, run, sample, sql_of_the_guide
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from outbox_client import Event, Outbox
from outbox_client.commands import CREATE_INDEX, CREATE_TABLE, DROP_TABLE


@pytest.fixture
def conn(database: str, producer: str, commands: None) -> Iterator[psycopg.Connection]:
    """A producer's connection, with the tables that the samples write."""
    with psycopg.connect(database) as admin:
        admin.execute("ALTER TABLE orders ADD COLUMN total int")
    with psycopg.connect(producer, autocommit=True) as conn:
        yield conn


def test_every_sample_is_run_by_a_test_below() -> None:
    # Those of Django are run by test_django.py.
    assert len(README) == 14
    assert len(GUIDE) == 4


def test_psycopg(conn: psycopg.Connection, producer: str, stored: Stored) -> None:
    run(sample("psycopg.connect"), {"dsn": producer})
    assert [row[1:] for row in stored()] == [("orders.placed", "order-42", {"order": 42}, {"tenant": "a"})]


def test_asyncpg(conn: psycopg.Connection, producer: str, stored: Stored) -> None:
    run(sample("VALUES ($1, $2)"), {"dsn": producer})
    assert [row[1:] for row in stored()] == [("orders.placed", "order-43", {"order": 43}, None)]


def test_the_guides_inserts(conn: psycopg.Connection, stored: Stored) -> None:
    run(sample("Jsonb", GUIDE), {"conn": conn, "Jsonb": Jsonb})
    run(sample("outbox.publish(conn", GUIDE), {"conn": conn, "outbox": Outbox(), "Event": Event})
    assert [row[1:4] for row in stored()] == [
        ("orders.placed", "order-42", {"order": 42}),
        ("orders.placed", "order-43", {"order": 43}),
    ]


@pytest.mark.parametrize("language", ["go", "java", "js"])
def test_the_inserts_of_other_languages_are_taken_from_a_producer(
    conn: psycopg.Connection, stored: Stored, language: str
) -> None:
    # These drivers send texts whose type the server infers, as this cursor does.
    row = (str(uuid.uuid4()), "orders.placed", "order-42", '{"order": 42}', '{"tenant": "a"}')
    psycopg.RawCursor(conn).execute(insert_of(language).encode(), row)
    assert [found[1:] for found in stored()] == [("orders.placed", "order-42", {"order": 42}, {"tenant": "a"})]


def test_the_guides_sql_is_taken_from_a_producer(conn: psycopg.Connection, database: str, stored: Stored) -> None:
    with psycopg.connect(database) as admin:
        admin.execute("ALTER TABLE orders ADD COLUMN state text")
    insert, locking = sql_of_the_guide()
    conn.execute(insert.encode())
    conn.execute(locking.encode())
    assert [(row[1], row[2]) for row in stored()] == [("orders.placed", "order-42"), ("orders.paid", "order-42")]


def test_sqlalchemy(conn: psycopg.Connection, producer: str, stored: Stored) -> None:
    engine = sa.create_engine(producer.replace("postgresql://", "postgresql+psycopg://", 1))
    names = run(
        sample("AsyncSession"),
        {
            "engine": engine,
            "async_engine": create_async_engine(engine.url, poolclass=sa.pool.NullPool),
            "Session": Session,
            "AsyncSession": AsyncSession,
            "events": [Event("orders.placed", i) for i in range(2)],
        },
    )
    assert len(stored()) == 4

    class Base(DeclarativeBase):
        """The application's."""

    class Placed(Base):
        """The guide's Order."""

        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        total: Mapped[int]

    run(sample("outbox.publish(session", GUIDE), names | {"Order": Placed})
    assert stored()[-1][1:] == ("orders.placed", "order-44", {"order": 44}, None)

    class OtherBase(DeclarativeBase):
        """The README's."""

    mapped = {"Base": OtherBase, "Mapped": Mapped, "mapped_column": mapped_column, "sessionmaker": sessionmaker}
    run(sample("class Order(Base, Records)"), names | mapped)
    assert [row[1] for row in stored()] == ["orders.placed"] * 6
    engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_the_migration_of_commands_goes_forward_and_back(
    database: str, admin: psycopg.Connection, driver: str
) -> None:
    text = sample("from alembic import op")

    def migrate(connection: sa.Connection, step: str) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            run(text, {})[step]()

    engine = create_async_engine(database.replace("postgresql:", f"postgresql+{driver}:"))
    for step, there in (("upgrade", True), ("downgrade", False)):
        async with engine.begin() as connection:
            await connection.run_sync(migrate, step)
        assert admin.execute("SELECT to_regclass('outbox_commands') IS NOT NULL").fetchone() == (there,)
    await engine.dispose()


async def test_the_table_of_commands_is_made_by_asyncpg_itself(database: str, producer: str) -> None:
    conn = await asyncpg.connect(database)
    try:
        for statement in (CREATE_TABLE, CREATE_INDEX, DROP_TABLE):
            await (await conn.prepare(statement)).fetch()
    finally:
        await conn.close()


def test_commands(conn: psycopg.Connection, stored: Stored) -> None:
    pay = run(sample("import once"), {"outbox": Outbox(), "Event": Event})["pay"]
    body = {"order": 42}
    assert pay(conn, "pay-42", body) == pay(conn, "pay-42", body) == {"paid": 42}
    assert [row[1] for row in stored()] == ["orders.paid"]


def test_reading(conn: psycopg.Connection, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as models:
        models.execute((sql_directory() / "projection.sql").read_bytes())
        models.execute("INSERT INTO projection.generations VALUES ('order_list', 1, 1, '', 'order_list', 1, 'live')")
        models.execute(
            "INSERT INTO projection.state (name, generation, partition, stream, complete_origin, complete_seq)"
            " SELECT 'order_list', 1, 0, 's', origin, 1000 FROM outbox_origin"
        )
        names: Names = {"conn": conn, "models": models, "outbox": Outbox(), "Event": Event}
        assert run(sample("wait_applied"), names)["stale"] is False


def test_testing(pytester: pytest.Pytester, conn: psycopg.Connection, database: str, stored: Stored) -> None:
    pytester.makeconftest(
        sample("# conftest.py")
        + f"""
import psycopg

@pytest.fixture
def session():
    with psycopg.connect({database!r}) as conn:
        yield conn
        conn.rollback()
"""
    )
    pytester.makepyfile(
        """
from outbox_client import Event, Outbox
from outbox_client.commands import CREATE_INDEX, CREATE_TABLE, DROP_TABLE

def place_order(session, order):
    Outbox().publish(session, Event("orders.placed", {"order": order}))

"""
        + sample("(session, published)")
    )
    pytester.runpytest_subprocess("-p", "no:cloudcoil").assert_outcomes(passed=1)
    assert stored() == []


def test_testing_with_asyncpg(
    pytester: pytest.Pytester, conn: psycopg.Connection, database: str, stored: Stored
) -> None:
    pytester.makepyfile(
        f"""
import pytest
from outbox_client import Event, Outbox

dsn = {database!r}

async def place_order(conn, order):
    await Outbox().publish_async(conn, Event("orders.placed", {{"order": order}}))

"""
        + sample("pytest_asyncio")
    )
    pytester.runpytest_subprocess("-p", "no:cloudcoil").assert_outcomes(passed=1)
    assert stored() == []
