"""Through SQLAlchemy 2 and SQLModel, with the producer's rights alone."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import psycopg
import pytest
import sqlalchemy as sa
import sqlmodel
from conftest import Stored
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, SessionTransaction, mapped_column, sessionmaker

import outbox_client
from outbox_client import Event, InvalidEvent, NotInTransaction
from outbox_client.alembic import include_name
from outbox_client.commands import Earlier, KeyReused
from outbox_client.sqlalchemy import Outbox, Records, once, once_async, remember, remember_async

OUTBOX = Outbox()


class Base(DeclarativeBase):
    """The application's own."""


class Order(Base, Records):
    """An aggregate that tells what happened to it."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None]

    def place(self) -> None:
        self.record(lambda: Event("orders.placed", {"order": self.id}, key=str(self.id)))


class Failed(Exception):
    """Raised by a listener of the application."""


class SqlModelOrder(sqlmodel.SQLModel, Records, table=True):
    """The same, for SQLModel."""

    __tablename__ = "orders"
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    note: str | None = None


def address(dsn: str, driver: str) -> str:
    return dsn.replace("postgresql://", f"postgresql+{driver}://", 1)


@pytest.fixture
def engine(producer: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(address(producer, "psycopg"))
    yield made
    made.dispose()


@pytest.fixture(params=["psycopg", "asyncpg"])
async def async_engine(producer: str, request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(address(producer, request.param))
    yield made
    await made.dispose()


def payloads(stored: Stored) -> list[object]:
    return [row[3] for row in stored()]


def test_a_session_commits_the_event_with_its_data(engine: sa.Engine, stored: Stored) -> None:
    event = Event("orders.placed", {"order": 1, "who": "Zoë"}, key="1", headers={"tenant": "a", "n": 1})
    with Session(engine) as session:
        session.add(Order(note="x"))
        assert OUTBOX.publish(session, event) == event.id
        assert stored() == []
        session.commit()
    assert stored() == [(event.id, "orders.placed", "1", event.payload, event.headers)]


def test_rollback_and_savepoint_take_their_events_along(engine: sa.Engine, stored: Stored) -> None:
    with Session(engine) as session:
        OUTBOX.publish(session, Event("orders.placed", "rolled back"))
        session.rollback()
        OUTBOX.publish(session, Event("orders.placed", 1))
        savepoint = session.begin_nested()
        OUTBOX.publish(session, Event("orders.placed", "to the savepoint"))
        savepoint.rollback()
        OUTBOX.publish(session, Event("orders.placed", 2))
        session.commit()
    assert payloads(stored) == [1, 2]


def test_ten_thousand_events_keep_their_order_on_a_connection(engine: sa.Engine, stored: Stored) -> None:
    events = [Event("orders.placed", i, key=f"k{i % 7}" if i % 2 else None) for i in range(10_000)]
    with engine.begin() as connection:
        assert OUTBOX.publish_many(connection, events) == [event.id for event in events]
        assert OUTBOX.publish_many(connection, []) == []
    assert [(row[0], row[2], row[3]) for row in stored()] == [(one.id, one.key, one.payload) for one in events]


def test_a_key_that_cannot_be_a_header_is_refused_unless_the_relay_sends_none(
    engine: sa.Engine, stored: Stored
) -> None:
    with Session(engine) as session, session.begin():
        with pytest.raises(InvalidEvent, match="header Outbox-Key holds a line end"):
            OUTBOX.publish(session, Event("orders.placed", 1, key="k\n"))
        with pytest.raises(InvalidEvent, match="the payload holds NaN"):
            OUTBOX.publish(session, Event("orders.placed", float("nan")))
        Outbox(key_header=False).publish(session, Event("orders.placed", 2, key="k\n"))
    assert [(row[2], row[3]) for row in stored()] == [("k\n", 2)]


def test_the_statement_can_be_used_directly(engine: sa.Engine, stored: Stored) -> None:
    with Session(engine) as session:
        session.execute(OUTBOX.insert(), [OUTBOX.row(Event("orders.placed", i)) for i in range(3)])
        session.commit()
    assert payloads(stored) == [0, 1, 2]


def test_autocommit_is_refused_unless_asked_for(producer: str, engine: sa.Engine, stored: Stored) -> None:
    for plain in (
        engine.execution_options(isolation_level="AUTOCOMMIT"),
        sa.create_engine(address(producer, "psycopg"), isolation_level="AUTOCOMMIT"),
    ):
        with plain.connect() as connection:
            with pytest.raises(NotInTransaction):
                OUTBOX.publish(connection, Event("orders.placed", 1))
            OUTBOX.publish(connection, Event("orders.placed", 2), autocommit=True)
        plain.dispose()
    assert payloads(stored) == [2, 2]


def test_two_engines_get_each_their_own(engine: sa.Engine, empty_database: str, stored: Stored) -> None:
    other = sa.create_engine(address(empty_database, "psycopg"))
    with other.connect() as there, Session(engine) as session:
        there.execute(
            sa.text("CREATE TABLE outbox_events (id uuid, topic text, key text, payload jsonb, headers jsonb)")
        )
        OUTBOX.publish(there, Event("orders.placed", "there"))
        OUTBOX.publish(session, Event("orders.placed", "here"))
        there.rollback()
        session.commit()
    other.dispose()
    assert payloads(stored) == ["here"]


def test_an_aggregate_is_written_with_what_it_recorded(engine: sa.Engine, stored: Stored) -> None:
    maker = sessionmaker(engine)
    OUTBOX.listen(maker)
    with maker.begin() as session:
        first, second = Order(), Order()
        session.add_all([first, second])
        second.place()
        first.place()
        session.flush()
        second.record(Event("orders.paid", {"order": second.id}))
        ids = (second.id, first.id)
    assert [(row[1], row[3]) for row in stored()] == [
        ("orders.placed", {"order": ids[0]}),
        ("orders.placed", {"order": ids[1]}),
        ("orders.paid", {"order": ids[0]}),
    ]


def test_what_an_unchanged_or_a_deleted_aggregate_recorded_is_written(engine: sa.Engine, stored: Stored) -> None:
    maker = sessionmaker(engine)
    OUTBOX.listen(maker)
    with maker.begin() as session:
        session.add(Order(id=1))
    with maker.begin() as session:
        session.get_one(Order, 1).record(Event("orders.seen", 1))
    with maker.begin() as session:
        order = session.get_one(Order, 1)
        order.record(Event("orders.removed", 1))
        session.delete(order)
    assert [row[1] for row in stored()] == ["orders.seen", "orders.removed"]


def test_recorded_events_that_nobody_would_write_fail_the_flush(engine: sa.Engine, stored: Stored) -> None:
    with Session(engine) as session:
        order = Order()
        order.place()
        session.add(order)
        with pytest.raises(RuntimeError, match="no outbox listens"):
            session.commit()
    assert stored() == []


def test_a_recorded_event_that_is_invalid_fails_the_flush(
    engine: sa.Engine, stored: Stored, admin: psycopg.Connection
) -> None:
    with Session(engine) as session:
        OUTBOX.listen(session)
        order = Order()
        order.record(Event("orders.*", 1))
        session.add(order)
        with pytest.raises(InvalidEvent):
            session.commit()
    assert stored() == []
    assert admin.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_what_a_recorded_event_records_is_written_too(engine: sa.Engine, stored: Stored) -> None:
    def first(order: Order, other: Order) -> Event:
        order.record(lambda: Event("orders.third", order.id))
        other.record(Event("orders.second", other.id))
        return Event("orders.first", order.id)

    make = sessionmaker(engine)
    OUTBOX.listen(make)
    with make() as session, session.begin():
        order, other = Order(id=1), Order(id=2)
        session.add_all([order, other])
        session.flush()
        order.record(lambda: first(order, other))
    assert [(row[1], row[3]) for row in stored()] == [("orders.first", 1), ("orders.third", 1), ("orders.second", 2)]


def test_what_a_recorded_event_adds_is_written_with_its_own_row(engine: sa.Engine, stored: Stored) -> None:
    make = sessionmaker(engine)
    OUTBOX.listen(make)
    with make() as session, session.begin():
        order = Order()

        def split() -> Event:
            part = Order()
            session.add(part)
            part.record(lambda: Event("orders.part", part.id is not None))
            return Event("orders.split", order.id)

        session.add(order)
        order.record(split)
    assert [(row[1], row[3]) for row in stored()] == [("orders.split", 1), ("orders.part", True)]


def test_events_that_record_others_without_end_fail_the_flush(engine: sa.Engine, stored: Stored) -> None:
    make = sessionmaker(engine)
    OUTBOX.listen(make)

    def again() -> Event:
        order.record(again)
        return Event("orders.again", 1)

    with make() as session:
        order = Order(id=1)
        session.add(order)
        order.record(again)
        with pytest.raises(RuntimeError, match="without end"):
            session.commit()
    assert stored() == []


@pytest.mark.parametrize("at", ["before_flush", "after_flush", "after_flush_postexec", "before_commit"])
@pytest.mark.parametrize("what", ["new", "changed", "unchanged", "deleted"])
def test_what_a_listener_records_is_written_whenever_it_does(
    engine: sa.Engine, stored: Stored, admin: psycopg.Connection, at: str, what: str
) -> None:
    make = sessionmaker(engine)
    OUTBOX.listen(make)
    if what != "new":
        with make() as session, session.begin():
            session.add(Order(id=1))
    session = make()
    order = Order(id=1) if what == "new" else session.get_one(Order, 1)
    done: list[bool] = []

    def record(*_: object) -> None:
        if not done:
            done.append(True)
            order.record(lambda: Event("orders.told", order.id))

    sa.event.listen(session, at, record)
    session.add(Order(id=2))
    if what == "new":
        session.add(order)
    elif what == "changed":
        order.note = "paid"
    elif what == "deleted":
        session.delete(order)
    if what == "deleted" and at == "after_flush_postexec":
        with pytest.raises(RuntimeError, match="is deleted: record its events before"):
            session.commit()
        session.close()
        assert stored() == []
        return
    session.commit()
    assert payloads(stored) == [1]
    order_id = sa.inspect(order).identity
    order.note = "again" if what != "deleted" else None
    session.commit()
    session.close()
    assert payloads(stored) == [1], order_id


def test_a_listener_that_adds_an_object_gets_its_event_with_its_row(engine: sa.Engine, stored: Stored) -> None:
    make = sessionmaker(engine)
    OUTBOX.listen(make)
    with make() as session, session.begin():

        def add(*_: object) -> None:
            if not session.info.setdefault("done", []):
                session.info["done"].append(True)
                order = Order(note="late")
                session.add(order)
                order.record(lambda: Event("orders.placed", order.id is not None))

        sa.event.listen(session, "after_flush", add)
        session.add(Order())
    assert payloads(stored) == [True]


def test_what_is_recorded_after_a_flush_that_has_failed_is_written(engine: sa.Engine, stored: Stored) -> None:
    make = sessionmaker(engine)
    OUTBOX.listen(make)
    failed: list[bool] = []

    def fail_once(*_: object) -> None:
        if not failed:
            failed.append(True)
            raise Failed

    with make() as session:
        session.add(Order(id=1))
        session.commit()
        order = session.get_one(Order, 1)
        sa.event.listen(session, "after_flush", fail_once)
        order.note = "lost"
        with pytest.raises(Failed):
            session.flush()
        session.rollback()
        order.record(Event("orders.seen", 1))
        session.commit()
    assert payloads(stored) == [1]


def test_what_a_listener_records_after_a_savepoint_of_its_own_is_written(engine: sa.Engine, stored: Stored) -> None:
    make = sessionmaker(engine)
    OUTBOX.listen(make)
    with make() as session, session.begin():
        order = Order()

        def try_and_record(*_: object) -> None:
            if "done" not in session.info:
                session.info["done"] = True
                session.connection().begin_nested().rollback()
                order.record(Event("orders.told", 1))

        sa.event.listen(session, "after_flush", try_and_record)
        session.add(order)
    assert payloads(stored) == [1]


def test_an_event_of_a_deleted_row_is_refused_when_it_would_be_lost(engine: sa.Engine, stored: Stored) -> None:
    make = sessionmaker(engine)
    OUTBOX.listen(make)
    with make() as session, session.begin():
        order = Order(id=1)
        session.add(order)
        session.flush()
        session.delete(order)
        session.flush()
        with pytest.raises(RuntimeError, match="the row of this Order is deleted"):
            order.record(Event("orders.removed", 1))
    assert stored() == []


def test_sqlmodel_publishes_and_records(engine: sa.Engine, stored: Stored) -> None:
    with sqlmodel.Session(engine) as session:
        OUTBOX.listen(session)
        order = SqlModelOrder(note="x")
        order.record(lambda: Event("orders.placed", {"order": order.id}))
        session.add(order)
        OUTBOX.publish(session, Event("orders.paid", 2))
        session.commit()
        assert payloads(stored) == [2, {"order": order.id}]


async def test_an_asynchronous_session_does_the_same(async_engine: AsyncEngine, stored: Stored) -> None:
    maker = async_sessionmaker(async_engine)
    OUTBOX.listen(maker)
    event = Event("orders.placed", {"i": 0}, key="k", headers={"tenant": "a"})
    async with maker.begin() as session:
        assert await OUTBOX.publish_async(session, event) == event.id
        savepoint = await session.begin_nested()
        await OUTBOX.publish_async(session, Event("orders.placed", "undone"))
        await savepoint.rollback()
        await OUTBOX.publish_many_async(session, [Event("orders.placed", i) for i in range(1, 500)])
        assert await OUTBOX.publish_many_async(session, []) == []
        order = Order()
        order.record(lambda: Event("orders.recorded", {"order": order.id}))
        session.add(order)
        await session.flush()
        number = order.id
    found = stored()
    assert found[0] == (event.id, "orders.placed", "k", {"i": 0}, {"tenant": "a"})
    assert [row[3] for row in found[1:]] == [*range(1, 500), {"order": number}]


async def test_two_asynchronous_engines_get_each_their_own(
    async_engine: AsyncEngine, empty_database: str, stored: Stored
) -> None:
    other = create_async_engine(address(empty_database, "asyncpg"))
    async with other.connect() as there, AsyncSession(async_engine) as session:
        await there.execute(
            sa.text("CREATE TABLE outbox_events (id uuid, topic text, key text, payload jsonb, headers jsonb)")
        )
        await OUTBOX.publish_async(there, Event("orders.placed", "there"))
        await OUTBOX.publish_async(session, Event("orders.placed", "here"))
        await there.rollback()
        await session.commit()
    await other.dispose()
    assert payloads(stored) == ["here"]


async def test_asynchronous_autocommit_is_refused(async_engine: AsyncEngine, stored: Stored) -> None:
    async with async_engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(NotInTransaction):
            await OUTBOX.publish_async(connection, Event("orders.placed", 1))
    assert stored() == []


@pytest.mark.usefixtures("commands")
def test_a_command_is_carried_out_once_by_a_session(engine: sa.Engine, stored: Stored) -> None:
    for _ in range(2):
        with Session(engine) as session, session.begin():
            earlier = once(session, "pay-42", request={"amount": 5})
            if earlier is None:
                OUTBOX.publish(session, Event("orders.paid", {"order": 42}))
                remember(session, "pay-42", {"who": "Zoë"})
    assert (earlier, len(stored())) == (Earlier({"who": "Zoë"}), 1)
    with Session(engine) as session:
        assert once(session, "pay-43") is None
        session.rollback()
        assert once(session, "pay-43") is None
    with engine.connect() as connection:
        with pytest.raises(KeyReused):
            once(connection, "pay-42", request={"amount": 6})
        with pytest.raises(LookupError, match="call once first"):
            remember(connection, "pay-44", 1)
    by_itself = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with by_itself as connection, pytest.raises(NotInTransaction):
        once(connection, "pay-45")


@pytest.mark.usefixtures("commands")
async def test_a_command_is_carried_out_once_by_an_asynchronous_session(async_engine: AsyncEngine) -> None:
    for _ in range(2):
        async with AsyncSession(async_engine) as session, session.begin():
            earlier = await once_async(session, "pay-42", request={"amount": 5})
            if earlier is None:
                await remember_async(session, "pay-42", [1, "Zoë"])
    assert earlier == Earlier([1, "Zoë"])
    async with async_engine.connect() as connection:
        with pytest.raises(KeyReused):
            await once_async(connection, "pay-42", request={"amount": 6})
        with pytest.raises(LookupError, match="call once first"):
            await remember_async(connection, "pay-43", 1)


async def test_targets_of_the_wrong_kind_are_refused(engine: sa.Engine, async_engine: AsyncEngine) -> None:
    async with AsyncSession(async_engine) as session:
        with pytest.raises(TypeError, match=r"publish takes .*, not \S*AsyncSession: call publish_async$"):
            OUTBOX.publish(cast(Any, session), Event("orders.placed", 1))
        with pytest.raises(TypeError, match=r"publish takes .*AsyncSession: use outbox_client.sqlalchemy$"):
            outbox_client.Outbox().publish(cast(Any, session), Event("orders.placed", 1))
    with Session(engine) as plain:
        with pytest.raises(TypeError, match=r"publish_async takes .*, not \S*Session: call publish$"):
            await OUTBOX.publish_async(cast(Any, plain), Event("orders.placed", 1))
        with pytest.raises(TypeError, match=r"once_async takes .*: call once$"):
            await once_async(cast(Any, plain), "pay-42")
    with pytest.raises(TypeError, match=r"not \S*Engine: pass the session or connection that writes the data$"):
        OUTBOX.publish(cast(Any, engine), Event("orders.placed", 1))


async def test_a_scoped_asynchronous_session_will_do(async_engine: AsyncEngine, stored: Stored) -> None:
    scoped = async_scoped_session(
        async_sessionmaker(async_engine, expire_on_commit=False), scopefunc=asyncio.current_task
    )
    OUTBOX.listen(scoped)
    await OUTBOX.publish_async(scoped, Event("orders.placed", 1))
    order = Order()
    order.place()
    scoped.add(order)
    await scoped.commit()
    assert payloads(stored) == [1, {"order": order.id}]
    await scoped.remove()


def test_a_synchronous_application_needs_no_greenlet() -> None:
    program = """
import sys
sys.modules["greenlet"] = None
from sqlalchemy.orm import sessionmaker
from outbox_client.sqlalchemy import Outbox
Outbox().listen(sessionmaker())
try:
    Outbox().publish(1, None)
except AttributeError:
    pass
print("sqlalchemy.ext.asyncio" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_a_new_object_whose_events_were_rolled_back_is_not_taken_again(engine: sa.Engine, stored: Stored) -> None:
    maker = sessionmaker(engine)
    OUTBOX.listen(maker)
    with maker() as session:
        order = Order()
        order.place()
        session.add(order)
        session.flush()
        session.rollback()
        order.place()
        session.add(order)
        with pytest.raises(RuntimeError, match="the events of this Order were rolled back"):
            session.commit()
    assert stored() == []


def test_what_failed_to_be_written_is_written_with_the_object_that_is_added_again(
    engine: sa.Engine, stored: Stored
) -> None:
    maker = sessionmaker(engine)
    OUTBOX.listen(maker)
    with maker.begin() as session:
        session.add(Order(id=7))
    with maker() as session:
        order = Order(id=7)
        order.place()
        session.add(order)
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
        session.rollback()
        order.id = 8
        session.add(order)
        session.commit()
    assert payloads(stored) == [{"order": 8}]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["new", "change", "again", "flush", "savepoint", "release", "undo", "rollback", "commit"]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([("new", 0), ("flush", 0), ("rollback", 0), ("again", 0), ("commit", 0)])
@example([("new", 0), ("commit", 0), ("change", 0), ("rollback", 0), ("change", 0), ("commit", 0)])
@example([("new", 0), ("commit", 0), ("savepoint", 0), ("change", 0), ("undo", 0), ("change", 0), ("commit", 0)])
@example([("savepoint", 0), ("new", 0), ("flush", 0), ("undo", 0), ("again", 0), ("commit", 0)])
def test_the_events_of_an_aggregate_are_those_of_its_committed_row(
    engine: sa.Engine, admin: psycopg.Connection, steps: list[tuple[str, int]]
) -> None:
    admin.execute("DELETE FROM outbox_events")
    admin.execute("DELETE FROM orders")
    maker = sessionmaker(engine)
    OUTBOX.listen(maker)
    with maker() as session:
        _walk(session, [*steps, ("commit", 0)])
    rows = admin.execute("SELECT id::text, note::int FROM orders ORDER BY id").fetchall()
    events = admin.execute("SELECT key, payload::int FROM outbox_events ORDER BY seq").fetchall()
    for order, changes in rows:
        assert [number for key, number in events if key == order] == list(range(1, changes + 1))
    assert {key for key, _ in events} == {order for order, _ in rows}


def _walk(session: Session, steps: list[tuple[str, int]]) -> None:
    """Do what an application may do; each change of an order counts in its row, and is an event of that number."""
    orders: list[Order] = []
    savepoints: list[SessionTransaction] = []
    for step, which in steps:
        attached = [one for one in orders if one in session]
        detached = [one for one in orders if one not in session]
        try:
            if step == "new":
                orders.append(Order())
                _change(orders[-1])
                session.add(orders[-1])
            elif step == "change" and attached:
                _change(attached[which % len(attached)])
            elif step == "again" and detached:
                session.add(detached[which % len(detached)])
            elif step == "flush":
                session.flush()
            elif step == "savepoint":
                savepoints.append(session.begin_nested())
            elif step == "release" and savepoints:
                savepoints.pop().commit()
            elif step == "undo" and savepoints:
                savepoints.pop().rollback()
            elif step in ("rollback", "commit"):
                getattr(session, step)()
                savepoints.clear()
        except (RuntimeError, sa.exc.InvalidRequestError):
            # The object that is added again is refused: by us, or by SQLAlchemy if it has lost its values.
            session.rollback()
            savepoints.clear()
            orders = [one for one in orders if one in session]


def _change(order: Order) -> None:
    number = int(order.note or 0) + 1
    order.note = str(number)
    order.record(lambda: Event("orders.changed", number, key=str(order.id)))


def test_autogenerate_leaves_the_outbox_alone(database: str, producer: str) -> None:
    # A second of imports, which each process of a test run would pay for.
    import alembic.autogenerate
    import alembic.migration

    engine = sa.create_engine(address(database, "psycopg"))

    def dropped(**options: object) -> set[str]:
        with engine.connect() as connection:
            context = alembic.migration.MigrationContext.configure(connection, opts=options)
            found = alembic.autogenerate.compare_metadata(context, Base.metadata)
        return {difference[1].name for difference in found if difference[0] == "remove_table"}

    assert "outbox_events" in dropped(), "without it the table would go"
    assert dropped(include_name=include_name) == set()
    engine.dispose()
