"""Structured logs over the standard library: JSON, one object a line, or text for people.

Each record that is ours has an ``action``: a stable name to search and alert by. Its message may change.
Never hand in a payload or a secret.

An application that runs projections has logging of its own, or none. For its formatters the message begins with the
action and ends with the fields, so that none leaves them out.
"""

import atexit
import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from relay.observe.log_output import LogOutput, output_for
from relay.text import printable

log = logging.getLogger(__name__)

Level = Literal["debug", "info", "warning", "error"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}
_ACTION = "relay_action"
_FIELDS = "relay_fields"


def event(logger: logging.Logger, level: Level, action: str, message: str, **fields: object) -> None:
    """Log what happened.

    Args:
        logger: Of the module in which it happened.
        level: How grave it is.
        action: A stable name, such as ``postgres.lost``.
        message: A sentence for people.
        fields: What it speaks of, by name. None values are left out.
    """
    number = _LEVELS[level]
    if logger.isEnabledFor(number):
        known = {name: value for name, value in fields.items() if value is not None}
        # Percent signs in the message stay as they are: without arguments logging does not format it.
        logger.log(number, _Whole(action, message, known), extra={_ACTION: action, _FIELDS: known}, stacklevel=2)


class _Whole(str):
    """A message that any formatter writes with its action and its fields.

    Attributes:
        alone: The message without them.
    """

    alone: str

    def __new__(cls, action: str, message: str, fields: Mapping[str, object]) -> "_Whole":
        whole = super().__new__(cls, " ".join([f"{printable(action)}:", printable(message), *_pairs(fields)]))
        whole.alone = message
        return whole


def configure(style: Literal["auto", "json", "human"], level: Level) -> None:
    """Send all logs to stderr; called once by a command. Libraries speak up from warning on.

    Nobody waits for who reads them: see `keep_up`.
    """
    human = sys.stderr.isatty() if style == "auto" else style == "human"
    output = output_for(sys.stderr)
    if output is not None:
        atexit.register(output.finish)
    handler = logging.StreamHandler(output or sys.stderr)
    handler.setFormatter(Human(colour=sys.stderr.isatty()) if human else Json())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    logging.getLogger("relay").setLevel(_LEVELS[level])
    # A closed stderr must not become a second fault at each line.
    logging.raiseExceptions = False


def keep_up() -> None:
    """Write lines that have found no room, and report how many were lost; to be called a few times a second."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and isinstance(handler.stream, LogOutput):
            handler.flush()
            lost = handler.stream.count_lost()
            if lost:
                event(
                    log,
                    "warning",
                    "log.lost",
                    "nobody took our log for a while; what was logged since then is not complete",
                    lines=lost,
                )


class Json(logging.Formatter):
    """One JSON object a line: ts (UTC), level, action, message, the fields, and any `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "action": _action(record),
            "message": _message(record),
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Human(logging.Formatter):
    """Local time, level, action, message, then the fields as name=value; a traceback in the lines below."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        at = datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")[:23]
        head = f"{at} {record.levelname:<7} {printable(_action(record))}:"
        if self._colour and record.levelno in _COLOURS:
            head = f"\x1b[{_COLOURS[record.levelno]}m{head}\x1b[0m"
        line = " ".join([head, printable(_message(record)), *_pairs(_fields(record))])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _action(record: logging.LogRecord) -> str:
    action = getattr(record, _ACTION, None)
    return action if isinstance(action, str) else f"log.{record.name}"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, _FIELDS, None)
    return fields if isinstance(fields, dict) else {}


def _message(record: logging.LogRecord) -> str:
    """Return the message alone: a formatter of ours writes action and fields itself."""
    return record.msg.alone if isinstance(record.msg, _Whole) else record.getMessage()


def _pairs(fields: Mapping[str, object]) -> list[str]:
    return [f"{name}={_quoted(value)}" for name, value in fields.items()]


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(char in ' "=' or not char.isprintable() for char in text):
        return text
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
