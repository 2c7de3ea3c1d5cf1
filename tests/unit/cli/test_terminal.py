"""A picture that is drawn again in the same place, on a real terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from relay.terminal import Redraw

ROWS = 6


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """The two ends of a terminal: what was drawn is read from the first."""
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, 20, 0, 0))
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        yield reading, out
    os.close(reading)


def drawn(picture: Redraw, terminal: tuple[int, TextIO], *lines: str) -> str:
    """Draw, and return what came out: a terminal may hand it over in pieces, and wrapping again is the last."""
    picture.draw(lines)
    found = b""
    while not found.endswith(b"\x1b[?7h"):
        found += os.read(terminal[0], 65536)
    return found.decode()


def test_the_next_picture_begins_where_the_last_one_did(terminal: tuple[int, TextIO]) -> None:
    picture = Redraw(terminal[1])
    first = drawn(picture, terminal, "one", "two")
    assert "\x1b[2A" not in first
    second = drawn(picture, terminal, "three")
    assert "\x1b[2A" in second
    assert second.endswith("three\r\n\x1b[J\x1b[?7h"), "what was below is cleared, and lines wrap again"
    assert "\x1b[1A" in drawn(picture, terminal, "four")


def test_a_picture_that_is_too_high_is_cut_so_that_its_top_stays_in_reach(terminal: tuple[int, TextIO]) -> None:
    picture = Redraw(terminal[1])
    assert drawn(picture, terminal, *"abcdefgh").count("\r\n") == ROWS - 1
    assert f"\x1b[{ROWS - 1}A" in drawn(picture, terminal, "a")


def test_below_something_else_it_begins_again(terminal: tuple[int, TextIO]) -> None:
    picture = Redraw(terminal[1])
    drawn(picture, terminal, "one", "two")
    picture.forget()
    assert "A\r" not in drawn(picture, terminal, "three")


def test_the_cursor_is_hidden_only_while_it_draws(terminal: tuple[int, TextIO]) -> None:
    with Redraw(terminal[1]):
        assert os.read(terminal[0], 100) == b"\x1b[?25l"
    assert os.read(terminal[0], 100) == b"\x1b[?25h"


def test_sigterm_shows_the_cursor_again_and_ends_as_before(terminal: tuple[int, TextIO]) -> None:
    program = "import sys, time; from relay.terminal import Redraw; Redraw(sys.stdout).__enter__(); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=terminal[1])
    assert os.read(terminal[0], 100) == b"\x1b[?25l"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM
    assert os.read(terminal[0], 100).endswith(b"\x1b[?25h")
