"""Time that passes only when nobody has anything to do."""

import asyncio
import selectors
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

_UNIX_AT_0 = 1_700_000_000.0
# Nothing that is asked of the world takes no time, so only what goes round in itself takes so many turns at one moment.
_MOST_TURNS = 50_000


class Clock:
    """What `time` is to the relay while the model runs."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return self.now

    def clock_gettime(self, _: int) -> float:
        """Return the same by any other clock: no machine is suspended here."""
        return self.now

    def time(self) -> float:
        """Return Unix seconds."""
        return _UNIX_AT_0 + self.now


class _Selector(selectors.SelectSelector):
    """Waits for nothing: the clock is put forward instead."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; if nothing is, let the time pass that somebody waits for."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will ever happen"
            if timeout > 0:
                self._clock.now += timeout
                self._turns = 0
        self._turns += 1
        assert self._turns < _MOST_TURNS, "the relay is busy without end, and no time passes"
        return ready


class Loop(asyncio.SelectorEventLoop):
    """An event loop by a clock of ours."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(clock))
        self._by = clock

    def time(self) -> float:
        """Return the seconds by which everything is scheduled."""
        return self._by.now


@cache
def _modules(_: int) -> list[ModuleType]:
    """Return the modules of the relay that ask for the time; found again once more modules are imported."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("relay.") and isinstance(module, ModuleType) and getattr(module, "time", None) is time
    ]


@contextmanager
def told_by(clock: Clock) -> Iterator[None]:
    """Have every module of the relay ask this clock for the time; not within another such block."""
    modules = _modules(len(sys.modules))
    for module in modules:
        vars(module)["time"] = clock
    try:
        yield
    finally:
        for module in modules:
            vars(module)["time"] = time
