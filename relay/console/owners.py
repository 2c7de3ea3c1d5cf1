"""Who owns how many shards. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.operate.status import Shard


@dataclass(frozen=True, slots=True)
class Owner:
    """One relay.

    Attributes:
        name: ``host:pid:token``, as its lease has it; None stands for shards that nobody holds.
        number: Its place among the owners, from 0 on.
        lease_left_s: The shortest lease; None without an owner.
    """

    name: str | None
    number: int
    shards: int
    lease_left_s: float | None
    watermark: int


def owners(shards: Sequence[Shard]) -> list[Owner]:
    """Return who owns the shards, the largest share first and what nobody holds last."""
    held: dict[str, list[Shard]] = {}
    free = []
    for shard in shards:
        if shard.held and shard.owner is not None:
            held.setdefault(shard.owner, []).append(shard)
        else:
            free.append(shard)
    ranked = sorted(held.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    found = [
        Owner(
            name,
            number,
            len(theirs),
            min(shard.lease_left_s for shard in theirs if shard.lease_left_s is not None),
            min(shard.watermark for shard in theirs),
        )
        for number, (name, theirs) in enumerate(ranked)
    ]
    if free:
        found.append(Owner(None, len(found), len(free), None, min(shard.watermark for shard in free)))
    return found
