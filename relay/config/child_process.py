"""Read the settings in a child process, so that the daemon and the console keep nothing of what checks them.

pydantic and its settings take 16 MB of a process, which needs them for a tenth of a second. The child reads and checks,
hands the values over a pipe, and ends. Meanwhile the process imports what it needs itself.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from relay.errors import ConfigError, RelayError

if TYPE_CHECKING:
    from relay.config.settings import Settings

_SECRET, _PATH = "secret", "path"


class PlainSecret:
    """A secret, hidden wherever it might be printed; it is asked for as pydantic's own."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return it in the clear."""
        return self._value

    def __repr__(self) -> str:
        return "PlainSecret('**********')"


class _Plain(SimpleNamespace):
    """Values as attributes."""

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return a copy with other values, as pydantic's own does."""
        return type(self)(**{**vars(self), **update})


@dataclass(frozen=True, slots=True)
class Reading:
    """A child process that reads the settings.

    Attributes:
        pid: Its number.
        pipe: Where its answer comes, a file descriptor; `result` closes it.
    """

    pid: int
    pipe: int

    def result(self) -> "Settings":
        """Wait until the settings are read, and return them; to be called once.

        They have the sections and values of `Settings` as plain attributes, and of its methods `model_copy`.

        Raises:
            ConfigError: Something is wrong; it holds every fault.
            RelayError: The child has crashed; it has written why to stderr.
        """
        with os.fdopen(self.pipe, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(self.pid, 0)
        if not answer:
            raise RelayError("the settings could not be read")
        sections = json.loads(answer)
        if isinstance(sections, list):
            raise ConfigError(sections)
        return cast(
            "Settings",
            _Plain(**{section: _Plain(**_values(values)) for section, values in sections.items()}),
        )


def begin(load: "Callable[[], Settings]") -> Reading:
    """Begin to read the settings in a child process; `load` is called there. No other thread may run."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(load, writing)
    os.close(writing)
    return Reading(pid, reading)


def _answer(load: "Callable[[], Settings]", pipe: int) -> NoReturn:
    """Be the child: whatever happens, it ends here."""
    # Ctrl-C reaches both processes; the parent says what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with os.fdopen(pipe, "wb") as answer:
            answer.write(_read(load))
    finally:
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())
        os._exit(0)


def _read(load: "Callable[[], Settings]") -> bytes:
    try:
        settings = load()
    except ConfigError as error:
        return json.dumps(error.lines).encode()
    return json.dumps(settings.model_dump(), default=_tagged).encode()


def _tagged(value: object) -> dict[str, str]:
    """Write what JSON has no word for."""
    return {_PATH: str(value)} if isinstance(value, Path) else {_SECRET: cast("PlainSecret", value).get_secret_value()}


def _values(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return Path(value[_PATH]) if _PATH in value else PlainSecret(value[_SECRET])
    return tuple(value) if isinstance(value, list) else value
