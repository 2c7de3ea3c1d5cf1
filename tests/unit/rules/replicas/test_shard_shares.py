"""How replicas share the shards, by what must hold of any set of them."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.replicas.shard_shares import fair_share, surplus

_OWNED = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 64), min_size=1, max_size=25)


@given(_OWNED, st.integers(1, 100))
def test_the_shares_add_up_to_all_and_differ_by_one_at_most(owned: dict[str, int], shards: int) -> None:
    shares = {
        member: fair_share(member, owned[member], {other: owned[other] for other in owned if other != member}, shards)
        for member in owned
    }
    assert sum(shares.values()) == shards
    assert max(shares.values()) - min(shares.values()) <= 1


@given(_OWNED, st.integers(1, 64))
def test_who_has_more_never_gets_less(owned: dict[str, int], shards: int) -> None:
    shares = [
        (owned[member], fair_share(member, owned[member], {o: owned[o] for o in owned if o != member}, shards))
        for member in owned
    ]
    for had, share in shares:
        assert all(share >= other for other_had, other in shares if had > other_had)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.data())
def test_steps_in_any_order_end_with_fair_shares_and_then_nothing_moves(joins: list[int], data: st.DataObject) -> None:
    """Each step is what one member does at a beat; leaving frees its shards at once."""
    shards, free = 16, set(range(16))
    owned: dict[str, set[int]] = {}

    def step(member: str) -> bool:
        others = {name: len(theirs) for name, theirs in owned.items() if name != member}
        share = fair_share(member, len(owned[member]), others, shards)
        given = surplus(owned[member], share)
        owned[member] -= set(given)
        taken = sorted(free)[: max(0, share - len(owned[member]))]
        free.update(given)
        free.difference_update(taken)
        owned[member] |= set(taken)
        return bool(given or taken)

    for number, join in enumerate(joins):
        if join % 3 or not owned:
            owned[f"m{number}"] = set()
        else:
            free |= owned.pop(data.draw(st.sampled_from(sorted(owned))))
        for member in data.draw(st.lists(st.sampled_from(sorted(owned)), max_size=5)) if owned else []:
            step(member)
    for _ in range(8):
        moved = [step(member) for member in sorted(owned)]
    if owned:
        assert not any(moved)
        assert not free
        sizes = [len(theirs) for theirs in owned.values()]
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == shards
