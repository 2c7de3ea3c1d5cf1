"""Run projections in this process, until it is told to stop."""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.cancellation import end
from relay.config.derived_options import nats_options
from relay.errors import ConfigError
from relay.observe.projection_metrics import ProjectionMetrics
from relay.observe.projection_progress import PartitionProgress
from relay.observe.refresh_progress import RefreshProgress
from relay.postgres.database import Database
from relay.projection.definition import Definition, Projection, given_twice
from relay.projection.effects import PostgresEffects
from relay.projection.owner import new_name
from relay.projection.refresher import Refresher
from relay.projection.rules.refreshing import Refresh
from relay.projection.runner import Runner, Way
from relay.projection.store import Store

if TYPE_CHECKING:
    from relay.config.settings import Settings


async def run(projections: Sequence[type[Projection] | Definition], settings: "Settings | None" = None) -> None:
    """Keep projections up to date until the task is cancelled.

    Several processes may run the same ones: each partition is applied by one of them, and another takes over within
    10 s of its end, one of the same host or pod within about a second. Cancel the task to stop; what is in its
    transaction is rolled back, and read again by the next owner.

    Args:
        projections: Subclasses of `Projection`.
        settings: `[postgres]` is where the read models are, `[nats]` where the stream is. None: read from the file
            that the environment variable RELAY_CONFIG names, if it is set, and from RELAY_POSTGRES__DSN and the other
            variables of the environment, as `relay projection run` reads them.

    Raises:
        ConfigError: A definition or a setting has a fault, or the tables are of another version.
    """
    if settings is None:
        file = os.environ.get("RELAY_CONFIG")
        from relay.config.settings import load  # a runner that is given its settings has no use for what checks them

        settings = load(Path(file) if file else None)
    definitions = [one if isinstance(one, Definition) else one.definition() for one in projections]
    await run_watched(definitions, settings, ProjectionMetrics())


async def run_watched(definitions: Sequence[Definition], settings: "Settings", metrics: ProjectionMetrics) -> None:
    """Do as `run`, and say in `metrics` what becomes of each partition.

    Raises:
        ConfigError: As from `run`.
    """
    twice = given_twice(definitions)
    if twice:
        raise ConfigError(twice)
    owner, kept = new_name(), Kept(asyncio.current_task())
    way = Way(nats_options(settings), settings.watermark.subject)
    try:
        async with asyncio.TaskGroup() as group:
            for definition in definitions:
                for partition in range(definition.partitions):
                    progress = metrics.partition(definition.name, partition)
                    group.create_task(kept.run(_run_partition(definition, progress, settings, way, owner)))
                for refresh in definition.refreshes:
                    view = metrics.view(definition.name, refresh.view)
                    group.create_task(kept.run(_run_refresh(definition, refresh, settings, view)))
    except* ConfigError as errors:
        lines = [line for error in errors.exceptions if isinstance(error, ConfigError) for line in error.lines]
        raise ConfigError(list(dict.fromkeys(lines))) from None


class Kept:
    """Parts of a process that must not end unseen: a group of tasks passes over one that was cancelled from inside.

    Args:
        whole: The task whose cancellation ends all of them.
    """

    def __init__(self, whole: asyncio.Task[Any] | None) -> None:
        self._whole = whole
        self._is_ending = False

    async def run(self, part: Coroutine[Any, Any, None]) -> None:
        """Await a part. It ends soon after the cancellation of this, whatever it was at.

        Raises:
            RuntimeError: It was cancelled, and nobody has told the whole to end.
        """
        task = asyncio.create_task(part)
        try:
            try:
                await asyncio.wait([task])
            finally:
                await end(task)
                task.result()
        except asyncio.CancelledError as error:
            if self._is_ending or self._whole is None or self._whole.cancelling():
                raise
            self._is_ending = True
            raise RuntimeError("a part of the projections was cancelled, and nobody has told them to end") from error
        # It goes on as it is: whatever ends one part, an interrupt too, has the others cancelled, and they know why.
        except BaseException:
            self._is_ending = True
            raise


async def _run_partition(
    definition: Definition, progress: PartitionProgress, settings: "Settings", way: Way, owner: str
) -> None:
    if definition.store == "redis":
        try:
            # The driver is an extra, and only these projections need it.
            from relay.projection.in_redis.service import run_partition
        except ModuleNotFoundError:
            raise ConfigError(definition.located(["Redis needs outbox-relay[redis]"])) from None
        await run_partition(definition, progress, settings, way, owner)
        return
    async with open_database(settings, f"projection {definition.name}") as database:
        store = Store(database, definition, progress.partition, owner)
        await Runner(definition, progress, store, PostgresEffects(definition, store), way).run()


async def _run_refresh(
    definition: Definition, refresh: Refresh, settings: "Settings", progress: RefreshProgress
) -> None:
    async with open_database(settings, f"refresh {definition.name}.{refresh.view}") as database:
        await Refresher(database, definition, refresh, progress).run()


def open_database(settings: "Settings", name: str) -> Database:
    """Return the database of the read models; it connects with the first statement."""
    postgres = settings.postgres
    return Database(
        postgres.dsn.get_secret_value(),
        name,
        dsn_file=postgres.dsn_file,
        connect_timeout_s=postgres.connect_timeout_s,
        statement_timeout_s=postgres.statement_timeout_s,
    )
