"""Failpoints: every await of the relay is a place where the process can be killed.

A task factory watches each task. Whenever one stops at an await, the chain of the relay's own functions from the
task down to that await, with the source line of the last one, is the name of the point. There are two instants:
``sent``, when the task has just stopped (what it waits for is under way and unanswered), and ``done``, when it is
about to go on (the answer is here, and nothing was made of it).
"""

import asyncio
import gc
import linecache
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import AsyncGeneratorType, ModuleType
from typing import Any

import relay
import relay.daemon.serve
import relay.projection.serve

INSTANTS = ("sent", "done")

# Both ends of `async with` stand in one line: at the other one, a transaction is committed.
_LEAVES = "__aexit__"
_PACKAGE = str(Path(relay.__file__).parent)
_See = Callable[[str, str], None]


def record(file: Path) -> None:
    """Append the name of each point to a file when it is met for the first time."""
    known: set[str] = set()
    sink = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def see(point: str, instant: str) -> None:
        if point not in known:
            known.add(point)
            os.write(sink, f"{point}\n".encode())

    _watch(see)


def die_at(wanted: str) -> None:
    """Kill the process (SIGKILL) at the first pass of ``<instant> <point>``."""
    _signal_at(wanted, signal.SIGKILL)


def freeze_at(wanted: str) -> None:
    """Freeze the process (SIGSTOP) at the first pass of ``<instant> <point>``."""
    _signal_at(wanted, signal.SIGSTOP)


def _signal_at(wanted: str, number: signal.Signals) -> None:
    passed = False

    def see(point: str, instant: str) -> None:
        nonlocal passed
        if not passed and f"{instant} {point}" == wanted:
            passed = True
            os.kill(os.getpid(), number)

    _watch(see)


def _watch(see: _See) -> None:
    for module in (relay.daemon.serve, relay.projection.serve):
        _watch_tasks_of(module, see)


def _watch_tasks_of(module: ModuleType, see: _See) -> None:
    serve: Callable[..., Coroutine[Any, Any, Any]] = module.serve

    async def watched(*arguments: Any) -> Any:
        loop = asyncio.get_running_loop()

        def make(_: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
            return asyncio.Task(_Watched(coro, see), loop=loop, **options)

        loop.set_task_factory(make)
        return await loop.create_task(serve(*arguments))

    vars(module)["serve"] = watched


class _Watched(Coroutine[Any, Any, Any]):
    """A task's coroutine that tells where it stops and goes on."""

    def __init__(self, inner: Coroutine[Any, Any, Any], see: _See) -> None:
        self._inner = inner
        self._see = see
        self._point: str | None = None

    def send(self, value: Any) -> Any:
        self._goes_on()
        return self._stops(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        self._goes_on()
        return self._stops(self._inner.throw(*error))

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def _goes_on(self) -> None:
        if self._point is not None:
            self._see(self._point, "done")

    def _stops(self, awaited: Any) -> Any:
        self._point = _where(self._inner)
        if self._point is not None:
            self._see(self._point, "sent")
        return awaited


def _where(coroutine: Any) -> str | None:
    """Name the await at which a coroutine stands; None if nothing of the relay waits."""
    names: list[str] = []
    line = ""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
            names.append(frame.f_code.co_qualname)
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        elif frame is not None and names and frame.f_code.co_name == _LEAVES:
            names.append(_LEAVES)
        coroutine = _awaited_by(coroutine)
    if not line:
        return None
    # However deep a function calls itself, it is one place.
    once = [name for name, before in zip(names, [None, *names], strict=False) if name != before]
    return f"{' > '.join(once)}: {line}"


def _awaited_by(waiting: Any) -> Any:
    """Return what a coroutine or an asynchronous generator waits for, None if it is the end of the chain."""
    for name in ("cr_await", "ag_await"):
        if hasattr(waiting, name):
            return getattr(waiting, name)
    # The next value of an asynchronous generator, as at the ends of `async with`: only the collector knows whose.
    generators = [one for one in gc.get_referents(waiting) if isinstance(one, AsyncGeneratorType)]
    return generators[0] if type(waiting).__name__.startswith(("async_generator_", "anext")) and generators else None
