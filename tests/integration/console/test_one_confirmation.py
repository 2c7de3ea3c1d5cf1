"""A preview is confirmed once: however often its form is sent, at once or later, to this console or another one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.integration.console.test_changes import audit, confirm, dead_letters, ended, hidden
from tests.support.fix_console import MakeConsole, operator_settings
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams


def test_a_replay_that_is_confirmed_again_and_again_is_made_once(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, make_console: MakeConsole, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.fill("orders.placed", 300, keys=3)
    make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    settings = operator_settings(outbox.dsn, tmp_path)
    consoles = [make_console(outbox.dsn, streams.url, **settings).enter() for _ in range(2)]
    page = consoles[0].get("/change?action=replay&topic=orders.>")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda at: confirm(consoles[at % 2], page), range(6)))
    assert {(answer.status, answer.headers.get("location")) for answer in answers} == {(303, "/changes/1")}
    assert "done, 300 changed" in ended(consoles[0], answers[0])
    again = make_console(outbox.dsn, streams.url, **settings).enter()
    for console in (*consoles, again):
        answer = confirm(console, page)
        assert (answer.status, answer.headers.get("location")) == (303, "/changes/1")
    assert streams.messages("ORDERS") == 600
    assert [line[1:] for line in audit(outbox)] == [("replay", 300, 300, True)]
    other = consoles[0].get("/change?action=replay&topic=orders.>")
    assert "done, 300 changed" in ended(consoles[0], confirm(consoles[0], other)), "another preview is another replay"
    assert streams.messages("ORDERS") == 900


@pytest.mark.parametrize("action", ["retry", "discard"])
def test_a_decision_that_is_confirmed_again_and_again_is_one_line_of_the_audit(
    outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path, action: str
) -> None:
    dead_letters(outbox, "orders.a", 5_000)
    console = make_console(outbox.dsn, nats, **operator_settings(outbox.dsn, tmp_path)).enter()
    page = console.get(f"/change?action={action}&topic=orders.a")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: confirm(console, page), range(6)))
    assert {(answer.status, answer.headers.get("location")) for answer in answers} == {(303, "/changes/1")}
    assert "done, 5,000 changed" in ended(console, answers[0])
    assert [line[1:] for line in audit(outbox)] == [(f"dead {action}", 5_000, 5_000, True)]
    assert "preview" not in console.get("/audit").plain


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_two_that_wait_for_each_other_are_one_whatever_isolation_the_database_has(
    outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path, isolation: str
) -> None:
    outbox.conn.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = %L', current_database(),"
        f" '{isolation}'); END $$"
    )
    dead_letters(outbox, "orders.a", 5)
    console = make_console(outbox.dsn, nats, **operator_settings(outbox.dsn, tmp_path)).enter()
    page = console.get("/change?action=retry&topic=orders.a")
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(2) as pool, psycopg.connect(outbox.dsn) as first:
        first.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('outbox_preview ' || %s, 0))", (hidden(page)["preview"],)
        )
        sent = [pool.submit(confirm, console, page) for _ in range(2)]
        wait_until("both wait", lambda: outbox.conn.execute(waiting).fetchone() == (2,))
        first.rollback()
        answers = [one.result() for one in sent]
    assert {(answer.status, answer.headers.get("location")) for answer in answers} == {(303, "/changes/1")}
    ended(console, answers[0])
    assert [line[1:] for line in audit(outbox)] == [("dead retry", 5, 5, True)]


@pytest.mark.parametrize("name", ["", "0", "0-", "x-0123456789abcdef", "-1-0123456789abcdef", "0-0123456789abcdeF"])
def test_a_form_without_the_name_of_its_preview_does_nothing(
    outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path, name: str
) -> None:
    dead_letters(outbox, "orders.a", 3)
    console = make_console(outbox.dsn, nats, **operator_settings(outbox.dsn, tmp_path)).enter()
    fields = hidden(console.get("/change?action=retry&topic=orders.a"))
    assert console.post("/change", {**fields, "preview": name}).status == 400
    assert outbox.count("dead_at IS NOT NULL") == 3
