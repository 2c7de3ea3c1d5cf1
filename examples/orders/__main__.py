"""``python -m examples.orders``: a shop trades, faults strike, and its read model must equal what was committed."""

import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from examples.orders.api import Api
from examples.orders.command import create_tables
from examples.traffic import Client, Traffic, main, run, verdict
from examples.web import Web
from examples.world import Process, World, world

_HERE = Path(__file__).parent
_TENANTS = 3
_SHOPPERS = 3
_CUSTOMERS = 10
_STARTS_WITHIN_S = 30.0
_SETTLES_WITHIN_S = 60.0
_CURRENT_WITHIN_S = 1.0

_COMMITTED = """
SELECT o.id, o.tenant, o.customer, c.name, o.total_cents, o.status,
       (SELECT count(*) FROM order_items i WHERE i.order_id = o.id)
FROM orders o JOIN customers c ON c.id = o.customer ORDER BY o.id
"""
_LISTED = """
SELECT order_id, tenant_id, customer_id, customer_name, total_cents, status, item_count
FROM order_list.orders ORDER BY order_id
"""
_PROGRESS = "SELECT position, applied, repeats, status FROM projection.state WHERE name = 'order_list'"
_LEFT_OUT = {"order_daily_summary": "", "customer_lifetime_value": "cancelled"}
_SUMS = sql.SQL("""
SELECT (SELECT sum(total_cents) FROM {view}),
       (SELECT sum(total_cents) FROM order_list.orders WHERE status <> {left_out})
""")
_STALE = """
SELECT r.view FROM projection.refreshes r
WHERE r.name = 'order_list' AND r.applied <> (SELECT sum(s.applied) FROM projection.state s WHERE s.name = r.name)
"""
_LAG = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox_events WHERE seq > %s
"""


class Shoppers(Traffic):
    """Threads that place, pay, ship and cancel orders, and look at once at what they have written."""

    def __init__(self, port: int, rate: float, seed: int) -> None:
        super().__init__([self._shop] * _SHOPPERS, seed)
        self._client = Client(port)
        self._rate = rate
        self.written = 0
        self.fresh = 0
        self.stale = 0

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[Any, dict[str, str]]:
        """Send a request; return the answer, None if it was refused, and its headers."""
        status, answer, known = self._client.ask(path, body, **headers)
        return answer if status < 400 else None, known

    def _shop(self, chance: Random) -> None:
        open_orders: list[tuple[int, int]] = []
        while not self.pause(_SHOPPERS / self._rate * chance.uniform(0.5, 1.5)):
            if open_orders and chance.random() < 0.5:
                tenant, order = open_orders.pop(chance.randrange(len(open_orders)))
                status = chance.choice(("paid", "paid", "cancelled"))
                answer, _ = self.ask(f"/tenants/{tenant}/orders/{order}/{status}", {})
                if status == "paid" and chance.random() < 0.5:
                    answer, _ = self.ask(f"/tenants/{tenant}/orders/{order}/shipped", {})
                    status = "shipped"
            else:
                tenant = chance.randrange(1, _TENANTS + 1)
                items = [
                    {"product": "tea", "quantity": chance.randint(1, 5), "unit_cents": 450}
                    for _ in range(chance.randint(1, 4))
                ]
                customer = tenant * 100 + chance.randrange(_CUSTOMERS)
                answer, _ = self.ask(f"/tenants/{tenant}/orders", {"customer": customer, "items": items})
                status = "placed"
                if answer is not None:
                    open_orders.append((tenant, answer["order"]))
            self._look(tenant, answer, status)

    def _look(self, tenant: int, written: Any, status: str) -> None:
        """Read what was just written: it is there, or the answer says that it is stale."""
        if written is None:
            with self.lock:
                self.faults.append(f"a command was refused ({status})")
            return
        found, headers = self.ask(f"/tenants/{tenant}/orders?limit=200", Read_After=written["token"])
        seen = found is not None and (written["order"], status) in {
            (one["order"], one["status"]) for one in found["orders"]
        }
        with self.lock:
            self.written += 1
            if headers.get("Stale") == "true" or found is None:
                self.stale += 1
            elif seen or len(found["orders"]) == 200:  # an older order is on another page
                self.fresh += 1
            else:
                self.faults.append(f"order {written['order']} is not {status} in an answer that is not marked stale")


def differences(here: World) -> list[str]:
    """Report how the list, or the number of events it took, differs from what was committed."""
    with psycopg.connect(here.write_dsn, autocommit=True) as conn:
        wanted = {row[0]: row for row in conn.execute(_COMMITTED).fetchall()}
        counted = conn.execute("SELECT count(*) FROM outbox_events").fetchone()
    with psycopg.connect(here.read_dsn, autocommit=True) as conn:
        found = {row[0]: row for row in conn.execute(_LISTED).fetchall()}
        progress = conn.execute(_PROGRESS).fetchone()
    faults = [
        f"order {order}: {found.get(order)}, and committed was {wanted.get(order)}"
        for order in sorted(wanted.keys() | found.keys())
        if wanted.get(order) != found.get(order)
    ]
    if counted is not None and progress is not None and counted[0] != progress[1]:
        faults.append(f"{progress[1]} events were applied, and {counted[0]} were committed")
    return faults


def page_faults(here: World, shoppers: Shoppers) -> list[str]:
    """Walk through all pages of each tenant; say which orders were skipped or came twice."""
    faults = []
    for tenant in range(1, _TENANTS + 1):
        seen: list[int] = []
        after = ""
        while True:
            page, _ = shoppers.ask(f"/tenants/{tenant}/orders?limit=7{after}")
            seen += [one["order"] for one in page["orders"]]
            if page["after"] is None:
                break
            after = f"&after={page['after']}"
        with psycopg.connect(here.write_dsn, autocommit=True) as conn:
            rows = conn.execute("SELECT id FROM orders WHERE tenant = %s", (tenant,)).fetchall()
        if sorted(seen) != sorted(order for (order,) in rows):
            faults.append(f"the pages of tenant {tenant} hold {len(seen)} orders, and {len(rows)} were placed")
    return faults


def view_faults(here: World) -> list[str]:
    """Wait until both views are refreshed a last time; say which is not the sum of the list."""
    faults = []
    deadline = time.monotonic() + _SETTLES_WITHIN_S
    with psycopg.connect(here.read_dsn, autocommit=True) as conn:
        while stale := conn.execute(_STALE).fetchall():
            if time.monotonic() > deadline:
                return [f"{view} was not refreshed" for (view,) in stale]
            time.sleep(0.05)
        for view, left_out in _LEFT_OUT.items():
            query = _SUMS.format(view=sql.Identifier("order_list", view), left_out=sql.Literal(left_out))
            row = conn.execute(query).fetchone()
            if row is None or row[0] != row[1]:
                faults.append(f"{view} is not the sum of the list: {row}")
    return faults


def prepare(here: World) -> None:
    """Make the write side, its customers, and the roles of both sides."""
    with psycopg.connect(here.write_dsn) as conn:
        create_tables(conn)
        conn.execute("CREATE ROLE shop_query LOGIN")
        rows = [(t * 100 + c, t, f"customer {t}-{c}") for t in range(1, _TENANTS + 1) for c in range(_CUSTOMERS)]
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO customers VALUES (%s, %s, %s)", rows)


def grant(here: World, runner: Process) -> None:
    """Let the query side in as soon as the runner has made the read model.

    Raises:
        RuntimeError: The runner has ended, or takes too long.
    """
    deadline = time.monotonic() + _STARTS_WITHIN_S
    with psycopg.connect(here.read_dsn, autocommit=True) as conn:
        while conn.execute("SELECT to_regclass('order_list.orders')").fetchone() == (None,):
            runner.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"there is no read model yet:\n{runner.last_words}")
            time.sleep(0.05)
        conn.execute((_HERE / "grants.sql").read_bytes())


def show(seconds: float, rate: float, seed: int) -> int:
    """Run the example; return the exit code."""
    with world() as here:
        prepare(here)
        relay = here.relay("ORDERS", "orders.>,outbox.watermark")
        runner = here.runner(_HERE / "projections")
        api = Api(make_conninfo(here.write_dsn, user="shop_command"), make_conninfo(here.read_dsn, user="shop_query"))
        try:
            grant(here, runner)
            with Web(api.routes) as web:
                shoppers = Shoppers(web.port, rate, seed)
                _until_listed(here, _one_more(shoppers))
                faults = {
                    "nats-server is killed": (0.25, here.nats.kill),
                    "nats-server is back": (0.35, here.nats.start),
                    "the runner of the projection is killed": (0.5, runner.kill),
                    "another runner starts": (0.6, runner.restart),
                }
                address = f"http://127.0.0.1:{web.port}/tenants/1/orders"
                found = run(
                    shoppers, seconds, faults, lambda: _line(here, shoppers), lambda: differences(here), address
                )
                found += _late(here, shoppers) + page_faults(here, shoppers) + view_faults(here)
            relay.check()
        finally:
            runner.stop()
            relay.stop()
    return verdict(
        [*shoppers.faults, *found],
        f"{shoppers.written} commands; {shoppers.fresh} answers held what was just written, {shoppers.stale} said that "
        "they were stale; the list is exactly what was committed, each event once",
    )


def _one_more(shoppers: Shoppers) -> Any:
    items = [{"product": "tea", "quantity": 1, "unit_cents": 450}]
    written, _ = shoppers.ask("/tenants/1/orders", {"customer": 100, "items": items})
    return written


def _until_listed(here: World, written: Any) -> float | None:
    """Wait until all is listed; return how many seconds that took, None if it takes too long."""
    began_at = time.monotonic()
    while written is None or differences(here):
        if written is None or time.monotonic() - began_at > _SETTLES_WITHIN_S:
            return None
        time.sleep(0.01)
    return time.monotonic() - began_at


def _late(here: World, shoppers: Shoppers) -> list[str]:
    """Place one more order, with everything up; say if the list takes more than a second."""
    took_s = _until_listed(here, _one_more(shoppers))
    if took_s is None:
        return ["one more order has not come"]
    print(f"one more order was in the list after {took_s:.3f} s")
    return [] if took_s <= _CURRENT_WITHIN_S else [f"the list was current after {took_s:.1f} s only"]


def _line(here: World, shoppers: Shoppers) -> str:
    with psycopg.connect(here.read_dsn, autocommit=True) as conn:
        row = conn.execute(_PROGRESS).fetchone()
        listed = conn.execute("SELECT count(*), coalesce(max(event_seq), 0) FROM order_list.orders").fetchone()
    with psycopg.connect(here.write_dsn, autocommit=True) as conn:
        placed = conn.execute("SELECT count(*) FROM orders").fetchone()
        lag = conn.execute(_LAG, (0 if listed is None else listed[1],)).fetchone()
    if row is None or placed is None or listed is None or lag is None:
        return "the read model is not there yet"
    return (
        f"placed {placed[0]}, listed {listed[0]}; stream {row[0]}, applied {row[1]}, repeats {row[2]}, "
        f"lag {lag[0]:.1f} s; answers fresh {shoppers.fresh}, stale {shoppers.stale}"
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, show, rate=30.0))
