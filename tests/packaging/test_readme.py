"""The documentation shows what the commands print: its samples are held against a world like theirs, line by line.

Numbers, times, ids and names of machines differ each time; what is left must be the same. If a sample has fallen
behind, the failure shows what is printed now.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_rights import NATS_USER, as_relay
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "observe.md"
SHOP = 5000


def sample(command: str) -> str:
    """Return what the page shows for a command."""
    found = re.search(rf"^\$ {re.escape(command)}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, f"the page has no sample of {command}"
    return found[1]


def shape(text: str) -> str:
    """Take out what differs each time."""
    for pattern, word in (
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"[\w.-]+:\d+:[0-9a-f]{8}(?::[0-9a-f]{16})?(?::s[0-9a-f]+)?", "RELAY"),
        (r"(?m)^(origin +)[0-9a-f]{8}$", r"\1ORIGIN"),
        (r"\d[\d,.]* (?:ms|s|min|h|d)(?: \d+ (?:s|min|h))?\b", "SPAN"),
        (r"\d[\d,.]* (?:bytes|KiB|MiB|GiB)\b", "SIZE"),
        (r"\d[\d,.]*", "N"),
        (r" {2,}", "  "),
    ):
        text = re.sub(pattern, word, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def shop(outbox: Outbox, streams: Streams, drained: Callable[[], None]) -> None:
    """Make the world of the samples: a read model is behind, invoices have no stream, and one event is dead."""
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True, max_bytes=10 * 1024**3)
    config = {"durable_name": "order-list", "ack_policy": "explicit"}
    streams.api("CONSUMER.DURABLE.CREATE.ORDERS.order-list", {"stream_name": "ORDERS", "config": config})
    for topic in ("orders.placed", "orders.paid", "orders.shipped"):
        outbox.fill(topic, SHOP // 3, keys=1000)
    outbox.insert("orders.paid", "7", {"order": 7}, {"Nats-Rollup": "all"})
    drained()
    outbox.insert("invoices.sent", "42", {"order": 42})
    outbox.insert("invoices.sent", "42", {"order": 42, "copy": True})


@pytest.fixture
def world(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Outbox:
    make_relay(outbox.dsn, streams.url).start()

    def settled() -> None:
        # Known as soon as a beat comes while nothing is pending, and from then on.
        outbox.drained()
        unknown = "SELECT 1 FROM outbox_shards WHERE watermark_at IS NULL"
        wait_until("the time of the watermark", lambda: not outbox.conn.execute(unknown).fetchall())

    shop(outbox, streams, settled)
    wait_until("the reason", lambda: outbox.count("delivered_at IS NULL AND last_error LIKE 'no stream%'") > 0)
    return outbox


def printed(world: Outbox, streams: Streams, *args: str) -> str:
    environ = {"RELAY_NATS__SERVERS": streams.url, **{f"RELAY_{name.upper()}": it for name, it in NATS_USER.items()}}
    result = relay(as_relay(world.dsn), *args, **environ)
    assert result.exit_code in (0, 8), result.output
    return result.output


def test_the_sample_of_status_is_what_it_prints(world: Outbox, streams: Streams) -> None:
    def shows_the_stream() -> bool:
        return "\nSTREAM " in printed(world, streams, "status")

    wait_until("the stream is known", shows_the_stream)
    now = printed(world, streams, "status")
    assert shape(now) == shape(sample("relay status")), now


def test_the_sample_of_explain_is_what_it_prints(world: Outbox, streams: Streams) -> None:
    (last,) = world.conn.execute("SELECT max(seq) FROM outbox_events").fetchone() or (0,)
    now = printed(world, streams, "explain", str(last))
    (shown,) = re.findall(r"^\$ relay explain (\d+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert shape(now) == shape(sample(f"relay explain {shown}")), now


def test_the_sample_of_doctor_shows_the_checks_that_it_makes(world: Outbox, streams: Streams) -> None:
    def checks(text: str) -> dict[str, str]:
        found = re.findall(r"^  (ok|warning|fault) +(\S.*?)(?:  |$)", text, re.MULTILINE)
        # The suite's PostgreSQL is quick instead of durable, takes prepared transactions, and hides those of others.
        suite = ("durability", "bell", "transactions")
        return {check: "" if check in suite else level for level, check in found}

    now = printed(world, streams, "doctor")
    assert checks(now) == checks(sample("relay doctor")), now
