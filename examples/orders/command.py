"""The command side: check a command, write orders, items and the event in one transaction, answer with a token."""

from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from outbox_client import Event, Outbox
from outbox_client.reading import token

from examples.web import BadRequest

_OUTBOX = Outbox()
_MAX_ITEMS = 100
# What may follow what.
_BEFORE = {"paid": ("placed",), "shipped": ("paid",), "cancelled": ("placed", "paid")}


class Item(NamedTuple):
    """A line of an order."""

    product: str
    quantity: int
    unit_cents: int


def create_tables(conn: psycopg.Connection[Any]) -> None:
    """Make the tables and the role of the command side."""
    conn.execute(Path(__file__).with_name("schema.sql").read_bytes())


def items_of(body: Any) -> tuple[int, list[Item]]:
    """Check the command that places an order; return its customer and items.

    Raises:
        BadRequest: Something is wrong with it.
    """
    if not isinstance(body, dict) or type(body.get("customer")) is not int:
        raise BadRequest("send {customer, items: [{product, quantity, unit_cents}]}")
    given = body.get("items")
    if not isinstance(given, list) or not 0 < len(given) <= _MAX_ITEMS:
        raise BadRequest(f"items must be a list of 1 to {_MAX_ITEMS}")
    items = []
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("product"), str) or not 0 < len(one["product"]) <= 200:
            raise BadRequest("each item needs a product")
        quantity, cents = one.get("quantity"), one.get("unit_cents")
        if type(quantity) is not int or not 0 < quantity <= 10_000 or type(cents) is not int or not 0 <= cents < 2**31:
            raise BadRequest("quantity must be 1 to 10000, unit_cents a number of cents")
        items.append(Item(one["product"], quantity, cents))
    return body["customer"], items


def place(conn: psycopg.Connection[Any], tenant: int, customer: int, items: list[Item]) -> dict[str, Any]:
    """Place an order; return its number, and the token of its event.

    Raises:
        BadRequest: There is no such customer.
        psycopg.Error: Nothing was written.
    """
    total = sum(one.quantity * one.unit_cents for one in items)
    with conn.transaction():
        query = "SELECT name FROM customers WHERE id = %s AND tenant = %s"
        known = conn.execute(query, (customer, tenant)).fetchone()
        if known is None:
            raise BadRequest("there is no such customer", 422)
        insert = "INSERT INTO orders (tenant, customer, total_cents) VALUES (%s, %s, %s) RETURNING id, created_at"
        row = conn.execute(insert, (tenant, customer, total)).fetchone()
        if row is None:
            raise AssertionError("INSERT ... RETURNING has returned nothing")
        order, created_at = row
        with conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO order_items VALUES (%s, %s, %s, %s, %s)",
                [(order, line, *one) for line, one in enumerate(items, 1)],
            )
        payload = {
            "order": order,
            "tenant": tenant,
            "customer": customer,
            "customer_name": known[0],
            "total_cents": total,
            "item_count": len(items),
            "created_at": created_at.isoformat(),
        }
        return {"order": order, "token": _publish(conn, "orders.placed", order, payload)}


def change(conn: psycopg.Connection[Any], tenant: int, order: int, status: str) -> dict[str, Any]:
    """Pay, ship or cancel an order; return the token of the event.

    Raises:
        BadRequest: There is no such order, or it is in a state that forbids it.
        psycopg.Error: Nothing was written.
    """
    if status not in _BEFORE:
        raise BadRequest("an order is paid, shipped or cancelled", 404)
    with conn.transaction():
        query = "UPDATE orders SET status = %s WHERE id = %s AND tenant = %s AND status = ANY (%s)"
        if not conn.execute(query, (status, order, tenant, list(_BEFORE[status]))).rowcount:
            raise BadRequest(f"there is no such order that can be {status} now", 409)
        return {"order": order, "token": _publish(conn, f"orders.{status}", order, {"order": order})}


def _publish(conn: psycopg.Connection[Any], topic: str, order: int, payload: dict[str, Any]) -> str:
    event = Event(topic, payload, key=f"order-{order}")
    _OUTBOX.publish(conn, event)
    return token(conn, event.id)
