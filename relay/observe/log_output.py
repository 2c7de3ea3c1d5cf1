"""Write log lines to a pipe or file without waiting for whoever takes them.

A shipper that hangs leaves its pipe full, and who writes to a full pipe waits: the event loop would stand still, and
the lease run out. So a line is written only while there is room. What finds none waits in memory, and beyond a bound it
is lost and counted.
"""

import os
import select
import time
from collections import deque
from typing import TextIO

# A write of so many bytes finds room wherever the system says that there is some.
_PIECE = select.PIPE_BUF
# What waits, in bytes: some thousand lines.
LONGEST_WAIT = 256 * 1024
# A process that ends waits so long for what it still has to say.
_LAST_WORDS_S = 1.0


class LogOutput:
    """A stream for a handler of `logging`, which calls one thread at a time.

    Args:
        fileno: Where lines go.
        encoding: Of the text; what it cannot hold is written as an escape.

    Attributes:
        lost: How many lines were lost since `count_lost` was called last.
    """

    def __init__(self, fileno: int, encoding: str) -> None:
        self._fileno = fileno
        self._encoding = encoding
        self._room = select.poll()
        self._room.register(fileno, select.POLLOUT)
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self.lost = 0

    def write(self, text: str) -> None:
        """Take a line, with its end; lose it if too much waits."""
        line = text.encode(self._encoding, "backslashreplace")
        if self._bytes and self._bytes + len(line) > LONGEST_WAIT:
            self.lost += 1
            return
        self._waiting.append(line)
        self._bytes += len(line)

    def flush(self) -> None:
        """Write what there is room for now."""
        self._write(time.monotonic())

    def finish(self) -> None:
        """Write what waits, for a moment at most."""
        self._write(time.monotonic() + _LAST_WORDS_S)

    def count_lost(self) -> int:
        """Return how many lines were lost since the last call, 0 as long as others still wait."""
        if self._waiting:
            return 0
        lost, self.lost = self.lost, 0
        return lost

    def _write(self, until: float) -> None:
        while self._waiting and self._room.poll(max(0.0, until - time.monotonic()) * 1000):
            line = self._waiting.popleft()
            try:
                written = os.write(self._fileno, line[:_PIECE])
            except BlockingIOError:
                self._waiting.appendleft(line)
                return
            except OSError:
                # Closed, or its disk is full: nobody can be told, and the next line is tried again.
                written = len(line)
            self._bytes -= written
            if written < len(line):
                self._waiting.appendleft(line[written:])


def output_for(stream: TextIO | None) -> LogOutput | None:
    """Return an output for where a text stream writes to, None if that is no file of the system."""
    if stream is None:
        return None
    try:
        return LogOutput(stream.fileno(), stream.encoding)
    except OSError:
        return None
