"""An outbox with something of everything, as an operator finds it at night."""

from dataclasses import dataclass

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

MARKUP = "<script>alert(1)</script><b hx-get=/evil>{{ 7*7 }}</b>'\"&"
BIDI = "a\u202eb\u2066c\x1b[2Jd\x07"


@dataclass(frozen=True)
class Night:
    """Seqs of events, each named for what became of it."""

    delivered: int
    dead: int
    homeless: int
    behind: int
    hostile: int
    binary: int


def night(outbox: Outbox, streams: Streams, make_relay: MakeRelay, **settings: str) -> Night:
    """Insert events, and have a relay do with them what it does."""
    streams.make("ORDERS", "orders.>", max_msg_size=2_000_000)
    streams.make("OTHER", "other.>", max_msg_size=500)
    delivered = outbox.insert("orders.placed", "k1", {"i": 12345678901234567890123, "secret": "payload-text"})
    dead = outbox.insert("other.large", "k2", "x" * 1000, {"Trace": "header-value"})
    hostile = outbox.insert(f"orders.{BIDI}", f"{MARKUP}{BIDI}", {"m": MARKUP + BIDI, "pad": "y" * 1_048_576})
    homeless = outbox.insert("nowhere.x", "k3", {"i": 2})
    behind = outbox.insert("orders.placed", "k3", {"i": 3})
    binary = outbox.insert("orders.placed", "k4", {"i": 4})
    make_relay(outbox.dsn, streams.url, **settings).start()
    outbox.delivered(delivered)
    outbox.dead(dead)
    outbox.dead(hostile)
    wait_until("the hold is noted", lambda: outbox.row(homeless)["last_error"])
    return Night(delivered, dead, homeless, behind, hostile, binary)
