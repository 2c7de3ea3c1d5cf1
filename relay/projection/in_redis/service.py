"""Open the Redis of the settings, and run a partition there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from relay.errors import ConfigError
from relay.observe.projection_progress import PartitionProgress
from relay.projection.definition import Definition
from relay.projection.in_redis.client import Client, RedisFault, script_of
from relay.projection.in_redis.effects import RedisEffects
from relay.projection.in_redis.ledger import RedisLedger, prefix_of
from relay.projection.runner import Runner, Way

if TYPE_CHECKING:
    from relay.config.settings import Settings

_UNSET = '[redis] url: must be set (RELAY_REDIS__URL) for projections with store = "redis"'


@asynccontextmanager
async def open_client(settings: "Settings") -> AsyncIterator[Client]:
    """Return the Redis of the settings; it connects with the first call.

    Raises:
        ConfigError: The settings name none.
    """
    if _is_unset(settings):
        raise ConfigError([_UNSET])
    url = "" if settings.redis.url is None else settings.redis.url.get_secret_value()
    client = Client(url, settings.redis.url_file)
    try:
        yield client
    finally:
        await client.close()


async def run_partition(
    definition: Definition, progress: PartitionProgress, settings: "Settings", way: Way, owner: str
) -> None:
    """Keep a partition up to date until the task is cancelled.

    Raises:
        ConfigError: The settings name no Redis, or the model is of another version.
    """
    if _is_unset(settings):
        raise ConfigError(definition.located([_UNSET]))
    async with open_client(settings) as client:
        ledger = RedisLedger(client, definition, progress.partition, owner)
        await Runner(definition, progress, ledger, RedisEffects(definition, ledger), way).run()


def _is_unset(settings: "Settings") -> bool:
    return settings.redis.url is None and settings.redis.url_file is None


async def find_faults(definition: Definition, settings: "Settings") -> list[str]:
    """Have Redis read the script of a projection, without running it; return its faults, and those of the model."""
    try:
        async with open_client(settings) as client:
            await client.check_keeps()
            await client.call("SCRIPT LOAD", script_of(definition))
            state = f"{prefix_of(definition.name, 0)}:state"
            version, partitions, stream = await client.call("HMGET", state, "version", "partitions", "stream")
            if version is None:
                return []
            return definition.faults_against(int(version), int(partitions), bytes(stream).decode())
    except ConfigError as error:
        return list(error.lines)
    except RedisFault as error:
        return [str(error)]
