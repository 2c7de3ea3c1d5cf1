"""The runner of the duties: when turns are taken, how long the pauses are, and what the log says."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.maintenance.duty import DutyFailed, DutyRunner, LogLine, retry_pause_s

FAILED = LogLine("error", "tea.cold", "the tea is cold", {"pot": 1})
OVER = LogLine("info", "tea.hot", "the tea is hot again")


class Stands:
    """A connection of which the runner asks one thing."""

    def __init__(self) -> None:
        self.up = True


class Leads:
    def __init__(self) -> None:
        self.leads = True


class Scripted:
    """A duty whose turns end as told; the last one is repeated."""

    every_s = 0.001
    longest_pause_s = 0.002

    def __init__(self, *turns: Exception | None) -> None:
        self._turns = list(turns)
        self.taken = 0
        self.stood_down = 0
        self.next_turn = asyncio.Event()
        self.idle = asyncio.Event()

    async def turn(self, connection: Connection) -> float:
        self.taken += 1
        self.next_turn.set()
        outcome = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        if outcome is not None:
            raise outcome
        return self.every_s

    def stand_down(self) -> None:
        self.stood_down += 1
        self.idle.set()

    async def take(self, turns: int) -> None:
        """Wait until so many turns were taken."""
        while self.taken < turns:
            self.next_turn.clear()
            await self.next_turn.wait()


@asynccontextmanager
async def running(duty: Scripted, leads: Leads) -> AsyncIterator[DutyRunner]:
    runner = DutyRunner(duty, leads)
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(10):
            yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def connection() -> Connection:
    return cast(Connection, Stands())


async def test_no_turn_is_taken_without_a_connection_nor_by_a_relay_that_does_not_lead() -> None:
    duty, leads = Scripted(None), Leads()
    leads.leads = False
    async with running(duty, leads) as runner:
        runner.attach(connection())
        await duty.idle.wait()
        assert duty.taken == 0
        leads.leads = True
        runner.attach(connection())
        await duty.take(1)
        runner.detach()
        taken, stood_down = duty.taken, duty.stood_down
        assert stood_down > 1, "what was shown is taken back at once"
    assert duty.taken == taken
    assert duty.stood_down > stood_down, "and at the end"


async def test_the_same_failure_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "relay")
    cold, lost = DutyFailed("cold", FAILED, OVER), DutyFailed("lost", FAILED, OVER)
    duty = Scripted(cold, cold, lost, BrokerError("gone"), lost, None, None, cold, None)
    async with running(duty, Leads()) as runner:
        runner.attach(connection())
        await duty.take(10)
    said = [(record.levelname, record.__dict__["relay_action"]) for record in caplog.records]
    assert said == [
        ("ERROR", "tea.cold"),
        ("ERROR", "tea.cold"),
        ("INFO", "tea.hot"),
        ("ERROR", "tea.cold"),
        ("INFO", "tea.hot"),
    ]
    assert [record.__dict__["relay_fields"].get("reason") for record in caplog.records][:2] == ["cold", "lost"]


async def test_a_new_connection_ends_a_pause() -> None:
    duty = Scripted(None)
    duty.every_s = 3600
    async with running(duty, Leads()) as runner:
        for turns in (1, 2, 3):
            runner.attach(connection())
            await duty.take(turns)


@given(
    st.integers(0, 10_000),
    st.floats(0.01, 3600, allow_nan=False),
    st.floats(0.01, 3600, allow_nan=False),
)
def test_pauses_grow_from_the_usual_one_up_to_the_longest(failures: int, every_s: float, longest_s: float) -> None:
    pause_s = retry_pause_s(failures, every_s, longest_s)
    assert every_s <= pause_s <= max(longest_s, every_s)
    assert pause_s <= retry_pause_s(failures + 1, every_s, longest_s)
    assert retry_pause_s(0, every_s, longest_s) == every_s
