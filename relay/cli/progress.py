"""A bar on stderr for what takes longer than a second, on a terminal only."""

import sys
import time
from types import TracebackType
from typing import Any, Self

import click

_AFTER_S = 1.0


class Progress:
    """A bar that appears after a second."""

    def __init__(self, total: int, label: str) -> None:
        self._total = total
        self._label = label
        self._done = 0
        self._since = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, value, trace)

    def add(self, count: int) -> None:
        """Count events that are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif sys.stderr.isatty() and time.monotonic() - self._since > _AFTER_S:
            bar = click.progressbar(length=self._total, label=self._label, file=sys.stderr, show_pos=True)
            self._bar = bar.__enter__()
            self._bar.update(self._done)
