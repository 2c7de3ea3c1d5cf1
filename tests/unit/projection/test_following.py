"""What follows a parked event that is tried again or given up: what only waits for it, up to one that was refused."""

import pytest

from relay.projection.operator import BEHIND, ParkedEvent, following


def parked(text: str) -> list[ParkedEvent]:
    """Return events of a text such as ``a! a b!``: each a key, with ``!`` if refused; ``-`` stands for no key."""
    found = []
    for number, word in enumerate(text.split(), 1):
        key, refused = (None if word[0] == "-" else word[0]), word.endswith("!")
        reason = "it is wrong" if refused else BEHIND
        found.append(ParkedEvent(number, 0, key, number, number, "t", reason, None, 0.0, int(refused)))
    return found


@pytest.mark.parametrize(
    ("text", "numbers", "wanted"),
    [
        ("a! a a b! b", [1], 2),
        ("a! a a b! b", [1, 4], 3),
        ("a! a a! a", [1], 1),
        ("a! a a! a", [1, 3], 2),
        ("a! a a! a", [3], 0),
        ("a! a a", [2], 0),
        ("a! a a", [1, 2], 1),
        ("-! -!", [1], 0),
        ("a! b! b", [], 0),
    ],
)
def test_what_only_waits_behind_follows(text: str, numbers: list[int], wanted: int) -> None:
    events = parked(text)
    assert following([one for one in events if one.number in numbers], events) == wanted


def test_an_event_of_another_partition_does_not_follow() -> None:
    first, second = parked("a! a")
    assert following([first], [first, second._replace(partition=1)]) == 0
