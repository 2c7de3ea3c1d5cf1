"""Tables on terminals of any width: names are cut, numbers and times never, and the reason is always there."""

import os
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.table import Column, table

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
