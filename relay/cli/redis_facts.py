"""What the doctor asks the Redis of read models."""

import time

from relay.config.settings import Settings
from relay.operate.doctor.facts import PartitionFacts, RedisFacts


async def redis_facts(settings: Settings) -> RedisFacts:
    """Return how the projections of the Redis are that `[redis]` names, or why that cannot be said."""
    try:
        # The driver is an extra, and only these projections need it.
        from relay.projection.in_redis.client import RedisFault
        from relay.projection.in_redis.operator import statuses
        from relay.projection.in_redis.service import open_client
    except ModuleNotFoundError:
        return RedisFacts(error="the driver is missing: pip install outbox-relay[redis]")
    try:
        async with open_client(settings) as client:
            await client.check_keeps()
            found = await statuses(client)
    except RedisFault as error:
        return RedisFacts(error=str(error))
    now = time.time()
    return RedisFacts(
        tuple(
            PartitionFacts(
                one.name,
                one.partition,
                one.status,
                one.error,
                one.owner is not None,
                one.position,
                one.parked,
                None if one.complete_up_to is None else max(0.0, now - one.complete_up_to),
                one.crashes,
            )
            for one in found
        )
    )
