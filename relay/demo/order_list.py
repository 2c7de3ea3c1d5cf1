"""The read model of the demo: a list of orders in a database of its own, kept up to date by the stream alone."""

import asyncio
import json
from typing import Any

import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from relay.cancellation import heed_cancellation

STREAM = "ORDERS"
SUBJECTS = "orders.>"

_DURABLE = "order_list"
_BATCH = 500
_ACK_WAIT_S = 5.0
_QUIET_S = 0.5

_ORDER_LIST = """
CREATE TABLE IF NOT EXISTS order_list (
    number      bigint PRIMARY KEY,
    customer    text   NOT NULL,
    item        text   NOT NULL,
    total_cents bigint NOT NULL
)
"""
# Doing it again changes nothing: an event comes twice if its acknowledgement was lost.
_UPSERT = """
INSERT INTO order_list (number, customer, item, total_cents)
VALUES (%(number)s, %(customer)s, %(item)s, %(total_cents)s)
ON CONFLICT (number) DO UPDATE
SET customer = excluded.customer, item = excluded.item, total_cents = excluded.total_cents
"""


class ConnectionLost(Exception):
    """NATS went away; what was not acknowledged comes again."""


class OrderList:
    """Follows the stream by a durable consumer, through any outage of NATS.

    Args:
        dsn: The database of the read model.
        url: Where NATS is.
    """

    def __init__(self, dsn: str, url: str) -> None:
        self._dsn = dsn
        self._url = url

    async def open(self) -> None:
        """Make the table of the read model if there is none."""
        async with await psycopg.AsyncConnection.connect(self._dsn) as conn:
            await conn.execute(_ORDER_LIST)

    async def follow(self) -> None:
        """Put every event into the list, for ever."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as conn:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_came_from_outside),
                wait=wait_random_exponential(multiplier=0.1, max=1),
            ):
                with attempt:
                    await self._follow_until_lost(conn)

    async def _follow_until_lost(self, conn: psycopg.AsyncConnection[Any]) -> None:
        client = Client()
        try:
            await client.connect(self._url, name=_DURABLE, allow_reconnect=False, connect_timeout=2, error_cb=_quiet)
            events = await client.jetstream().subscribe(
                SUBJECTS,
                stream=STREAM,
                durable=_DURABLE,
                manual_ack=True,
                config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=_ACK_WAIT_S),
            )
            while client.is_connected:
                heed_cancellation()
                batch = await _next_batch(events)
                async with conn.transaction(), conn.cursor() as cursor:
                    await cursor.executemany(_UPSERT, [json.loads(event.data) for event in batch])
                # Only now: an event that is not in the list must come again.
                for event in batch:
                    await event.ack()
        finally:
            await client.close()
        raise ConnectionLost


async def _next_batch(events: JetStreamContext.PushSubscription) -> list[Msg]:
    """Await an event, and take along those that have arrived with it; empty if none came for a while."""
    try:
        batch = [await events.next_msg(_QUIET_S)]
    except NatsTimeoutError:
        return []
    while events.pending_msgs and len(batch) < _BATCH:
        batch.append(await events.next_msg(_QUIET_S))
    return batch


def _came_from_outside(error: BaseException) -> bool:
    """Report whether NATS went away; nats-py makes such an error of a cancellation, too, on a closed connection."""
    task = asyncio.current_task()
    cancelled = task is not None and task.cancelling() > 0
    return isinstance(error, NatsError | OSError | ConnectionLost) and not cancelled


async def _quiet(_: Exception) -> None:
    """Log nothing: every error shows by the end of the connection."""
