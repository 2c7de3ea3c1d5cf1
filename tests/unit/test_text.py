"""Foreign text is made harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.text import printable


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
