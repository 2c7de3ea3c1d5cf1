"""Every page in a real browser: no error, nothing refused, no request to others; on a phone, in the dark."""

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Response

from relay.demo.servers import NatsServer, PostgresServer
from tests.integration.console.world import BIDI, MARKUP, Night, night
from tests.support.fix_browser import Scheme, Watched, chromium, watched
from tests.support.fix_console import Console, MakeConsole, operator_settings
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
# Where pictures of the pages are kept, to be looked at.
KEPT = os.environ.get("RELAY_TEST_PICTURES")
WIDE, NARROW = 1440, 375
WINDOWS: tuple[tuple[Scheme, int], ...] = (("light", WIDE), ("dark", WIDE), ("dark", NARROW), ("light", NARROW))
AXED = (("light", WIDE), ("dark", WIDE), ("light", NARROW))
# On a phone: tables that go beyond the right side, and cells of cards whose name is not that of their column. What is
# a state, or a link that says what it does, has none.
CARDS = """() => {
  const wrong = [];
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth + 1) wrong.push("is cut: " + box.getAttribute("aria-label"));
    if (!box.querySelector("table.stack")) continue;
    const heads = [...box.querySelectorAll("thead th")].map(one => one.textContent);
    for (const cell of box.querySelectorAll("tbody td:not([colspan])")) {
      const head = heads[cell.cellIndex];
      const own = ["State", "Level", "Look", "Decide"].includes(head) ? "none" : JSON.stringify(head);
      const name = getComputedStyle(cell, "::before").content;
      if (name !== own) wrong.push([box.getAttribute("aria-label"), head, name]);
    }
  }
  return [...new Set(wrong.map(one => JSON.stringify(one)))];
}"""


def pages(at_night: Night) -> dict[str, str]:
    """Return every page by the name of its picture, over rows that mean harm."""
    key = quote(MARKUP + BIDI)
    return {
        "overview": "/",
        "overview-table": "/?as=table",
        "events": "/events?state=any",
        "events-fault": "/events?seq=9..7&topic=%3Cb%3E",
        "event-hostile": f"/events/{at_night.hostile}",
        "event-waiting": f"/events/{at_night.homeless}",
        "payload-hostile": f"/events/{at_night.hostile}/payload",
        "payload": f"/events/{at_night.delivered}/payload?pretty",
        "dead": "/dead",
        "key-hostile": f"/key?key={key}",
        "key": "/key?key=k3",
        "waiting": "/waiting",
        "streams": "/streams",
        "relays": "/relays",
        "relays-table": "/relays?as=table",
        "projections": "/projections",
        "tail": "/tail",
        "doctor": "/doctor",
        "audit": "/audit",
        "about": "/about",
        "runbooks": "/runbooks",
        "runbook": "/runbooks/OutboxRelayCapacity.md",
        "change": f"/change?action=discard&key={key}",
        "change-replay": "/change?action=replay&topic=orders.%3E",
        "change-fault": "/change?action=retry",
        "nothing": "/events/4711000",
    }


@pytest.fixture
def at_night(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Night:
    return night(outbox, streams, make_relay)


@pytest.fixture
def console(at_night: Night, outbox: Outbox, streams: Streams, make_console: MakeConsole, tmp_path: Path) -> Console:
    return make_console(outbox.dsn, streams.url, **operator_settings(outbox.dsn, tmp_path)).enter()


def unexpected(faults: list[str]) -> list[str]:
    """Leave out what the browser says of an answer that is meant to be 400 or 404."""
    return [one for one in faults if not re.search(r"status of 40[04]", one)]


def refreshed(status: int) -> Callable[[Response], bool]:
    """Return what finds the answer to a refresh of a live part."""
    return lambda answer: answer.url.endswith("?live") and answer.status == status


async def test_every_page_is_clean_and_fits_and_axe_finds_nothing(console: Console, at_night: Night) -> None:
    """Each is loaded once and looked at in every window: only its style sheet knows how wide and how dark it is."""
    found: dict[str, object] = {}
    async with chromium() as browser, watched(browser, console) as window:
        for name, path in pages(at_night).items():
            await window.shows(path)
            found |= await faults_of(window, name)
        await window.page.get_by_role("link", name="Doctor").click()
        await window.page.get_by_role("button", name="Run the checks").click()
        await window.page.locator("summary").click()
        found |= await faults_of(window, "doctor-checks")
        assert unexpected(window.faults) == []
    assert found == {}


async def faults_of(window: Watched, name: str) -> dict[str, object]:
    """Return what is wrong with the page that a window shows, in any size and scheme."""
    found: dict[str, object] = {}
    for scheme, width in WINDOWS:
        await window.looks(scheme, width)
        if KEPT:
            await window.page.screenshot(path=Path(KEPT) / f"{name}-{scheme}-{width}.png", full_page=True)
        if await window.page.evaluate("document.documentElement.scrollWidth") > width:
            found[f"{name}: scrolled sideways"] = (scheme, width)
        if width == NARROW and (cut := await window.page.evaluate(CARDS)):
            found[f"{name}: tables, {scheme}"] = cut
        if (scheme, width) in AXED and (violations := await window.violations()):
            found[f"{name}: axe, {scheme}, {width}"] = [
                (one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in violations
            ]
    return found


async def test_every_page_works_without_javascript(console: Console, outbox: Outbox, at_night: Night) -> None:
    async with chromium() as browser, watched(browser, console, scripts=False) as window:
        page = window.page
        for path in pages(at_night).values():
            await window.shows(path)
            assert await page.locator("h1").count() == 1, path
        await window.shows("/events?state=dead")
        await page.get_by_label("Topic").fill("other.*")
        await page.get_by_role("button", name="Find").click()
        await page.get_by_role("link", name=str(at_night.dead), exact=True).click()
        await page.get_by_role("link", name="Discard it").click()
        assert "Discard 1 dead letter, for good" in await page.locator("main").inner_text()
        await page.get_by_role("button", name="Discard 1").click()
        await page.wait_for_url("**/changes/*")
        while "Ended" not in await page.locator("main").inner_text():
            await page.reload()
        assert outbox.count(f"seq = {at_night.dead} AND discarded_at IS NOT NULL") == 1
        assert unexpected(window.faults) == []


async def test_a_page_goes_on_by_itself_while_nats_is_killed_and_comes_back(
    own_postgres: PostgresServer, own_nats: NatsServer, make_console: MakeConsole, make_relay: MakeRelay
) -> None:
    streams = Streams(own_nats.url)
    await asyncio.to_thread(streams.make, "ORDERS", "orders.>")
    outbox = Outbox(own_postgres.dsn())
    try:
        outbox.insert("orders.placed", "k", {"i": 1})
        make_relay(outbox.dsn, own_nats.url).start()
        outbox.drained()
        console = make_console(outbox.dsn, own_nats.url).enter()
        async with chromium() as browser, watched(browser, console) as window:
            await window.shows("/")
            verdict = window.page.locator("#live")
            await verdict.get_by_text("All is well.").wait_for()
            await asyncio.to_thread(own_nats.kill)
            await verdict.get_by_text("NATS cannot be reached from here").wait_for(timeout=60_000)
            await asyncio.to_thread(own_nats.start)
            await verdict.get_by_text("All is well.").wait_for(timeout=60_000)
            assert window.faults == []
            await window.page.get_by_role("button", name="Pause").click()
            assert await window.page.get_by_role("button", name="Resume").get_attribute("aria-pressed") == "true"
    finally:
        outbox.conn.close()


async def test_a_page_that_shows_the_newest_already_is_not_touched(
    console: Console, outbox: Outbox, at_night: Night
) -> None:
    # No card: it says how long ago something began, which changes every second.
    outbox.conn.execute("UPDATE outbox_events SET discarded_at = now() WHERE dead_at IS NOT NULL")
    async with chromium() as browser, watched(browser, console) as window:
        page = window.page
        await window.shows("/streams")
        for status in (200, 304):
            async with page.expect_response(refreshed(status)):
                pass
        await page.evaluate("document.querySelector('#live table').dataset.mine = 'kept'")
        async with page.expect_response(refreshed(304)):
            pass
        assert await page.locator("#live table[data-mine=kept]").count() == 1
        seq = outbox.insert("orders.placed", "k9", {"i": 9})
        await asyncio.to_thread(outbox.delivered, seq)
        async with page.expect_response(refreshed(200)):
            pass
        assert window.faults == []


async def test_the_tail_adds_rows_as_text(console: Console, outbox: Outbox) -> None:
    async with chromium() as browser, watched(browser, console) as window:
        await window.shows("/tail")
        rows = window.page.locator("#tail tr")
        before = await rows.count()
        await window.page.wait_for_function("() => document.getElementById('tail-pause').hidden === false")
        seq = outbox.insert("orders.placed", "<img src=x onerror=alert(1)>", {"i": 1})
        await window.page.get_by_role("link", name=str(seq), exact=True).wait_for(timeout=30_000)
        assert await rows.count() == before + 1
        assert "<img src=x" in await rows.first.inner_text()
        assert await rows.first.locator("img").count() == 0
        assert window.faults == []


async def test_a_page_of_another_origin_can_change_nothing(console: Console, outbox: Outbox, at_night: Night) -> None:
    async with chromium() as browser, watched(browser, console) as window:
        page = window.page
        await page.set_content(
            f'<form method="post" action="http://{console.host}/change"><input name="order" '
            f'value="action=discard&amp;seq={at_night.dead}&amp;until=0s"><input name="planned" value="1">'
            '<button id="go">go</button></form>'
        )
        async with page.expect_response(lambda answer: answer.url.endswith("/change")) as sent:
            await page.evaluate("document.querySelector('form').submit()")
        assert (await sent.value).status == 403
    assert outbox.count("discarded_at IS NOT NULL") == 0
