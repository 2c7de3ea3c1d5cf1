"""The changes of one console: one that is being made is told by whom, as another console would tell it."""

import threading

import pytest

from relay.console.changes.jobs import Job, Jobs
from relay.operate.claim import Taken


async def test_a_second_tab_is_told_who_makes_the_change() -> None:
    jobs, goes_on = Jobs(), threading.Event()

    def work(_: Job) -> None:
        goes_on.wait(10)

    jobs.start(Job(7, "replay", "relay replay", "console alice"), work)
    try:
        with pytest.raises(Taken, match="change 7 is being made by console alice"):
            jobs.check_room(7)
        jobs.check_room(8)
    finally:
        goes_on.set()
        await jobs.close()
