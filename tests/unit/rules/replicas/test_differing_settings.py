"""Relays that differ in what they should share are told so, by the names of settings alone."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.replicas.differing_settings import GROUPS, differing, digests
from relay.rules.replicas.relay_names import Member, neighbours

_VALUES: Any = st.fixed_dictionaries({group: st.text(max_size=5) for group in GROUPS})


def named(values: Any, place: str | None = "0" * 16) -> str:
    return str(Member("host", 7, "01234567", place, digests(values)))


@given(_VALUES)
def test_relays_with_the_same_settings_do_not_differ(values: Any) -> None:
    assert differing([named(values), named(dict(values), None)]) == []


@given(_VALUES, st.sampled_from(sorted(GROUPS)))
def test_a_group_that_differs_is_named(values: Any, group: str) -> None:
    other = {**values, group: values[group] + "x"}
    told = differing([named(values), named(other), named(values)])
    assert told in ([GROUPS[group]], []), "twelve bits may be the same"
    assert digests(values) == digests(other) or told


def test_relays_of_releases_that_say_nothing_of_their_settings_are_not_compared() -> None:
    values = dict.fromkeys(GROUPS, "")
    assert differing(["vm:1071:0d685636", f"vm:1071:0d685636:{'a' * 16}", named(values), "", ":"]) == []


@given(_VALUES)
def test_the_settings_in_a_name_change_nothing_about_whose_death_can_be_proved(values: Any) -> None:
    me, other = named(values), str(Member("host", 8, "76543210", "0" * 16))
    placed = Member.placed(me)
    assert placed is not None
    assert neighbours(placed, [me, other]) == [other]
