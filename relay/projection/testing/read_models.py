"""Give events to a projection and look at its model; check that no permitted way of delivery changes it."""

import asyncio
import random
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from relay.projection.definition import Definition, Projection
from relay.projection.rules.incoming import Incoming
from relay.projection.testing.history import Sent, messages, numbered
from relay.projection.testing.sandbox import Row, Sandbox, opened
from relay.projection.testing.variants import NotTheSame, Outcome, Variant, difference, variants
from relay.projection.toml_file import read_file

T = TypeVar("T")

Tested = type[Projection] | Definition | Path | str
"""A projection: its class, its definition, or the path of its TOML file."""


class ReadModels:
    """Tests projections in a database that holds none of them; nothing that a test does there stays.

    Args:
        dsn: The address of a PostgreSQL database in which the user may make schemas.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def given(self, *events: Sent) -> "Scenario":
        """Begin a scenario with the events that were committed, in their order."""
        return Scenario(self._dsn, tuple(events))

    def check(
        self,
        projection: Tested,
        events: Sequence[Sent],
        *,
        runs: int = 30,
        seed: int = 0,
        ignore: Sequence[str] = (),
    ) -> None:
        """Check that the model is the same however the events are delivered.

        They are delivered one by one, all in one batch, and by chance: in batches of any size, with crashes before and
        after commits, read again from earlier positions, and with the keys interleaved in other ways. Everything runs
        in one transaction, so that ``now()`` is the same; columns that chance decides must be left out.

        Args:
            projection: Its class, its definition, or the path of its TOML file.
            events: In the order in which they were committed.
            runs: How many ways by chance; each takes about a millisecond for an event.
            seed: Of the chance.
            ignore: Columns that may differ, as ``table.column``.

        Raises:
            NotTheSame: Two ways have left different models; it shows the rows, and the way.
            ConfigError: The projection has a fault, or the database holds one of its name.
            Stopped: The projection stopped by itself, as when too much is parked.
            psycopg.Error: The database refused something that is not the fault of an event.
        """
        _run(_check(self._dsn, _definition(projection), events, list(ignore), (runs, seed)))


@dataclass(frozen=True)
class Scenario:
    """Events, and the projection that they are given to. `then` may be called several times."""

    _dsn: str
    _events: tuple[Sent, ...]
    _projection: Tested | None = None

    def when(self, projection: Tested) -> "Scenario":
        """Choose the projection that gets the events: its class, its definition, or the path of its TOML file."""
        return replace(self, _projection=projection)

    def then(
        self, query: str, rows: Sequence[Row], *, parked: Mapping[int, str] | None = None, in_order: bool = False
    ) -> "Scenario":
        """Apply the events in one batch, and compare what a query finds.

        Args:
            query: Its tables need no schema.
            rows: What it must find.
            parked: The seqs of the events that must be parked, each with a part of the reason; empty for one that
                waits behind another one of its key. None may be parked if left out.
            in_order: Whether the order of the rows counts.

        Raises:
            AssertionError: It found something else, or other events are parked.
            ConfigError: The projection has a fault, or the database holds one of its name.
            Stopped: The projection stopped by itself, as when too much is parked.
            psycopg.Error: The database refused something that is not the fault of an event.
        """
        if self._projection is None:
            raise RuntimeError("say which projection it is: given(...).when(projection).then(...)")
        found, is_parked = _run(_scenario(self._dsn, _definition(self._projection), self._events, query))
        _compare_parked(parked or {}, is_parked)
        wanted = [tuple(row) for row in rows]
        if not in_order:
            wanted, found = sorted(wanted, key=repr), sorted(found, key=repr)
        if wanted != found:
            missing = [row for row in wanted if row not in found]
            extra = [row for row in found if row not in wanted]
            shown = "\n".join([f"  - {row}" for row in missing] + [f"  + {row}" for row in extra])
            raise AssertionError(f"{query}\n{shown or f'  the rows are {found}, and not {wanted}'}")
        return self


def _compare_parked(wanted: Mapping[int, str], found: Sequence[tuple[int, str | None]]) -> None:
    for seq, reason in found:
        if seq not in wanted:
            raise AssertionError(f"event {seq} was parked: {reason or 'it waits behind another one of its key'}")
        if wanted[seq] not in (reason or "") or (not wanted[seq] and reason):
            raise AssertionError(f"event {seq} was parked for another reason: {reason}")
    missing = wanted.keys() - {seq for seq, _ in found}
    if missing:
        raise AssertionError(f"events {sorted(missing)} were not parked")


async def _scenario(
    dsn: str, definition: Definition, events: Sequence[Sent], query: str
) -> tuple[list[Row], list[tuple[int, str | None]]]:
    async with opened(dsn, definition) as sandbox:
        batch = messages(numbered(events))
        if batch:
            await sandbox.settle(batch)
        return await sandbox.query(query), await sandbox.parked()


async def _check(
    dsn: str, definition: Definition, events: Sequence[Sent], ignore: list[str], chance: tuple[int, int]
) -> None:
    expected: Outcome | None = None
    async with opened(dsn, definition) as sandbox:
        for variant in variants(numbered(events), *chance):
            async with sandbox.fresh():
                await _deliver(sandbox, variant)
                outcome = _without(ignore, await sandbox.model(), await sandbox.parked())
            if expected is None:
                expected = outcome
                continue
            found = difference(expected, outcome)
            if found is not None:
                raise NotTheSame(
                    f"{definition.name} is not the same when its events come in another way\n"
                    f"- one by one\n+ {variant.name}\n{found}"
                )


async def _deliver(sandbox: Sandbox, variant: Variant) -> None:
    chance = random.Random(variant.seed)
    stream = messages(variant.events)
    begin = 0
    for size in variant.sizes:
        batch: list[Incoming] = stream[begin : begin + size]
        if variant.trouble == "crash":
            position = await sandbox.crash(batch)
            if position != begin:
                raise AssertionError(f"after a crash at {begin} the position is {position}")
        await sandbox.settle(batch)
        begin += size
        if variant.trouble == "crash":
            await sandbox.restart()
        elif variant.trouble == "set back":
            back = chance.randint(0, begin)
            await sandbox.set_back(back)
            if back < begin:
                await sandbox.settle(stream[back:begin])


def _without(
    ignore: Sequence[str], model: Mapping[str, Sequence[Row]], parked: Sequence[tuple[int, str | None]]
) -> Outcome:
    left_out = {tuple(one.split(".", 1)) for one in ignore}
    rows = {
        table: sorted(
            (({name: value for name, value in row.items() if (table, name) not in left_out},) for (row,) in found),
            key=repr,
        )
        for table, found in model.items()
    }
    return Outcome(rows, tuple(seq for seq, _ in parked))


def _definition(projection: Tested) -> Definition:
    if isinstance(projection, Definition):
        return projection
    if isinstance(projection, str | Path):
        return read_file(Path(projection))
    return projection.definition()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end, in a thread of its own if this one has an event loop that runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
