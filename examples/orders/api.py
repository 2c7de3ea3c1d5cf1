"""The HTTP API of both sides; each uses a role of its own."""

import base64
from datetime import datetime
from typing import Any

import psycopg

from examples.orders.command import change, items_of, place
from examples.web import Answer, BadRequest, Request, Route, waited

_MAX_LIMIT = 200
_PAGE = """
SELECT order_id, customer_id, customer_name, total_cents, status, item_count, created_at
FROM order_list.orders
WHERE tenant_id = %(tenant)s AND (%(at)s::timestamptz IS NULL OR (created_at, order_id) < (%(at)s, %(order)s))
ORDER BY created_at DESC, order_id DESC LIMIT %(limit)s
"""
_DAILY = (
    "SELECT day, orders, total_cents, cancelled FROM order_list.order_daily_summary WHERE tenant_id = %s ORDER BY day"
)
_REFRESHED = """
SELECT refreshed_at, complete_up_to FROM projection.refreshes
WHERE name = 'order_list' AND view = 'order_daily_summary'
"""


class Api:
    """Answers commands from the write side and queries from the read side.

    Args:
        command_dsn: Of a role that writes orders and their events, and sees no read model.
        query_dsn: Of a role that reads the read model, and can change nothing.
    """

    def __init__(self, command_dsn: str, query_dsn: str) -> None:
        self._command_dsn = command_dsn
        self._query_dsn = query_dsn

    @property
    def routes(self) -> list[Route]:
        """What is served."""
        tenant = r"/tenants/(?P<tenant>[0-9]{1,18})"
        return [
            ("POST", rf"{tenant}/orders", self.place),
            ("POST", rf"{tenant}/orders/(?P<order>[0-9]{{1,18}})/(?P<status>[a-z]+)", self.change),
            ("GET", rf"{tenant}/orders", self.orders),
            ("GET", rf"{tenant}/daily", self.daily),
        ]

    def place(self, request: Request) -> Answer:
        """Place an order; ``Read-After`` of the answer can be given to a query."""
        customer, items = items_of(request.body)
        with psycopg.connect(self._command_dsn, autocommit=True) as conn:
            answer = place(conn, int(request.args["tenant"]), customer, items)
        return Answer(answer, 201, {"Read-After": answer["token"]})

    def change(self, request: Request) -> Answer:
        """Pay, ship or cancel an order."""
        with psycopg.connect(self._command_dsn, autocommit=True) as conn:
            answer = change(conn, int(request.args["tenant"]), int(request.args["order"]), request.args["status"])
        return Answer(answer, headers={"Read-After": answer["token"]})

    def orders(self, request: Request) -> Answer:
        """Return a page of a tenant's orders, the newest first, and the cursor of the next page."""
        limit_text = request.query.get("limit", "50")
        if not limit_text.isdecimal() or not 0 < int(limit_text) <= _MAX_LIMIT:
            raise BadRequest(f"limit must be 1 to {_MAX_LIMIT}")
        at, order = _cursor(request.query.get("after"))
        limit = int(limit_text)
        params = {"tenant": int(request.args["tenant"]), "at": at, "order": order, "limit": limit}
        with psycopg.connect(self._query_dsn, autocommit=True) as conn:
            headers = self._freshness(conn, request)
            rows = conn.execute(_PAGE, params).fetchall()
        names = ("order", "customer", "customer_name", "total_cents", "status", "item_count", "created_at")
        found = [dict(zip(names, (*row[:6], row[6].isoformat()), strict=True)) for row in rows]
        following = None if len(rows) < limit else _cursor_of(rows[-1])
        return Answer({"orders": found, "after": following}, headers=headers)

    def daily(self, request: Request) -> Answer:
        """Return what a tenant sold on each day, and up to when that is complete."""
        with psycopg.connect(self._query_dsn, autocommit=True) as conn:
            rows = conn.execute(_DAILY, (int(request.args["tenant"]),)).fetchall()
            refreshed = conn.execute(_REFRESHED).fetchone() or (None, None)
        days = [
            {"day": day.isoformat(), "orders": orders, "total_cents": cents, "cancelled": cancelled}
            for day, orders, cents, cancelled in rows
        ]
        refreshed_at, complete_up_to = (None if one is None else one.isoformat() for one in refreshed)
        headers = {} if complete_up_to is None else {"Last-Updated": complete_up_to}
        return Answer({"days": days, "refreshed_at": refreshed_at, "complete_up_to": complete_up_to}, headers=headers)

    def _freshness(self, conn: psycopg.Connection[Any], request: Request) -> dict[str, str]:
        fresh = waited(conn, "order_list", request.headers.get("Read-After"))
        row = conn.execute("SELECT min(complete_up_to) FROM projection.state WHERE name = 'order_list'").fetchone()
        headers = {} if row is None or row[0] is None else {"Last-Updated": row[0].isoformat()}
        return {**headers, "Stale": "true"} if fresh is False else headers


def _cursor_of(row: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(f"{row[6].isoformat()} {row[0]}".encode()).decode()


def _cursor(text: str | None) -> tuple[datetime | None, int | None]:
    """Read a cursor: time and number of the last order that was seen, so that no tie is skipped."""
    if text is None:
        return None, None
    try:
        at, _, order = base64.urlsafe_b64decode(text.encode()).decode().rpartition(" ")
        moment, number = datetime.fromisoformat(at), int(order)
    except ValueError:
        moment, number = None, 0
    if moment is None or moment.tzinfo is None or not 0 < number < 2**63:
        raise BadRequest("after is not a cursor of this list")
    return moment, number
