"""A command is carried out once, whoever repeats it and however both end."""

import threading
from collections.abc import Iterator
from decimal import Decimal

import asyncpg
import psycopg
import pytest
from conftest import Stored
from tests.support.fix_relay import wait_until

from outbox_client import Event, NotInTransaction, Outbox
from outbox_client.commands import Earlier, KeyReused, once, once_async, remember, remember_async

OUTBOX = Outbox()


pytestmark = pytest.mark.usefixtures("commands")


@pytest.fixture
def two(producer: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with psycopg.connect(producer) as one, psycopg.connect(producer) as other:
        yield one, other


def test_a_repeat_gets_the_result_and_changes_nothing(producer: str, stored: Stored) -> None:
    for _ in range(2):
        with psycopg.connect(producer) as conn:
            earlier = once(conn, "pay-42", request={"amount": 5, "to": "a"})
            if earlier is None:
                event = OUTBOX.publish(conn, Event("orders.paid", {"order": 42}))
                remember(conn, "pay-42", {"event": str(event)})
    assert [row[0] for row in stored()] == [event]
    assert earlier == Earlier({"event": str(event)})


def test_a_command_that_was_rolled_back_is_carried_out_by_its_repeat(producer: str) -> None:
    with psycopg.connect(producer) as conn:
        assert once(conn, "pay-42") is None
        conn.rollback()
        assert once(conn, "pay-42") is None
        conn.commit()
        assert once(conn, "pay-42") == Earlier(None)


def test_one_key_with_another_request_is_refused(producer: str) -> None:
    with psycopg.connect(producer) as conn:
        assert once(conn, "pay-42", request={"to": "a", "amount": 5}) is None
        assert once(conn, "pay-42", request={"amount": 5, "to": "a"}) == Earlier(None)
        with pytest.raises(KeyReused, match="pay-42"):
            once(conn, "pay-42", request={"amount": 6, "to": "a"})
        assert once(conn, "pay-43", request=b"\x00") is None


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_repeat_waits_for_the_command_under_way(
    two: tuple[psycopg.Connection, psycopg.Connection], admin: psycopg.Connection, end: str
) -> None:
    one, other = two
    assert once(one, "pay-42") is None
    remember(one, "pay-42", 1)
    found: list[Earlier | None] = []
    pid = other.info.backend_pid
    waiting = threading.Thread(target=lambda: found.append(once(other, "pay-42")))
    waiting.start()
    wait_until(
        "the repeat waits", lambda: admin.execute("SELECT pg_blocking_pids(%s) <> '{}'", (pid,)).fetchone() == (True,)
    )
    getattr(one, end)()
    waiting.join(20)
    assert found == [Earlier(1) if end == "commit" else None]


def test_a_stricter_transaction_fails_instead_of_answering_from_the_past(
    two: tuple[psycopg.Connection, psycopg.Connection],
) -> None:
    one, other = two
    other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    other.execute("SELECT 1 FROM outbox_commands")
    assert once(one, "pay-42") is None
    one.commit()
    with pytest.raises(psycopg.errors.SerializationFailure):
        once(other, "pay-42")
    other.rollback()
    assert once(other, "pay-42") == Earlier(None)


def test_a_result_without_a_command_is_refused(producer: str) -> None:
    with psycopg.connect(producer) as conn, pytest.raises(LookupError, match="call once first"):
        remember(conn, "pay-42", 1)


def test_autocommit_is_refused(producer: str) -> None:
    with psycopg.connect(producer, autocommit=True) as conn:
        with pytest.raises(NotInTransaction, match=r"call once inside a transaction.* the command would be"):
            once(conn, "pay-42")
        with conn.transaction():
            assert once(conn, "pay-42") is None
        assert conn.execute("SELECT count(*) FROM outbox_commands").fetchone() == (1,)


async def test_asynchronous_psycopg_does_the_same(producer: str) -> None:
    async with await psycopg.AsyncConnection.connect(producer) as conn:
        assert await once_async(conn, "pay-42", request=1) is None
        await remember_async(conn, "pay-42", [1, "Zoë"])
        assert await once_async(conn, "pay-42", request=1) == Earlier([1, "Zoë"])
        with pytest.raises(KeyReused):
            await once_async(conn, "pay-42", request=2)
        with pytest.raises(LookupError):
            await remember_async(conn, "pay-43", 1)


async def test_asyncpg_does_the_same(producer: str) -> None:
    conn = await asyncpg.connect(producer)
    try:
        with pytest.raises(NotInTransaction):
            await once_async(conn, "pay-42")
        async with conn.transaction():
            assert await once_async(conn, "pay-42", request=1) is None
            await remember_async(conn, "pay-42", [1, "Zoë"])
        async with conn.transaction():
            assert await once_async(conn, "pay-42", request=1) == Earlier([1, "Zoë"])
            with pytest.raises(KeyReused):
                await once_async(conn, "pay-42", request=2)
            with pytest.raises(LookupError):
                await remember_async(conn, "pay-43", 1)
    finally:
        await conn.close()


def test_values_that_json_does_not_know_are_refused_by_name(producer: str) -> None:
    with psycopg.connect(producer) as conn:
        with pytest.raises(TypeError, match=r"the request of a command: .*Decimal.*: make a text of it"):
            once(conn, "pay-42", request={"amount": Decimal(5)})
        assert once(conn, "pay-42") is None
        with pytest.raises(TypeError, match=r"the result of a command: .*Decimal"):
            remember(conn, "pay-42", Decimal(5))
