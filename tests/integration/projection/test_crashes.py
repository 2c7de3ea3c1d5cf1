"""An event that ends the process each time is found, and parked; every other event is applied."""

import asyncio
import multiprocessing
import os
import signal
import sys
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from relay.config.settings import load
from relay.projection import Event, Projection, Transaction, on, run
from tests.integration.projection.world import STREAM, TABLES, Events, fold, run_sql, state, trail
from tests.support.fix_relay import wait_until


class Deadly(Projection):
    """Ends its process at one event."""

    name, stream, subjects = "trail", STREAM, ("orders.>",)
    tables = TABLES
    way = "killed"

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Append the number, or die."""
        if event.data["i"] == 137:
            match self.way:
                case "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exit":
                    sys.exit(3)
                case "interrupt":
                    raise KeyboardInterrupt
        await tx.execute(
            "INSERT INTO trail VALUES ($1, ARRAY[$2::bigint])"
            " ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers",
            [event.key, event.data["i"]],
        )


def child(dsn: str, url: str, way: str) -> None:
    """Run the projection in a process of its own."""
    Deadly.way = way
    settings: dict[str, Any] = {"postgres.dsn": dsn, "nats.servers": (url,)}
    asyncio.run(run([Deadly], load(None, settings, environ={})))


def over(process: BaseProcess, dsn: str) -> bool:
    """Return whether the process has ended, or everything is settled."""
    return process.exitcode is not None or state(dsn).get("position") == 200


@pytest.mark.parametrize("way", ["killed", "exit", "interrupt"])
def test_an_event_that_ends_the_process_is_parked_and_the_others_are_applied(
    empty_database: str, events: Events, way: str
) -> None:
    events.make()
    events.send(*((seq, f"k{seq % 7}") for seq in range(1, 201)))
    # Children are forks of one process that has imported this module.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    for _ in range(20):
        process = context.Process(target=child, args=(empty_database, events.url, way))
        process.start()
        wait_until("it has ended, or all is settled", partial(over, process, empty_database))
        alive = process.exitcode is None
        process.kill()
        process.join()
        if alive:
            break
        # The lease need not run out for real.
        run_sql(empty_database, "UPDATE projection.state SET lease_until = '-infinity'")
    parked = run_sql(empty_database, "SELECT seq, reason FROM projection.parked ORDER BY number")
    assert parked[0][0] == 137 and "have ended" in parked[0][1]
    assert [reason for _, reason in parked[1:]] == [None] * (len(parked) - 1)
    waiting = {seq for seq, _ in parked}
    assert trail(empty_database) == fold(*((seq, f"k{seq % 7}") for seq in range(1, 201) if seq not in waiting))
    assert waiting == {seq for seq in range(137, 201) if seq % 7 == 137 % 7}
