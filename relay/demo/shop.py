"""The application of the demo: it places orders, and knows nothing of NATS."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

_CLERKS = 4
_CUSTOMERS = 100
_ITEMS = {"tea": 450, "coffee": 690, "cocoa": 820, "cups": 1590, "kettle": 4990}
# The share of orders whose transaction is rolled back, and of those that commit late, after their successors.
_DECLINED = 0.08
_SLOW = 0.01
_SLOW_FOR_S = 0.3

_ORDERS = """
CREATE TABLE IF NOT EXISTS orders (
    number      bigint PRIMARY KEY,
    customer    text   NOT NULL,
    item        text   NOT NULL,
    total_cents bigint NOT NULL
)
"""

_LAST = "SELECT coalesce(max(number), 0) FROM orders"


@dataclass(frozen=True, slots=True)
class Order:
    """An order, and what will become of its transaction."""

    number: int
    customer: str
    item: str
    total_cents: int
    declined: bool
    slow: bool


def make_orders(limit: int | None, seed: int | None, after: int = 0) -> Iterator[Order]:
    """Yield orders with the numbers above `after` until `limit` of them were not declined; the same for one seed."""
    chance = random.Random(seed)
    number, placed = after, 0
    while limit is None or placed < limit:
        number += 1
        item = chance.choice(list(_ITEMS))
        order = Order(
            number=number,
            customer=f"customer-{chance.randrange(_CUSTOMERS):02}",
            item=item,
            total_cents=_ITEMS[item] * chance.randint(1, 5),
            declined=chance.random() < _DECLINED,
            slow=chance.random() < _SLOW,
        )
        placed += not order.declined
        yield order


class Shop:
    """Places orders at a steady rate, each in a transaction with its event; goes on after it was closed.

    Args:
        dsn: The database of the shop, with the outbox in it.
        rate: Orders a second.
        limit: How many to place; None goes on until stopped.
        seed: Makes the same orders again.
    """

    def __init__(self, dsn: str, *, rate: float, limit: int | None, seed: int | None) -> None:
        self._dsn = dsn
        self._rate = rate
        self._limit = limit
        self._seed = seed
        self._last = 0
        self.placed = 0
        self.rolled_back = 0

    async def open(self) -> None:
        """Make the table of orders if there is none, and look for its last one."""
        async with await psycopg.AsyncConnection.connect(self._dsn) as conn:
            await conn.execute(_ORDERS)
            found = await (await conn.execute(_LAST)).fetchone()
        self._last = found[0] if found else 0

    async def sell(self, closing: asyncio.Event) -> None:
        """Place orders until the limit is reached or the shop closes."""
        opened = time.monotonic()
        orders = make_orders(self._limit, self._seed, self._last)
        await asyncio.gather(*(self._clerk(orders, opened, closing) for _ in range(_CLERKS)))

    async def _clerk(self, orders: Iterator[Order], opened: float, closing: asyncio.Event) -> None:
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as conn:
            for order in orders:
                early = opened + (order.number - self._last) / self._rate - time.monotonic()
                if await closed(closing, early):
                    return
                await self._place(conn, order)

    async def _place(self, conn: psycopg.AsyncConnection[Any], order: Order) -> None:
        async with conn.transaction(force_rollback=order.declined):
            await conn.execute(
                "INSERT INTO orders (number, customer, item, total_cents) VALUES (%s, %s, %s, %s)",
                (order.number, order.customer, order.item, order.total_cents),
            )
            await conn.execute(
                "INSERT INTO outbox_events (topic, key, payload) VALUES (%s, %s, %s)",
                (
                    "orders.placed",
                    order.customer,
                    Jsonb(
                        {
                            "number": order.number,
                            "customer": order.customer,
                            "item": order.item,
                            "total_cents": order.total_cents,
                        }
                    ),
                ),
            )
            if order.slow:
                await asyncio.sleep(_SLOW_FOR_S)
        if order.declined:
            self.rolled_back += 1
        else:
            self.placed += 1


async def closed(closing: asyncio.Event, within_s: float) -> bool:
    """Wait that long, or until the shop closes."""
    if within_s > 0 and not closing.is_set():
        try:
            async with asyncio.timeout(within_s):
                await closing.wait()
        except TimeoutError:
            pass
    return closing.is_set()
