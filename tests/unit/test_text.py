"""Foreign text is made harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.text import of_planned, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("orders.placed", "orders.placed"),
        ("Grüße 訂單", "Grüße 訂單"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[2J\x9b31m", r"\x1b[2J\x9b31m"),
        ("a\u202eb\u200bc\u2028", r"a\u202eb\u200bc\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_the_result_is_always_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("done", "planned", "told"),
    [(0, 0, "0 of 0"), (1000, 7000, "1,000 of 7,000"), (7, 7, "7 of 7"), (1001, 1000, "1,001 (1,000 when it began)")],
)
def test_more_than_there_was_at_the_beginning_is_not_called_a_part_of_it(done: int, planned: int, told: str) -> None:
    assert of_planned(done, planned) == told
