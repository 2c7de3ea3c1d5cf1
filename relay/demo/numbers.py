"""What the demo shows, read from where an operator would read it: the databases and the relay's metrics."""

import asyncio
import http.client
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg

_HTTP_TIMEOUT_S = 2.0
_RATE_OVER_S = 1.0

_CONTENT = "md5(coalesce(string_agg(concat_ws('|', number, customer, item, total_cents), E'\\n' ORDER BY number), ''))"


@dataclass(frozen=True, slots=True)
class Numbers:
    """One look at everything.

    Attributes:
        backlog: Events neither delivered nor dead.
        lag_s: Age of the oldest of them, seconds.
        nats_up: Whether the relay is connected.
    """

    placed: int = 0
    delivered: int = 0
    in_read_model: int = 0
    dead: int = 0
    backlog: int = 0
    lag_s: float = 0.0
    delivered_per_s: float = 0.0
    nats_up: bool = False

    @property
    def settled(self) -> bool:
        """Whether everything that was placed has arrived, or never will."""
        return self.delivered + self.dead >= self.placed and self.in_read_model >= self.delivered


def verdict(last: Numbers, *, same_content: bool, rolled_back: int, down_s: float, elapsed_s: float) -> tuple[str, int]:
    """Report in one line whether everything has arrived, and return the exit code: 0 if it has, else 1.

    Args:
        last: The count of every row, at the end.
        same_content: Whether the read model holds the orders of the shop and no others.
        rolled_back: Transactions that the shop took back.
        down_s: How long NATS was down, seconds.
        elapsed_s: How long it all took, seconds.
    """
    rest = (
        f"{rolled_back} rolled back, {last.dead} dead letters, nats-server down for {down_s:.1f} s, "
        f"{elapsed_s:.1f} s in all"
    )
    counts = (last.placed, last.delivered, last.in_read_model)
    if len(set(counts)) == 1 and same_content:
        return "placed {} = delivered {} = in the read model {}; ".format(*counts) + rest, 0
    fault = "they differ" if len(set(counts)) > 1 else "the read model holds other orders than the shop"
    return "placed {}, delivered {}, in the read model {}: ".format(*counts) + f"{fault}; {rest}", 1


class Observer:
    """Looks from time to time.

    Args:
        shop_dsn: The database of the shop, with the outbox in it.
        list_dsn: The database of the read model.
        http_port: Where the relay serves its metrics.
    """

    def __init__(self, shop_dsn: str, list_dsn: str, http_port: int) -> None:
        self._dsns = (shop_dsn, list_dsn)
        self._http_port = http_port
        self._past: list[tuple[float, float]] = []

    async def __aenter__(self) -> Self:
        self._shop, self._list = [await psycopg.AsyncConnection.connect(dsn, autocommit=True) for dsn in self._dsns]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._shop.close()
        await self._list.close()

    async def look(self) -> Numbers:
        """Take the picture of this moment."""
        metrics = await self._metrics()
        placed = await _one(self._shop, "SELECT count(*) FROM orders")
        in_read_model = await _one(self._list, "SELECT count(*) FROM order_list.orders")
        published = metrics.get("outbox_relay_published_events_total", 0.0)
        return Numbers(
            placed=placed,
            delivered=int(published),
            in_read_model=in_read_model,
            dead=int(metrics.get("outbox_relay_dead_letters_total", 0.0)),
            backlog=int(metrics.get("outbox_relay_backlog_events", 0.0)),
            lag_s=metrics.get("outbox_relay_oldest_pending_age_seconds", 0.0),
            delivered_per_s=self._rate(published),
            nats_up=metrics.get("outbox_relay_connection_up nats", 0.0) > 0,
        )

    async def look_closely(self) -> Numbers:
        """Count in the tables alone, every row."""
        placed = await _one(self._shop, "SELECT count(*) FROM orders")
        delivered = await _one(self._shop, "SELECT count(*) FROM outbox_events WHERE delivered_at IS NOT NULL")
        dead = await _one(self._shop, "SELECT count(*) FROM outbox_events WHERE dead_at IS NOT NULL")
        in_read_model = await _one(self._list, "SELECT count(*) FROM order_list.orders")
        return Numbers(placed=placed, delivered=delivered, in_read_model=in_read_model, dead=dead)

    async def same_content(self) -> bool:
        """Report whether the read model holds exactly the orders of the shop, column by column."""
        ours = await _one(self._shop, f"SELECT {_CONTENT} FROM orders")
        theirs = await _one(self._list, f"SELECT {_CONTENT} FROM order_list.orders")
        return bool(ours == theirs)

    async def ready(self) -> bool:
        """Report whether the relay says that it can relay, and the read model has its tables."""
        if await _one(self._list, "SELECT to_regclass('order_list.orders') IS NULL"):
            return False
        return (await asyncio.to_thread(self._get, "/readyz"))[0] == 200

    async def _metrics(self) -> dict[str, float]:
        """Scrape the relay: the sum over the labels of each sample, and each connection apart."""
        # Of the extra, which the image lacks: there the shop runs alone.
        from prometheus_client.parser import text_string_to_metric_families

        status, text = await asyncio.to_thread(self._get, "/metrics")
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text if status == 200 else ""):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
                if "component" in sample.labels:
                    found[f"{sample.name} {sample.labels['component']}"] = sample.value
        return found

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=_HTTP_TIMEOUT_S)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")
        return 0, ""

    def _rate(self, published: float) -> float:
        now = time.monotonic()
        self._past = [(at, count) for at, count in self._past if now - at <= _RATE_OVER_S] + [(now, published)]
        (since, before), elapsed = self._past[0], now - self._past[0][0]
        return max(0.0, published - before) / elapsed if elapsed > 0 and since < now else 0.0


async def _one(conn: psycopg.AsyncConnection[Any], query: str) -> Any:
    cursor = await conn.execute(query.encode())
    row = await cursor.fetchone()
    return row[0] if row else None
