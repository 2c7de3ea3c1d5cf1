"""What uses an example: a client of its API, threads of it, and the run with its faults and its verdict."""

import argparse
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from examples.world import Show

_TIMEOUT_S = 30.0
_SETTLES_WITHIN_S = 60.0


class Client:
    """Speaks to the API of an example on this machine; used by any number of threads."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Send a request: POST with a body, which is sent as JSON, else GET.

        Args:
            headers: By name, with ``_`` instead of ``-``.

        Returns:
            Status, decoded body, and headers of the answer.

        Raises:
            OSError: There was no answer.
        """
        data = None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET" if data is None else "POST", path, data, named)
            answer = connection.getresponse()
            return answer.status, json.load(answer), dict(answer.headers)
        finally:
            connection.close()


class Traffic:
    """Threads that use the write side until they are stopped, and what they found wrong.

    Args:
        work: What each thread does, with a chance of its own; it ends soon after `pause` has returned True.
        seed: Of the first thread's chance; the next ones have the numbers above it.
    """

    def __init__(self, work: Sequence[Callable[[Random], None]], seed: int) -> None:
        self._end = threading.Event()
        self._threads = [threading.Thread(target=one, args=(Random(seed + i),)) for i, one in enumerate(work)]
        self.lock = threading.Lock()
        self.faults: list[str] = []

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop them, and wait for their end."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def pause(self, seconds: float) -> bool:
        """Wait; return whether the thread shall end."""
        return self._end.wait(seconds)


def run(
    traffic: Traffic,
    seconds: float,
    faults: Mapping[str, tuple[float, Callable[[], object]]],
    line: Callable[[], str],
    differences: Callable[[], list[str]],
    address: str,
) -> list[str]:
    """Let the traffic run while faults strike, then wait until the read models are level.

    Args:
        seconds: How long the traffic runs.
        faults: By name: after which share of the time it strikes, and what it does.
        line: Returns what is printed once a second.
        differences: Returns how the read models differ from what was committed.
        address: Printed first.

    Returns:
        What still differs after a minute.
    """
    show = Show(seconds, faults)
    show.say(address)
    traffic.start()
    try:
        while not show.over:
            show.beat(line)
            time.sleep(0.1)
    finally:
        traffic.stop()
    deadline = time.monotonic() + _SETTLES_WITHIN_S
    while (found := differences()) and time.monotonic() < deadline:
        show.beat(line)
        time.sleep(0.2)
    show.say(line())
    return found


def main(description: str | None, show: Callable[[float, float, int], int], rate: float) -> int:
    """Read the command line, and run an example; return its exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=25.0, help="how long there is traffic")
    parser.add_argument("--rate", type=float, default=rate, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    return show(args.seconds, args.rate, args.seed)


def verdict(faults: Sequence[str], success: str) -> int:
    """Print what was wrong, or that nothing was; return the exit code."""
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(success)
    return 1 if faults else 0
