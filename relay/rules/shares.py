"""How replicas share the shards. Pure: no I/O, no clock.

Each replica decides for itself, from the same list of members: it gives up what is above its fair share, and takes
of what is free up to it. Nobody takes what another one holds, so a shard changes hands only when its owner has
drained it, or when the owner's lease has run out.
"""

from collections.abc import Iterable, Mapping


def fair_share(member: str, owned: int, others: Mapping[str, int], shards: int) -> int:
    """Give how many of `shards` a member should own: the same for all, and one more for some.

    Those with the most have the one more, so that no shard moves for nothing; then the first by name.

    Args:
        member: The one that asks.
        owned: How many it owns.
        others: The other members that are alive, and how many they own.
        shards: How many there are.
    """
    members = sorted({**others, member: owned}.items(), key=lambda each: (-each[1], each[0]))
    each, more = divmod(shards, len(members))
    return each + ([name for name, _ in members].index(member) < more)


def surplus(owned: Iterable[int], share: int) -> list[int]:
    """Give what an owner of these shards should hand over to come down to its share."""
    return sorted(owned)[share:]
