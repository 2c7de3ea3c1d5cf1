"""Projections on the console: real ones, on PostgreSQL and on Redis, and what an operator decides."""

import re
from html import unescape
from pathlib import Path

import pytest

from relay.config.settings import load
from relay.demo.redis_server import RedisServer
from relay.projection.definition import Definition, Handler
from relay.projection.rules.grouping import Mode
from tests.integration.console.test_changes import hidden
from tests.integration.projection.fix_runner import Run, Running, events, running
from tests.integration.projection.world import Events, definition, run_sql, state, trail
from tests.support.fix_console import Answer, Console, MakeConsole, operator_settings
from tests.support.fix_relay import Outbox, wait_until

__all__ = ["events", "running"]

LUA = "write('RPUSH', 'trail:' .. e.key, string.format('%.0f', e.data.i))"


def poisoned(events: Events) -> None:
    """Store five events, of which one cannot be applied and one waits behind it."""
    events.make()
    events.send((1, "a"), (2, "b"))
    events.send((3, "a"), payload={"i": "<b>x\u202e"})
    events.send((4, "a"), (5, "b"))


def decide(console: Console, page: Answer) -> Answer:
    return console.post("/projections/decide", hidden(page))


def link(page: Answer, words: str) -> str:
    """Return the address of the first link with these words."""
    found = re.search(rf'href="([^"]*)">{words}', page.text)
    assert found is not None, page.plain
    return unescape(found[1])


@pytest.fixture
def console(outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path) -> Console:
    # Whoever reads the projections has been given their schema; the tests' runner makes them as an administrator.
    settings = operator_settings(outbox.dsn, tmp_path)
    Path(settings["console__operator_dsn_file"]).write_text(outbox.dsn)
    return make_console(outbox.dsn, nats, **settings, postgres__dsn=outbox.dsn).enter()


def test_parked_events_are_shown_retried_and_skipped(
    console: Console, outbox: Outbox, events: Events, running: Run
) -> None:
    poisoned(events)
    running(outbox.dsn, events.url, definition())
    wait_until("all is settled", lambda: state(outbox.dsn).get("position") == 5)
    page = console.get("/projections?name=trail")
    assert "running" in page.plain and "Parked events of trail" in page.plain
    assert "waits behind an earlier event of its key" in page.plain and "22P02" in page.plain
    assert "<b>x" not in page.text
    ((number,),) = run_sql(outbox.dsn, "SELECT number FROM projection.parked WHERE reason IS NOT NULL")

    preview = console.get(link(page, "Retry all 1 that were refused"))
    assert "Have 1 parked events tried again" in preview.plain and "relay projection retry trail" in preview.plain
    assert run_sql(outbox.dsn, "SELECT 1 FROM projection.audit") == [], "a preview changes nothing"
    assert decide(console, preview).status == 303
    wait_until("it was tried", lambda: not run_sql(outbox.dsn, "SELECT 1 FROM projection.parked WHERE wanted <> ''"))

    preview = console.get(link(console.get("/projections?name=trail"), "Skip&hellip;"))
    assert "Give up 1 parked events" in preview.plain
    assert f"relay projection skip trail --number {number}" in preview.plain
    assert decide(console, preview).status == 303
    wait_until("nothing is parked", lambda: run_sql(outbox.dsn, "SELECT 1 FROM projection.parked") == [])
    assert trail(outbox.dsn)["a"] == [1, 4], "what waited behind it follows"
    again = decide(console, preview)
    assert again.status == 409 and "not parked any more" in again.plain
    audit = run_sql(outbox.dsn, "SELECT who, action, events FROM projection.audit ORDER BY number")
    assert [line[1:] for line in audit] == [("retry", 2), ("skip", 1)]
    assert all(re.fullmatch(r"console \S+@\S+", who) for who, _, _ in audit)
    assert "No event of trail is parked." in console.get("/projections?name=trail").plain


def test_a_stopped_projection_says_why(console: Console, outbox: Outbox, events: Events, running: Run) -> None:
    events.make()
    events.send((1, "a"))
    runner = running(outbox.dsn, events.url, definition())
    wait_until("it runs", lambda: "running" in console.get("/projections").plain)
    runner.stop()  # its next beat would say again that it runs
    run_sql(outbox.dsn, "UPDATE projection.state SET status = 'stopped', error = 'a gap <script>'")
    page = console.get("/projections")
    assert (
        "stopped" in page.plain
        and "a gap <script>" in page.plain
        and "<script>" not in page.text.replace("<script src", "")
    )
    assert "OutboxRelayProjectionStopped" in page.plain


def test_what_nobody_may_decide_is_refused(
    console: Console, outbox: Outbox, nats: str, make_console: MakeConsole
) -> None:
    for fields, status in (
        ({}, 400),
        ({"what": "forget", "name": "trail", "events": "1.0"}, 400),
        ({"what": "retry", "name": "trail"}, 400),
        ({"what": "skip", "name": "trail"}, 400),
        ({"what": "retry", "name": "trail", "events": "1.0"}, 422),
    ):
        assert console.post("/projections/decide", fields).status == status, fields
    assert console.post("/projections/decide", {"what": "retry"}, {}).status == 403
    assert console.get("/projections/decide?what=skip&name=trail").status == 400, "each that is skipped is named"
    reader = make_console(outbox.dsn, nats).enter()
    assert reader.get("/projections/decide?what=retry&name=trail").status == 404
    assert reader.post("/projections/decide", {"what": "retry", "name": "trail", "events": "1.0"}).status == 404


@pytest.mark.denials
def test_without_the_right_to_read_them_the_page_says_what_to_grant(
    outbox: Outbox, events: Events, running: Run, make_console: MakeConsole
) -> None:
    events.make()
    events.send((1, "a"))
    running(outbox.dsn, events.url, definition())
    wait_until("it runs", lambda: state(outbox.dsn).get("position") == 1)
    page = make_console(outbox.dsn, events.url).enter().get("/projections")
    assert page.status == 200 and "GRANT USAGE and SELECT" in page.plain


def test_projections_in_redis_are_shown_and_decided_about(
    outbox: Outbox, events: Events, make_console: MakeConsole, tmp_path: Path
) -> None:
    poisoned(events)
    known = Definition(
        name="trail",
        stream="ORDERS",
        subjects=("orders.>",),
        version=1,
        tables="",
        handlers=(Handler("orders.>", None, Mode.EACH, lua=LUA),),
        store="redis",
    )
    with RedisServer(tmp_path / "redis") as server:
        settings = load(None, {"redis.url": server.url, "nats.servers": (events.url,)}, environ={})
        runner = Running([known], settings)
        try:
            own = operator_settings(outbox.dsn, tmp_path)
            console = make_console(outbox.dsn, events.url, **own, redis__url=server.url).enter()
            path = "/projections?name=trail&store=redis"
            wait_until("it is parked", lambda: "Skip&hellip;" in console.get(path).text)
            page = console.get(path)
            assert "Read models that Redis keeps" in page.plain and "running" in page.plain
            preview = console.get(link(page, "Retry all 1 that were refused"))
            assert "relay projection redis retry trail" in preview.plain
            assert decide(console, preview).status == 303
            wait_until("it was tried", lambda: "Skip&hellip;" in console.get(path).text)
            assert decide(console, console.get(link(console.get(path), "Skip&hellip;"))).status == 303
            wait_until("nothing is parked", lambda: "No event of trail is parked." in console.get(path).plain)
            assert console.log().count('"console.changed"') == 2
            server.kill()
            assert "In Redis: Redis: " in console.get("/projections").plain, "the others are shown still"
        finally:
            runner.stop()
