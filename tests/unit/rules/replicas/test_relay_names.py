"""Whose life or death can be proved from here: nobody's but those of our own host and place."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.replicas.relay_names import Member, neighbours

HOSTS = st.sampled_from(["a", "b", "relay-0.shop"]) | st.text(
    st.characters(blacklist_characters=":", codec="utf-8"), min_size=1, max_size=8
)
PLACES = st.none() | st.sampled_from(["0" * 16, "f" * 16, "0123456789abcdef"])
SETTINGS = st.none() | st.sampled_from(["s" + "0" * 15, "s0123456789abcde"])
MEMBERS = st.builds(
    Member, HOSTS, st.integers(1, 4_194_304), st.text("0123456789abcdef", min_size=8, max_size=8), PLACES, SETTINGS
)
NAMES = MEMBERS.map(str) | st.text(max_size=40)


@given(MEMBERS)
def test_a_name_with_a_place_is_read_as_it_was_written_and_no_other(member: Member) -> None:
    assert Member.placed(str(member)) == (None if member.place is None else member)


@given(MEMBERS, st.lists(NAMES))
def test_a_neighbour_is_another_relay_of_the_same_host_and_place(me: Member, names: list[str]) -> None:
    found = neighbours(me, [*names, str(me)])
    assert str(me) not in found
    for name in found:
        other = Member.placed(name)
        assert other is not None and other.place is not None
        assert (other.host, other.place) == (me.host, me.place)


@given(MEMBERS, MEMBERS)
def test_every_relay_of_the_same_host_and_place_is_a_neighbour(me: Member, other: Member) -> None:
    other = other._replace(host=me.host, place=me.place)
    same = me.place is not None and other != me
    assert neighbours(me, [str(other)]) == ([str(other)] if same else [])


@given(MEMBERS, MEMBERS)
def test_nobody_is_a_neighbour_of_a_relay_without_a_place(me: Member, other: Member) -> None:
    assert neighbours(me._replace(place=None), [str(other)]) == []


def test_the_name_of_an_older_relay_has_no_place() -> None:
    assert Member.placed("vm:1071:0d685636") is None
