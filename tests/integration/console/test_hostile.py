"""Rows that mean harm, on every page: markup, template braces, bidi, no UTF-8, a megabyte, in every column."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from relay.postgres.migrate import migrate
from tests.integration.console.world import BIDI, MARKUP
from tests.support.fix_browser import Scheme, chromium, watched
from tests.support.fix_console import Console, MakeConsole, operator_settings
from tests.support.fix_stream import Streams

WINDOWS: tuple[tuple[Scheme, int], ...] = (("light", 1440), ("dark", 375))
# A template that filled it in would show `PRODUCT`.
PRODUCT = str(1234 * 4321)
BRACES = "{{ 1234*4321 }}{% raw %}${1234*4321}"
EVIL = f"{MARKUP}{BRACES}{BIDI}\u2028\u200b\ufeff\U000e0001]]>--><!--</title></textarea>"
# A page has room for no more than a part of these.
LONG = EVIL * 60
MEGABYTE = (EVIL * 20_000).encode()[:1_048_576]
NO_TEXT = b"<script>alert(1)</script>{{ 7*7 }}\xff\xfe\xc3\x28\xed\xa0\x80" * 30_000
KEY = EVIL[:100]
# What PostgreSQL's text and JSON take: anything but NUL.
EACH = 60
_INSERT = """
    INSERT INTO outbox_events
        (topic, key, payload, headers, created_at, delivered_at, stream, stream_seq, attempts, retry_at, dead_at,
         discarded_at, last_error, failure_class)
    SELECT %(topic)s || g, CASE WHEN g %% 2 = 0 THEN %(key)s ELSE %(long)s END, %(payload)s, %(headers)s::jsonb,
           CASE g WHEN 3 THEN 'infinity' WHEN 4 THEN '-infinity' ELSE now() - interval '1 min' END,
           CASE WHEN %(state)s = 'delivered' THEN now() END, CASE WHEN %(state)s = 'delivered' THEN %(key)s END, g, 3,
           CASE WHEN %(state)s = 'retry' THEN now() + interval '1 hour' END,
           CASE WHEN %(state)s IN ('dead', 'discarded') THEN now() END,
           CASE WHEN %(state)s = 'discarded' THEN now() END,
           %(long)s || chr(65 + g %% 26) || chr(65 + g / 26),
           CASE WHEN %(state)s = 'delivered' THEN NULL ELSE 'poison' END
    FROM generate_series(1, %(count)s) g
"""


@pytest.fixture(params=["jsonb", "text", "bytea"])
def dsn(request: pytest.FixtureRequest, empty_database: str) -> str:
    """An outbox of hostile rows in every state, its payloads as bad as its type allows."""
    with psycopg.connect(empty_database, autocommit=True) as conn:
        migrate(conn, "outbox_events", request.param, True)
        given: dict[str, object] = {
            "topic": f"orders.{EVIL}{LONG}",
            "key": KEY,
            "long": LONG,
            "headers": json.dumps({f"{EVIL}{number}": EVIL for number in range(200)}),
            "count": EACH,
        }
        small = {"jsonb": json.dumps({EVIL: EVIL}), "text": EVIL, "bytea": NO_TEXT[:500]}[request.param]
        large = {"jsonb": json.dumps({"x": MEGABYTE.decode(errors="ignore")}), "bytea": NO_TEXT}
        large["text"] = MEGABYTE.decode(errors="ignore")
        for state in ("delivered", "pending", "retry", "dead", "discarded"):
            conn.execute(_INSERT, given | {"state": state, "payload": small})
            conn.execute(_INSERT, given | {"state": state, "payload": large[request.param], "count": 1})
        conn.execute(
            "INSERT INTO outbox_audit (who, role, action, filter, planned, events)"
            " SELECT %s, %s, 'dead retry', %s, 9, 3 FROM generate_series(1, 120)",
            (LONG, EVIL[:60], json.dumps({"topic": LONG, EVIL: EVIL})),
        )
        conn.execute("UPDATE outbox_shards SET owner = %s, lease_until = now() + interval '1 hour'", (EVIL,))
    return empty_database


@pytest.fixture
def console(dsn: str, streams: Streams, make_console: MakeConsole, tmp_path: Path) -> Console:
    streams.make("ORDERS", "orders.>")
    return make_console(dsn, streams.url, **operator_settings(dsn, tmp_path)).enter()


def pages() -> list[str]:
    """Return every page, over each kind of row; seqs follow the order of the inserts."""
    key = quote(KEY)
    seqs = [group * (EACH + 1) + offset for group in range(5) for offset in (1, 2, 3, EACH + 1)]
    return [
        "/",
        "/?as=table",
        "/?live",
        *(
            f"/events?limit=100&state={state}"
            for state in ("any", "pending", "retry", "dead", "discarded", "delivered")
        ),
        f"/events?state=any&key={key}&error={quote(EVIL[:40])}",
        *(f"/events/{seq}" for seq in seqs),
        *(f"/events/{seq}/payload" for seq in seqs[2:4]),
        *(f"/events/{seq}/payload?pretty" for seq in seqs[2:4]),
        "/dead",
        f"/dead?topic={key}",
        f"/key?key={key}",
        "/waiting",
        "/streams",
        "/relays",
        "/relays?as=table",
        "/projections",
        f"/projections?name={key}",
        "/tail",
        f"/tail?key={key}",
        "/audit",
        "/changes/1",
        "/about",
        "/change?action=retry&all=1",
        f"/change?action=discard&key={key}",
        "/change?resume=2",
        "/change?action=replay&seq=1..10",
    ]


# Answers to what cannot be done: a page as well.
FAULTS = (
    "/events?topic=%3Cscript%3E&seq=%3Cb%3E&since=%3Cb%3E",
    "/events/%3Cscript%3E",
    "/%3Cscript%3E",
    "/change?action=%3Cb%3E",
)


def test_every_page_shows_them_as_text_and_stays_small(console: Console) -> None:
    sizes = {}
    for path in (*pages(), *FAULTS):
        page = console.get(path)
        assert page.status in (200, 400, 404, 422), (path, page.status)
        assert page.status == 200 or path in FAULTS or "change" in path, (path, page.plain)
        shown = page.body.decode("utf-8")
        assert "<script>alert" not in shown and "<b hx-get" not in shown and "<!--" not in shown, path
        # What was typed into a form stands in its fields as it was typed, for the form to send it again.
        text = re.sub(r"<input[^>]*>", "", shown)
        assert all(char.isprintable() or char == "\n" for char in text), path
        assert PRODUCT not in shown, path
        sizes[path] = len(page.body)
    assert {path: size for path, size in sizes.items() if size > 100_000} == {}


def test_a_download_is_the_payload_byte_for_byte(console: Console, dsn: str) -> None:
    seq = EACH + 1
    with psycopg.connect(dsn) as conn:
        (stored,) = conn.execute("SELECT payload FROM outbox_events WHERE seq = %s", (seq,)).fetchone() or (None,)
    answer = console.get(f"/events/{seq}/payload.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    if isinstance(stored, dict):
        assert json.loads(answer.body) == stored
    else:
        assert answer.body == (stored.encode() if isinstance(stored, str) else bytes(stored or b""))


@pytest.mark.browser
@pytest.mark.timeout(300)
@pytest.mark.parametrize("dsn", ["bytea"], indirect=True)
async def test_a_browser_runs_nothing_of_them(console: Console) -> None:
    wide = {}
    async with chromium() as browser, watched(browser, console) as window:
        window.page.on("dialog", lambda dialog: window.faults.append(f"dialog: {dialog.message}"))
        for path in (one for one in pages() if "live" not in one):
            await window.shows(path)
            for scheme, width in WINDOWS:
                await window.looks(scheme, width)
                wide[path, width] = await window.page.evaluate("document.documentElement.scrollWidth")
            assert await window.page.locator("script:not([src]), b[hx-get], main img").count() == 0, path
        assert [one for one in window.faults if not re.search(r"status of 4(00|04|22)", one)] == []
    assert {window: pixels for window, pixels in wide.items() if pixels > window[1]} == {}
