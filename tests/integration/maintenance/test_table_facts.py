"""The table as a whole, in the metrics."""

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay as command


def test_dead_letters_are_counted_until_somebody_has_decided(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    dead = [outbox.insert("orders.a b", None, {}) for _ in range(2)]
    relay = make_relay(outbox.dsn, streams.url).start()
    wait_until("both are dead letters", lambda: outbox.count("dead_at IS NOT NULL") == len(dead))

    def shown(name: str) -> float:
        lines = [line for line in relay.get("/metrics")[1].splitlines() if line.startswith(f"outbox_relay_{name} ")]
        return float(lines[0].split()[1]) if lines else -1.0

    relay.stop()
    relay.start()
    wait_until("they are counted", lambda: shown("undecided_dead_letters") == 2)
    assert shown("table_size_bytes") > 8192
    command(outbox.dsn, "dead", "discard", "--seq", f"{dead[0]}..{dead[1]}", "--yes")
    relay.stop()
    relay.start()
    wait_until("the table is looked at again", lambda: shown("table_size_bytes") > 0)
    assert shown("undecided_dead_letters") == 0
