"""Tables on terminals of any width: names are cut, numbers and times never, and the reason is always there."""

import os
import unicodedata
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.table import Column, fill, table

COLUMNS = (
    Column("SEQ", right=True),
    Column("ID", name=True),
    Column("TOPIC", name=True),
    Column("KEY", name=True),
    Column("TRIES", right=True),
    Column("DEAD"),
    Column("LAST ERROR", rest=True),
)
WHEN = "2026-11-29 12:00:00 (3 min ago)"
ROW = ("4711", "0191d7a6-7a6c-7d2a-9d7e-1c1d5a4b3c2d", "orders.placed", "order-42", "12", WHEN, "no stream takes it")
names = st.text("abcdefghij-. ", min_size=1, max_size=70).map(str.strip).filter(bool)


def shown(width: int | None, *rows: tuple[str, ...]) -> list[str]:
    terminal = mock.patch("sys.stdout.isatty", return_value=width is not None)
    size = mock.patch("shutil.get_terminal_size", return_value=os.terminal_size((width or 0, 24)))
    with terminal, size:
        return table(COLUMNS, rows)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_the_reason_of_a_dead_letter_is_seen_on_a_terminal_of_any_width(width: int) -> None:
    text = "\n".join(shown(width, ROW))
    assert "no stream takes it" in text
    assert WHEN in text
    assert " 12 " in text


@given(
    seq=st.integers(0, 2**63 - 1),
    texts=st.tuples(names, names, names),
    tries=st.integers(0, 10**6),
    reason=names,
    width=st.integers(20, 250),
)
def test_no_number_and_no_time_is_cut(
    seq: int, texts: tuple[str, str, str], tries: int, reason: str, width: int
) -> None:
    lines = shown(width, (str(seq), *texts, str(tries), WHEN, reason))
    words = " ".join(lines).split()
    assert str(seq) in words
    assert str(tries) in words
    assert WHEN in " ".join(lines)
    assert reason[:12].strip() in "\n".join(lines)


def test_where_there_is_room_nothing_is_cut_and_what_is_no_terminal_has_room() -> None:
    for width in (200, None):
        title, line = shown(width, ROW)
        assert [text in line for text in ROW] == [True] * len(ROW)
        assert "LAST ERROR" in title


def columns_of(text: str) -> int:
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


@given(st.text(st.sampled_from("ab\N{CJK UNIFIED IDEOGRAPH-4E00}e\N{COMBINING ACUTE ACCENT}"), max_size=600))
def test_a_cell_keeps_its_beginning_and_as_much_as_has_room(name: str) -> None:
    cell, wide = fill(name, 0)
    assert wide == columns_of(cell) <= 60
    if cell != name:
        kept = cell.removesuffix("…")
        assert name.startswith(kept)
        assert wide >= 59 or len(kept) == 240


def test_a_cell_of_a_million_characters_costs_no_more_than_what_is_shown_of_it() -> None:
    asked = 0

    def combining(char: str) -> int:
        nonlocal asked
        asked += 1
        return 230 if char == "\N{COMBINING ACUTE ACCENT}" else 0

    with mock.patch("unicodedata.combining", combining):
        for text in ("x" * 1_000_000, "é" * 1_000_000, "e" + "\N{COMBINING ACUTE ACCENT}" * 1_000_000):
            (_, line) = shown(None, ("1", "i", text, "k", "0", WHEN, "why"))
            assert len(line) < 2_000
    assert asked < 20_000
