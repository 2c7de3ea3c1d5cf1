"""Who waits for the end of several things gets it, also if one of them swallows a cancellation."""

import asyncio
import time

import pytest

from relay import cancellation
from relay.cancellation import all_of, end


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "SOON_S", 0.05)


async def returns(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def raises() -> int:
    await asyncio.sleep(0.01)
    raise ZeroDivisionError


async def is_deaf() -> int:
    """Swallow one cancellation, as a library might."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await asyncio.sleep(3600)
    return 0


def test_one_that_was_cancelled_before_is_not_disturbed_in_its_last_words() -> None:
    async def closes() -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            closed.append(1)
        return ""

    closed: list[int] = []

    async def run() -> None:
        task = asyncio.create_task(closes())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)  # its last words begin
        await end(task, again_s=20, were_cancelled=True)
        assert task.cancelled() and closed

    asyncio.run(run())


def test_all_of_returns_what_each_returns() -> None:
    assert asyncio.run(all_of(returns(1), returns(2), returns(3))) == [1, 2, 3]
    assert asyncio.run(all_of()) == []


def test_one_that_fails_ends_the_others_and_is_told() -> None:
    async def run() -> None:
        with pytest.raises(ZeroDivisionError):
            await all_of(is_deaf(), raises(), is_deaf())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_a_cancellation_ends_all_of_them() -> None:
    async def run() -> None:
        waiting = asyncio.create_task(all_of(is_deaf(), returns(1), is_deaf()))
        await asyncio.sleep(0.02)
        began = time.monotonic()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert time.monotonic() - began < 20
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
