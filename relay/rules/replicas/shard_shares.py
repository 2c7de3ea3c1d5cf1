"""How replicas share the shards. Pure: no I/O, no clock.

Each replica decides for itself, from the same list of members: it gives up what is above its fair share, and claims
free shards up to it. Nobody takes what another one holds, so a shard changes hands only when its owner has
drained it, or when the owner's lease has run out.
"""

from collections.abc import Iterable, Mapping


def fair_share(member: str, owned: int, others: Mapping[str, int], shards: int) -> int:
    """Return how many of `shards` a member should own: the same for all, and one more for some.

    The members that own most have one more, so that no shard moves without need; then the first by name.

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
    """Return the shards that an owner of these should hand over to come down to its share."""
    return sorted(owned)[share:]
