"""How replicas share the shards. Pure: no I/O, no clock.

Each replica decides for itself, from the same list of members: it gives up what is above its fair share, and takes
of what is free up to it. Nobody takes what another one holds, so a shard changes hands only when its owner has
drained it, or when the owner's lease has run out.
"""

from collections.abc import Iterable


def fair_share(member: str, others: Iterable[str], shards: int) -> int:
    """Give how many of `shards` a member should own: the same for all, and one more for the first of them by name.

    Args:
        member: The one that asks.
        others: The other members that are alive.
        shards: How many there are.
    """
    members = sorted({member, *others})
    each, more = divmod(shards, len(members))
    return each + (members.index(member) < more)


def surplus(owned: Iterable[int], share: int) -> list[int]:
    """Give what an owner of these shards should hand over to come down to its share."""
    return sorted(owned)[share:]
