"""Logs: one line a record, with its action and fields."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from relay.observe.logs import Human, Json, configure, event

log = logging.getLogger("relay.some_module")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("relay")
    before = (root.handlers[:], root.level, ours.level, logging.raiseExceptions)
    yield
    root.handlers[:], level, our_level, logging.raiseExceptions = before
    root.setLevel(level)
    ours.setLevel(our_level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_json_is_an_object_a_line_with_the_fields_beside(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    event(log, "warning", "event.dead", "gave it\nup: 100 %s", event_id="abc", attempts=3, key=None)
    (line,) = lines(capsys)
    record = json.loads(line)
    assert record.pop("ts").endswith("+00:00")
    assert record == {
        "level": "warning",
        "action": "event.dead",
        "message": "gave it\nup: 100 %s",
        "event_id": "abc",
        "attempts": 3,
    }


def test_a_field_never_takes_the_place_of_what_every_line_has(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    event(log, "info", "a", "m", ts="never")
    (line,) = lines(capsys)
    assert json.loads(line)["ts"] != "never"


def test_a_value_that_json_does_not_know_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    event(log, "info", "a", "m", path=ValueError("x"))
    (line,) = lines(capsys)
    assert json.loads(line)["path"] == "x"


def test_human_is_one_line_that_no_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    configure("human", "info")
    event(log, "error", "event.dead", "gave \x1b[2J up", topic="a b\x1b[31m\n", seq=7)
    (line,) = lines(capsys)
    assert line.endswith(r'ERROR   event.dead: gave \x1b[2J up topic="a b\x1b[31m\n" seq=7')


@pytest.mark.parametrize("style", ["%(message)s", "%(levelname)s %(name)s %(message)s", None])
def test_a_program_with_logging_of_its_own_or_none_shows_the_fields(
    capsys: pytest.CaptureFixture[str], style: str | None
) -> None:
    root = logging.getLogger()
    root.handlers[:] = []
    if style is not None:
        logging.basicConfig(format=style, stream=sys.stderr, level="INFO")
    event(log, "warning", "projection.refused", "it was refused: 100 %s", projection="orders", seq=7, key="a b")
    (line,) = lines(capsys)
    assert line.endswith('projection.refused: it was refused: 100 %s projection=orders seq=7 key="a b"')


def test_auto_is_json_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure("auto", "info")
    event(log, "info", "a", "m")
    assert lines(capsys)[0].startswith("{")


def test_auto_is_human_and_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure("auto", "info")
    event(log, "warning", "a", "m")
    assert terminal.getvalue().startswith("\x1b[33m")


def test_the_level_holds_for_us_and_libraries_speak_from_warning_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("human", "debug")
    event(log, "debug", "ours", "m")
    logging.getLogger("library").info("silent")
    logging.getLogger("library").warning("heard")
    assert [line.split(" ", 2)[2] for line in lines(capsys)] == [
        "DEBUG   ours: m",
        "WARNING log.library: heard",
    ]


def test_configuring_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    configure("json", "info")
    event(log, "info", "a", "m")
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize("formatter", [Json(), Human(colour=False)])
def test_a_traceback_is_kept(formatter: logging.Formatter) -> None:
    try:
        int("boom")
    except ValueError:
        record = log.makeRecord(log.name, logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    assert "ValueError: invalid literal" in formatter.format(record)
