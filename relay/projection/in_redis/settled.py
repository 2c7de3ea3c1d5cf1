"""What a projection in Redis has settled, for a comparison with the outbox."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relay.errors import RelayError
from relay.projection.in_redis.client import Client, RedisFault
from relay.projection.in_redis.ledger import prefix_of
from relay.projection.in_redis.operator import accepted_gaps, statuses
from relay.projection.in_redis.packing import chunk_name
from relay.projection.in_redis.service import open_client
from relay.projection.rules.seq_bits import ChunkId

if TYPE_CHECKING:
    from relay.config.settings import Settings


class SettledInRedis:
    """Reads it, one question after another.

    Args:
        runner: Where the client works.
        client: The Redis of the model.
        name: The projection.

    Raises:
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """

    def __init__(self, runner: asyncio.Runner, client: Client, name: str) -> None:
        self._runner = runner
        self._client = client
        found = runner.run(statuses(client, name))
        self.position = min((one.position for one in found), default=0)
        self.gaps: Sequence[range] = runner.run(accepted_gaps(client, name))
        self._prefixes = [prefix_of(name, one.partition, one.generation) for one in found]

    def bits(self, chunk: int, origins: Sequence[str]) -> Iterator[bytes]:
        """Return the bits of a chunk of seqs, of each partition and each origin."""
        names = [chunk_name(ChunkId(origin, chunk)) for origin in origins]
        keys = [f"{prefix}:applied:{name}" for prefix in self._prefixes for name in names]
        found = self._runner.run(self._client.call("MGET", *keys)) if keys else []
        return (bytes(one) for one in found if one is not None)


@contextmanager
def settled_in_redis(settings: "Settings", name: str) -> Iterator[SettledInRedis]:
    """Open the Redis of the settings to look at a projection.

    Raises:
        ConfigError: The settings name none.
        NoProjection: There is no such projection.
        RelayError: Redis cannot be used.
    """
    with asyncio.Runner() as runner:
        opened = open_client(settings)
        client = runner.run(opened.__aenter__())
        try:
            yield SettledInRedis(runner, client, name)
        except RedisFault as error:
            raise RelayError(str(error)) from None
        finally:
            runner.run(client.close())
