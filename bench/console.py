"""The operator's console before a table of ten million rows: the time and size of its pages, its memory, its load."""

import http.client
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import LiteralString
from urllib.parse import urlsplit

from bench.memory import megabytes
from bench.report import Figure, Report
from bench.world import World

_BAR_MB = 80.0
_BAR_PAGE_MS = 100.0
_BAR_PAGE_KB = 100.0
_BAR_ONE_TAB = 1.0
_BAR_TABS = 3.0
_TABS = 20
_EVERY_S = 2.0
# Pages look at the outbox again if the last look is older than 1.5 s: each is measured with a look of its own.
_STALE_S = 1.6
# It lets go of its connections 30 s after the last look.
_UNUSED_S, _GONE_S = 25.0, 15.0
_PENDING = 100_000
_DEAD = 12_000
_RETRY = 500

_DIE: LiteralString = """
    UPDATE outbox_events
    SET dead_at = now() - make_interval(secs => mod(seq, 3600)), attempts = 3, topic = 'orders.t' || mod(seq, 7),
        last_error = 'maximum payload exceeded: ' || seq || ' bytes', failure_class = 'poison'
    WHERE seq = ANY (ARRAY(SELECT seq FROM outbox_events WHERE delivered_at IS NULL ORDER BY seq LIMIT %s))
"""
_POSTPONE: LiteralString = """
    UPDATE outbox_events
    SET retry_at = now() + interval '1 hour', attempts = 2, last_error = 'refused: wrong last sequence',
        failure_class = 'unknown'
    WHERE seq = ANY (
        ARRAY(SELECT seq FROM outbox_events WHERE delivered_at IS NULL AND dead_at IS NULL ORDER BY seq LIMIT %s)
    )
"""
_HOLD: LiteralString = """
    UPDATE outbox_events SET last_error = 'no stream takes this subject', failure_class = 'configuration'
    WHERE seq = (SELECT min(seq) FROM outbox_events WHERE delivered_at IS NULL AND dead_at IS NULL AND retry_at IS NULL)
"""
_LARGE: LiteralString = """
    INSERT INTO outbox_events (delivered_at, stream, stream_seq, topic, key, payload)
    VALUES (now(), 'BENCH', 1, 'orders.placed', 'large', jsonb_build_object('text', repeat(E'<b>\\u202e\\n', 175000)))
    RETURNING seq
"""


def prepare(world: World, rows: int) -> int:
    """Fill the table: delivered rows, a backlog, dead letters, retries; return the seq of an event of a megabyte."""
    world.use("console")
    world.empty_outbox(delivered=rows)
    world.stream(atomic=True)
    with world.connect() as conn:
        (large,) = conn.execute(_LARGE).fetchone() or (0,)
        conn.execute("UPDATE outbox_shards SET watermark = %s", (large,))
    world.fill(_DEAD + _RETRY + _PENDING)
    with world.connect() as conn:
        conn.execute(_DIE, (_DEAD,))
        conn.execute(_POSTPONE, (_RETRY,))
        conn.execute(_HOLD)
        conn.execute("VACUUM ANALYZE outbox_events")
    return int(large)


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Ask for every page, then a thousand of them, then as one tab and as twenty do, then not at all."""
    rows = 100_000 if quick else 10_000_000
    large = prepare(world, rows)
    measure(world, report, rounds=rounds, quick=quick, large=large, rows=rows)


def measure(world: World, report: Report, *, rounds: int, quick: bool, large: int, rows: int) -> None:
    """Measure a console over a table that is prepared."""
    requests, watch_s = (100, 6.0) if quick else (1_000, 60.0)
    _add_first(report, "the first page of a console", rounds, lambda: _first_page(world))
    with _console(world) as (process, client):
        sizes: dict[str, int] = {}
        times = report.quiet.take_all("console: pages", lambda: _pages(client, large, rounds, sizes))
        for name, value in times.items():
            report.progress(f"console: {name}: {value:.1f} ms, {sizes[name] / 1000:.1f} kB")
        slowest = max(times, key=lambda name: times[name])
        largest = max(sizes, key=lambda name: sizes[name])
        for name, value in times.items():
            report.add(Figure("console", name, value, "ms", at_most=_BAR_PAGE_MS))
        report.add(Figure("console", f"slowest page of {rows:,} rows: {slowest}", times[slowest], "ms"))
        report.add(Figure("console", f"largest page: {largest}", sizes[largest] / 1000, "kB", at_most=_BAR_PAGE_KB))
        paths = list(_paths(large).values())
        for number in range(requests):
            client.get(paths[number % len(paths)])
        memory = megabytes(process, "VmRSS")
        report.progress(f"console: {memory:.1f} MB after {requests:,} pages")
        report.add(Figure("console", f"memory after {requests:,} pages", memory, "MB", at_most=_BAR_MB))
        for tabs, bar in ((1, _BAR_ONE_TAB), (_TABS, _BAR_TABS)):
            shares = [_share_of_a_core(process, client, tabs, watch_s) for _ in range(rounds)]
            report.progress(f"console: {tabs} tabs take {median(shares):.2f} % of a core")
            report.add(
                Figure(
                    "console",
                    f"{tabs} tabs on the first page",
                    median(shares),
                    "% of a core",
                    at_most=bar,
                    rounds=shares,
                )
            )
        queries, connections = _while_nobody_looks(world)
        report.add(Figure("console", "queries while nobody looks", queries, "", at_most=0))
        report.add(Figure("console", "connections after 40 s of that", connections, "", at_most=0))
        _add_first(report, "the first page after nobody looked", rounds, lambda: _page_after_a_pause(client))


@dataclass(frozen=True)
class _Client:
    """Asks for pages as a browser does that is logged in.

    Attributes:
        host: Name and port of the console.
        cookie: Of its session.
    """

    host: str
    cookie: str

    def get(self, path: str, known: str | None = None) -> tuple[int, bytes, str | None]:
        """Return status, body and entity tag of a page; `known` is the tag of what is there already."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        headers = {"Cookie": self.cookie} | ({} if known is None else {"If-None-Match": known})
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("etag")
        finally:
            connection.close()

    def time(self, path: str) -> float:
        """Return how long a page takes, milliseconds."""
        began = time.perf_counter()
        status, _, _ = self.get(path)
        if status != 200:
            raise RuntimeError(f"{path} answers {status}")
        return (time.perf_counter() - began) * 1000


def _add_first(report: Report, name: str, rounds: int, measure: Callable[[], float]) -> None:
    """Add how long a page takes for which everything has to be read, milliseconds."""
    times = [report.quiet.take(f"console: {name}", measure) for _ in range(rounds)]
    report.progress(f"console: {name}: {median(times):.1f} ms")
    report.add(Figure("console", name, median(times), "ms", at_most=_BAR_PAGE_MS, rounds=times))


def _first_page(world: World) -> float:
    """Start a console; return how long its first page takes."""
    with _console(world) as (_, client):
        return client.time("/")


def _page_after_a_pause(client: _Client) -> float:
    """Look at nothing until the console has let go of its connections; return how long the next page takes."""
    time.sleep(_UNUSED_S + _GONE_S)
    return client.time("/")


@contextmanager
def _console(world: World) -> Iterator[tuple[int, _Client]]:
    """Run a console that may change events; yield its process id and somebody who is let in."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-console-") as directory:
        dsn = Path(directory) / "operator.dsn"
        dsn.write_text(world.dsn)
        settings = {"RELAY_CONSOLE__WRITE": "true", "RELAY_CONSOLE__OPERATOR_DSN_FILE": str(dsn)}
        with world.console(settings) as (process, link):
            parts = urlsplit(link)
            connection = http.client.HTTPConnection(parts.netloc, timeout=60)
            connection.request("GET", f"/?{parts.query}")
            cookie = connection.getresponse().getheader("set-cookie") or ""
            connection.close()
            yield process, _Client(parts.netloc, cookie.partition(";")[0])


def _paths(large: int) -> dict[str, str]:
    """Return pages by what they show; `large` is the seq of an event of a megabyte."""
    dead, waiting = large + 7, large + _DEAD + _RETRY + 9
    return {
        "overview": "/",
        "overview as a table": "/?as=table",
        "events": "/events",
        "events in any state": "/events?state=any",
        "60 events": "/events?state=delivered&limit=60",
        "events of a key": "/events?state=any&key=no-such-key",
        "events of a topic and a time": "/events?state=delivered&topic=no.such.%3E&since=1h",
        "dead letters by their error": "/events?state=dead&error=no+such+error",
        "a delivered event": f"/events/{large - 5_000}",
        "a dead letter": f"/events/{dead}",
        "a pending event": f"/events/{waiting}",
        "a payload of a megabyte": f"/events/{large}/payload",
        "the same, laid out": f"/events/{large}/payload?pretty",
        "dead letters by reason": "/dead",
        "a key": "/key?key=k17",
        "waiting": "/waiting",
        "streams": "/streams",
        "relays": "/relays",
        "relays as a table": "/relays?as=table",
        "projections": "/projections",
        "tail": "/tail",
        "doctor, before its checks": "/doctor",
        "audit": "/audit",
        "about": "/about",
        "preview of 12,000 retries": "/change?action=retry&all=1",
        "preview of a replay": f"/change?action=replay&seq={large - 2_000}..{large - 1_000}",
    }


def _pages(client: _Client, large: int, rounds: int, sizes: dict[str, int]) -> dict[str, float]:
    """Ask for every page several times; return the median of its milliseconds, and note its bytes in `sizes`."""
    found: dict[str, float] = {}
    for name, path in _paths(large).items():
        client.get(path)
        times = []
        for _ in range(max(3, rounds)):
            time.sleep(_STALE_S)
            began = time.perf_counter()
            status, body, _ = client.get(path)
            times.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise RuntimeError(f"{path} answers {status}")
            sizes[name] = len(body)
        found[name] = median(times)
    return found


def _share_of_a_core(process: int, client: _Client, tabs: int, seconds: float) -> float:
    """Ask for the first page's live part every 2 s in several tabs; return the share of a core, in percent."""
    known: list[str | None] = [None] * tabs
    client.get("/?live")
    time.sleep(_EVERY_S)
    ticks, began = _ticks(process), time.monotonic()
    for number in range(round(seconds / _EVERY_S) * tabs):
        # Tabs were opened at different moments.
        time.sleep(max(0.0, began + number * _EVERY_S / tabs - time.monotonic()))
        tab = number % tabs
        _, _, known[tab] = client.get("/?live", known[tab])
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    return (_ticks(process) - ticks) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began) * 100


def _ticks(process: int) -> int:
    """Return the processor time of a process, in ticks of the kernel."""
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _while_nobody_looks(world: World) -> tuple[int, int]:
    """Return how many of the console's sessions were used in 25 s, and how many there are 15 s later."""
    look: LiteralString = "SELECT pid, query_start FROM pg_stat_activity WHERE application_name = 'outbox-relay cli'"
    time.sleep(_EVERY_S)
    with world.connect() as conn:
        before = dict(conn.execute(look).fetchall())
        time.sleep(_UNUSED_S)
        after = dict(conn.execute(look).fetchall())
        used = sum(before.get(pid) != at for pid, at in after.items())
        time.sleep(_GONE_S)
        return used, len(conn.execute(look).fetchall())
