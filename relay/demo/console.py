"""``make console-demo``: the operator's console over the demo's shop, with something wrong to look at, until Ctrl-C."""

import asyncio
import signal
import sys

import psycopg

from relay.demo import beside
from relay.demo.console_process import console
from relay.demo.shop import Shop
from relay.demo.world import Process, World, world

_PORT = 9465
_RATE = 5.0
_LOOK_S = 0.2
# No stream takes the first; the second steers the server, which no header of a row may; the rest waits behind them.
_TROUBLE = """
    INSERT INTO outbox_events (topic, key, payload, headers) VALUES
        ('invoices.sent', 'invoice-1', '{"invoice": 1}', NULL),
        ('orders.paid', 'order-x', '{"order": "x"}', '{"Nats-Rollup": "all"}'),
        ('invoices.sent', 'invoice-1', '{"invoice": 1, "copy": true}', NULL)
"""


async def show(port: int) -> None:
    """Sell, relay and show until SIGINT or SIGTERM; nothing is left then."""
    closing = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, closing.set)
    print("Starting PostgreSQL, nats-server, the relay, its projection and the console ...", flush=True)
    with world() as everything, console(everything, port) as running:
        shop = Shop(everything.shop_dsn, rate=_RATE, limit=None, seed=None)
        await shop.open()
        async with await psycopg.AsyncConnection.connect(everything.shop_dsn) as conn:
            await conn.execute(_TROUBLE.encode())
        await beside(_until(closing, everything, running), shop.sell(closing))


async def _until(closing: asyncio.Event, everything: World, running: Process) -> None:
    """Pass on what the console says, its link first, until it is time to close."""
    told = 0
    while not closing.is_set():
        everything.check()
        running.check()
        text = await asyncio.to_thread(running.log.read_text, "utf-8")
        if len(text) > told:
            print(text[told:], end="", flush=True)
            told = len(text)
        await asyncio.sleep(_LOOK_S)


if __name__ == "__main__":
    asyncio.run(show(int(sys.argv[1]) if len(sys.argv) > 1 else _PORT))
