"""The orders example: commands in one transaction, pages without gaps, and a list that is what was committed."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from examples.orders.__main__ import show
from examples.orders.api import Api
from examples.orders.command import create_tables
from examples.traffic import Client
from examples.web import Web
from tests.integration.projection.world import run_sql

ITEMS = [{"product": "tea", "quantity": 2, "unit_cents": 450}]
TABLE = """
CREATE SCHEMA order_list;
CREATE TABLE order_list.orders (order_id bigint PRIMARY KEY, tenant_id bigint, customer_id bigint, customer_name text,
    total_cents bigint, status text, item_count integer, created_at timestamptz);
CREATE SCHEMA projection;
CREATE TABLE projection.state (name text, complete_up_to timestamptz);
INSERT INTO order_list.orders
SELECT i, 1, 1, 'Ada', i, 'placed', 1, '2026-01-01'::timestamptz + (i / 10) * interval '1 s'
FROM generate_series(1, 95) i;
INSERT INTO order_list.orders VALUES (1000, 2, 1, 'Eve', 1, 'placed', 1, now());
"""


@pytest.fixture
def client(database: str) -> Iterator[Client]:
    """The API, without relay and projection."""
    with psycopg.connect(database) as conn:
        create_tables(conn)
        conn.execute("INSERT INTO customers VALUES (1, 1, 'Ada')")
    with Web(Api(make_conninfo(database, user="shop_command"), database).routes) as web:
        yield Client(web.port)


def test_an_order_its_items_and_its_event_are_written_together(client: Client, database: str) -> None:
    status, answer, headers = client.ask("/tenants/1/orders", {"customer": 1, "items": ITEMS})
    assert (status, headers["Read-After"]) == (201, answer["token"])
    assert run_sql(database, "SELECT total_cents, status FROM orders") == [(900, "placed")]
    assert run_sql(database, "SELECT topic, payload->>'customer_name' FROM outbox_events") == [("orders.placed", "Ada")]
    path = f"/tenants/1/orders/{answer['order']}"
    assert [client.ask(f"{path}/{one}", {})[0] for one in ("shipped", "paid", "shipped", "cancelled")] == [
        409,
        200,
        200,
        409,
    ]
    assert client.ask(f"/tenants/2/orders/{answer['order']}/paid", {})[0] == 409
    assert run_sql(database, "SELECT array_agg(topic ORDER BY seq) FROM outbox_events") == [
        (["orders.placed", "orders.paid", "orders.shipped"],)
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"customer": 2, "items": ITEMS}, 422),
        ({"customer": 1, "items": []}, 400),
        ({"customer": True, "items": ITEMS}, 400),
        ({"customer": 1, "items": [{**ITEMS[0], "quantity": 0}]}, 400),
        ({"customer": 1, "items": [{**ITEMS[0], "unit_cents": -1}]}, 400),
        (["x"], 400),
    ],
)
def test_what_is_no_order_is_refused(client: Client, database: str, body: object, status: int) -> None:
    assert client.ask("/tenants/1/orders", body)[0] == status
    assert run_sql(database, "SELECT count(*) FROM outbox_events") == [(0,)]


def test_the_pages_skip_no_tie_and_show_no_other_tenant(client: Client, database: str) -> None:
    run_sql(database, TABLE)
    seen: list[int] = []
    after = ""
    while True:
        status, page, _ = client.ask(f"/tenants/1/orders?limit=7{after}")
        assert status == 200
        seen += [one["order"] for one in page["orders"]]
        if page["after"] is None:
            break
        after = f"&after={page['after']}"
    assert seen == list(range(95, 0, -1))
    assert client.ask("/tenants/1/orders?after=bm8=")[0] == 400
    assert client.ask("/tenants/1/orders?limit=0")[0] == 400


@pytest.mark.timeout(200)
def test_the_list_is_what_was_committed_though_server_and_runner_are_killed(capfd: pytest.CaptureFixture[str]) -> None:
    assert show(10, 30, 7) == 0, capfd.readouterr()
    said = capfd.readouterr().out
    assert "nats-server is killed" in said and "the runner of the projection is killed" in said
