"""``relay demo``: a shop, its outbox, the real relay, NATS, and a projection, all on this machine.

Orders are placed in transactions, some of them rolled back. nats-server is killed once, for a few seconds: the
backlog grows and drains. At the end everything placed must be delivered, and be in the read model, once.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

from relay.demo.console_process import console_link
from relay.demo.numbers import Numbers, Observer, verdict
from relay.demo.picture import Screen, screen
from relay.demo.servers import ServerError
from relay.demo.shop import Shop, closed
from relay.demo.world import World, world
from relay.errors import RelayError

_RATE = 200.0
# How long a demo that ends by itself takes to place its orders, seconds.
_PLACED_WITHIN_S = 8.0
_READY_WITHIN_S = 30.0
_LOOK_S = 0.25
# After this long without a change nothing more is expected to arrive, seconds.
_STUCK_AFTER_S = 30.0
_OUTAGE_AFTER_S = 8.0
_OUTAGE_S = 4.0


def run(*, events: int | None = None, plain: bool = False, rate: float | None = None, seed: int | None = None) -> int:
    """Run the demo until it is told to stop, or has placed `events` orders; return the exit code.

    Args:
        events: How many orders to place; None goes on until Ctrl-C.
        plain: Lines on stderr instead of a picture.
        rate: Orders a second.
        seed: Makes the same orders again.

    Returns:
        0 if placed = delivered = in the read model, 1 if they differ, 130 after a second signal.

    Raises:
        RelayError: Something did not start, or the relay has ended. No process and no file is left.
    """
    default_rate = _RATE if events is None else events / _PLACED_WITHIN_S
    try:
        return asyncio.run(_demo(events, plain, rate or default_rate, seed))
    except ServerError as error:
        raise RelayError(str(error)) from error


async def _demo(events: int | None, plain: bool, rate: float, seed: int | None) -> int:
    closing = asyncio.Event()
    _close_on_signals(closing)
    print("Starting PostgreSQL, nats-server and the relay ...", file=sys.stderr)
    try:
        with ExitStack() as stack:
            everything = stack.enter_context(world())
            # A demo that ends by itself is over before anybody could look.
            link = None if events is not None else stack.enter_context(console_link(everything))
            if link is not None:
                print(f"Look inside with the operator's console: {link}", file=sys.stderr)
            story = _Story(everything, closing, screen(plain))
            return await story.tell(events, rate, seed)
    except asyncio.CancelledError:
        return 130


def _close_on_signals(closing: asyncio.Event) -> None:
    """Close the shop at the first signal, and leave without waiting for the rest at the second."""
    loop = asyncio.get_running_loop()
    telling = asyncio.current_task()
    cancelled = False

    def on_signal() -> None:
        nonlocal cancelled
        if closing.is_set() and telling is not None and not cancelled:
            cancelled = True
            telling.cancel()
        closing.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)


class _Story:
    """The demo, from the first order to the last line."""

    def __init__(self, everything: World, closing: asyncio.Event, on: Screen) -> None:
        self._world = everything
        self._closing = closing
        self._screen = on
        self._began = time.monotonic()
        self._now = Numbers()
        self._down_s = 0.0
        self._placed_by_its_return: int | None = None

    async def tell(self, events: int | None, rate: float, seed: int | None) -> int:
        """Place orders while they are relayed and listed; compare at the end."""
        shop = Shop(self._world.shop_dsn, rate=rate, limit=events, seed=seed)
        await shop.open()
        async with Observer(self._world.shop_dsn, self._world.list_dsn, self._world.http_port) as observer:
            await self._until_ready(observer)
            self._began = time.monotonic()
            with self._screen:
                day = self._day(shop, observer, events)
                await beside(day, self._show(shop, observer))
                await self._show_once(shop, observer)
            text, code = verdict(
                await observer.look_closely(),
                same_content=await observer.same_content(),
                rolled_back=shop.rolled_back,
                down_s=self._down_s,
                elapsed_s=self._elapsed_s,
            )
        print(text)
        return code

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    async def _until_ready(self, observer: Observer) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not await observer.ready():
            self._world.check()
            if time.monotonic() > deadline:
                raise RelayError(f"the relay and its read model were not ready within {_READY_WITHIN_S:.0f} s")
            await asyncio.sleep(0.05)

    async def _show(self, shop: Shop, observer: Observer) -> None:
        """Look and show, for ever."""
        while True:
            self._world.check()
            await self._show_once(shop, observer)
            await asyncio.sleep(_LOOK_S)

    async def _show_once(self, shop: Shop, observer: Observer) -> None:
        self._now = await observer.look()
        if self._placed_by_its_return is not None and self._now.in_read_model >= self._placed_by_its_return:
            self._placed_by_its_return = None
            self._screen.note(self._elapsed_s, "the order list has caught up")
        self._screen.show(self._now, elapsed_s=self._elapsed_s, rolled_back=shop.rolled_back)

    async def _day(self, shop: Shop, observer: Observer, events: int | None) -> None:
        """Sell until the shop closes, and wait until everything has arrived or nothing arrives any more."""
        await asyncio.gather(shop.sell(self._closing), self._outage(shop, events))
        if self._closing.is_set():
            self._screen.note(self._elapsed_s, "the shop is closed: waiting for the rest to arrive")
        last, changed_at = await observer.look_closely(), time.monotonic()
        while not last.settled and time.monotonic() - changed_at < _STUCK_AFTER_S:
            await asyncio.sleep(_LOOK_S)
            now = await observer.look_closely()
            if now != last:
                last, changed_at = now, time.monotonic()

    async def _outage(self, shop: Shop, events: int | None) -> None:
        """Kill nats-server once, after some seconds or a third of the orders, and start it again."""
        while shop.placed * 3 < events if events else self._elapsed_s < _OUTAGE_AFTER_S:
            if await closed(self._closing, _LOOK_S / 5):
                return
        nats, killed_at = self._world.nats, time.monotonic()
        nats.kill()
        self._screen.note(self._elapsed_s, "nats-server was killed (kill -9); the shop goes on")
        await closed(self._closing, _OUTAGE_S)
        # In this thread: the kernel ends a server with the thread that started it.
        nats.start()
        self._down_s = time.monotonic() - killed_at
        self._placed_by_its_return = shop.placed
        self._screen.note(self._elapsed_s, f"nats-server is back, and {self._now.backlog} events wait for it")


async def beside(work: Coroutine[Any, Any, None], background: Coroutine[Any, Any, None]) -> None:
    """Await some work while something else goes on that never ends by itself; the first fault of either ends both."""
    tasks = [asyncio.ensure_future(one) for one in (work, background)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
