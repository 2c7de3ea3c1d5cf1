"""Log lines never wait for who takes them."""

import logging
import os
import select
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.observe import log_output
from relay.observe.log_output import LONGEST_WAIT, LogOutput, output_for
from relay.observe.logs import configure, event, keep_up

log = logging.getLogger("relay.some_module")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def fill(end: int) -> int:
    """Fill a pipe; return how many bytes it took."""
    room, filled = select.poll(), 0
    room.register(end, select.POLLOUT)
    while room.poll(0):
        filled += os.write(end, b"x" * select.PIPE_BUF)
    return filled


def read(end: int) -> bytes:
    """Read what a pipe holds."""
    there, found = select.poll(), b""
    there.register(end, select.POLLIN)
    while there.poll(0):
        found += os.read(end, 1 << 16)
    return found


def test_a_line_is_written_at_once_while_there_is_room(pipe: tuple[int, int]) -> None:
    output = LogOutput(pipe[1], "utf-8")
    output.write("a\n")
    output.flush()
    assert read(pipe[0]) == b"a\n"


def test_what_finds_no_room_waits_and_comes_in_order(pipe: tuple[int, int]) -> None:
    output = LogOutput(pipe[1], "ascii")
    filled = fill(pipe[1])
    lines = [f"{number} \u00e9 {'y' * 5000}\n" for number in range(20)]
    for line in lines:
        output.write(line)
        output.flush()
    output.finish()
    found = read(pipe[0])[filled:]
    while not found.endswith(b"\n") or found.count(b"\n") < len(lines):
        output.flush()
        found += read(pipe[0])
    assert found.decode() == "".join(lines).replace("\u00e9", "\\xe9")
    assert output.count_lost() == 0


def test_beyond_the_bound_lines_are_lost_and_counted_once_others_are_written(pipe: tuple[int, int]) -> None:
    output = LogOutput(pipe[1], "utf-8")
    fill(pipe[1])
    for _ in range(LONGEST_WAIT // 1000 + 50):
        output.write("z" * 999 + "\n")
        output.flush()
    assert output.count_lost() == 0, "not while others wait"
    lost: list[int] = []
    while not any(lost):
        read(pipe[0])
        output.flush()
        lost.append(output.count_lost())
    assert (lost[-1], output.count_lost()) == (LONGEST_WAIT // 1000 + 50 - LONGEST_WAIT // 1000, 0)


@pytest.mark.parametrize("closed", [0, 1], ids=["nobody reads", "it is closed"])
def test_a_fault_of_the_pipe_is_no_fault_of_ours(closed: int) -> None:
    ends = os.pipe()
    output = LogOutput(ends[1], "utf-8")
    os.close(ends[closed])
    output.write("a\n")
    output.flush()
    output.finish()
    os.close(ends[1 - closed])


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=30), st.lists(st.integers(0, 70_000), max_size=30))
def test_whatever_room_there_is_no_byte_is_lost_or_changed(sizes: list[int], rooms: list[int]) -> None:
    receiving, sending = os.pipe()
    try:
        output = LogOutput(sending, "utf-8")
        lines = [chr(97 + number % 26) * size + "\n" for number, size in enumerate(sizes)]
        wanted, found = "".join(lines).encode(), b""
        takes = iter(rooms)
        for line in lines:
            output.write(line)
            output.flush()
            room = next(takes, 0)
            if room and len(found) < len(wanted):
                there = select.poll()
                there.register(receiving, select.POLLIN)
                found += os.read(receiving, room) if there.poll(0) else b""
        for _ in range(len(wanted) // select.PIPE_BUF + len(lines) + 1):
            found += read(receiving)
            output.flush()
        kept = found + read(receiving)
        assert kept == wanted or output.lost > 0
    finally:
        os.close(receiving)
        os.close(sending)


def test_what_was_lost_is_told(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.raiseExceptions)
    monkeypatch.setattr(log_output, "LONGEST_WAIT", 100)
    with open(pipe[1], "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        try:
            configure("json", "info")
            filled = fill(pipe[1])
            for number in range(3):
                event(log, "info", "some.action", "m", number=number)
            keep_up()
            assert len(read(pipe[0])) == filled
            keep_up()
            kept, told = read(pipe[0]).decode().splitlines()
            assert '"number": 0' in kept
            assert '"action": "log.lost"' in told and '"lines": 2' in told
            keep_up()
            assert read(pipe[0]) == b""
        finally:
            root.handlers[:], level, logging.raiseExceptions = before
            root.setLevel(level)


def test_nothing_is_made_of_what_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert output_for(None) is None
    assert output_for(sys.stderr) is None, "what a test captures"
