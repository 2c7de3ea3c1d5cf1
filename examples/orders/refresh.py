"""Refresh the materialised views on a schedule: never two at once, without a lock that stops readers."""

import threading
from typing import Any, Self

import psycopg
from psycopg import sql

VIEWS = ("order_daily_summary", "customer_lifetime_value")
_APPLIED = "SELECT sum(applied), min(complete_up_to) FROM projection.state WHERE name = 'order_list'"
_NOTE = """
INSERT INTO order_list.refreshes VALUES (%s, now(), %s)
ON CONFLICT (view) DO UPDATE SET refreshed_at = excluded.refreshed_at, complete_up_to = excluded.complete_up_to
"""


def refresh(conn: psycopg.Connection[Any]) -> None:
    """Refresh the views once, and note up to when they are complete; does nothing while another one does it.

    Args:
        conn: In autocommit, of the role that owns the views.
    """
    mine = conn.execute("SELECT pg_try_advisory_lock(hashtext('order_list.refresh'))").fetchone()
    if mine != (True,):
        return
    try:
        for view in VIEWS:
            # Read before the view is: what is complete now will be in it.
            row = conn.execute(_APPLIED).fetchone()
            conn.execute(
                sql.SQL("REFRESH MATERIALIZED VIEW CONCURRENTLY {}").format(sql.Identifier("order_list", view))
            )
            conn.execute(_NOTE, (view, None if row is None else row[1]))
    finally:
        conn.execute("SELECT pg_advisory_unlock(hashtext('order_list.refresh'))")


class Refresher:
    """Refreshes the views every so often while something was applied since, until it is left."""

    def __init__(self, dsn: str, every_s: float) -> None:
        self._dsn = dsn
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        applied: Any = 0
        while not self._end.wait(self._every_s):
            try:
                with psycopg.connect(self._dsn, autocommit=True) as conn:
                    now = conn.execute(_APPLIED).fetchone()
                    if now is not None and now[0] != applied:
                        refresh(conn)
                        applied = now[0]
            except psycopg.Error:
                # The tables are not there yet, or PostgreSQL is not: the next one is soon.
                continue

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._end.set()
        self._thread.join()
