"""A node comes back without the newest messages of its stream, while the relay is connected to another node.

No connection ends, so nothing but the stream itself tells. What waited meanwhile is more than what was lost: once it is
sent, the stream ends above all that it had ever acknowledged.
"""

import shutil
from pathlib import Path

import pytest

from relay.errors import Exit
from tests.support.fix_cluster import Cluster
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay as cli

KEYS = 10
# No regular look comes in between.
ALONE = {"failures__hold_max_s": "1", "healing__check_every_s": "600"}


class Node:
    """The only node that holds the stream, and the others, which the relay knows."""

    def __init__(self, cluster: Cluster) -> None:
        cluster.make("ORDERS", "orders.>", num_replicas=1, allow_atomic=True)
        self.cluster = cluster
        self.server = cluster.settled("ORDERS")
        self.others = [node for node in cluster.nodes if node is not self.server]
        self.urls = ",".join(node.url for node in self.others)
        self.storage = self.server.directory / "jetstream"

    def copied(self, to: Path) -> Path:
        """Copy what it has written down by now."""
        self.server.pause()
        shutil.copytree(self.storage, to)
        self.server.resume()
        return to

    def set_back(self, copy: Path | None) -> None:
        """Start a dead node with the storage of an earlier time, or with an empty one."""
        shutil.rmtree(self.storage)
        if copy is not None:
            shutil.copytree(copy, self.storage)
        self.server.start()
        self.cluster.settled("ORDERS")

    @property
    def streams(self) -> Streams:
        """The streams, asked for at a node that always runs."""
        return Streams(self.others[0].url)


def insert(outbox: Outbox, first: int, last: int) -> None:
    """Insert events with the payloads `first` to `last`, of ten keys."""
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload) SELECT 'orders.placed', 'k' || mod(i, %s),"
        " jsonb_build_object('i', i) FROM generate_series(%s::int, %s::int) i",
        (KEYS, first, last),
    )


def assert_healed(outbox: Outbox, node: Node, events: int, lost: set[int]) -> None:
    """All are stored once, in order, and marked where they are; nothing went before what was lost of its key."""
    wait_until("all events in the stream", lambda: len(stored(node)) >= events)
    outbox.drained()
    numbers = stored(node)
    assert sorted(numbers) == list(range(1, events + 1))
    last_lost = {
        key: max(at for at, number in enumerate(numbers) if number in lost and number % KEYS == key)
        for key in range(KEYS)
    }
    early = {number for at, number in enumerate(numbers) if number > max(lost) and at < last_lost[number % KEYS]}
    assert early == set()
    for key in range(KEYS):
        ours = [number for number in numbers if number % KEYS == key]
        assert ours == sorted(ours)
    held = {message.seq: message.headers.get("Nats-Msg-Id") for message in node.streams.read("ORDERS")}
    for event_id, stream_seq in outbox.conn.execute("SELECT id::text, stream_seq FROM outbox_events"):
        assert held[stream_seq] == event_id


def stored(node: Node) -> list[int]:
    return [message.i for message in node.streams.read("ORDERS") if message.subject == "orders.placed"]


def lost(relays: list[Relay]) -> int:
    return sum(line["events"] for relay in relays for line in relay.lines("stream.lost"))


@pytest.mark.parametrize("relays", [1, 2])
@pytest.mark.parametrize("empty", [False, True], ids=["without its newest messages", "empty"])
def test_a_node_that_comes_back_without_what_it_had_acknowledged(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay, tmp_path: Path, empty: bool, relays: int
) -> None:
    node = Node(cluster)
    running = [make_relay(outbox.dsn, node.urls, lease__ttl_s="2", **ALONE).start() for _ in range(relays)]
    owned = f"outbox_relay_shards_owned {64 / relays}"
    wait_until("they share", lambda: all(owned in relay.get("/metrics")[1] for relay in running))
    insert(outbox, 1, 200)
    outbox.drained()
    copy = node.copied(tmp_path / "copy")
    insert(outbox, 201, 300)
    outbox.drained()
    node.server.kill()
    insert(outbox, 301, 900)
    for relay in running:
        relay.said("hold.opened")
    node.set_back(None if empty else copy)
    gone = set(range(1 if empty else 201, 301))
    wait_until("all that was lost is known", lambda: lost(running) == len(gone), 60)
    assert_healed(outbox, node, 900, gone)
    assert lost(running) == len(gone), "nothing is taken for lost twice"


def test_what_others_have_filled_up_again_is_missed_at_the_next_look(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay, tmp_path: Path
) -> None:
    """The relay had nothing to send meanwhile, and the first sequence that it hears of lies above all before."""
    node = Node(cluster)
    relay = make_relay(outbox.dsn, node.urls, failures__hold_max_s="1", healing__check_every_s="15").start()
    insert(outbox, 1, 200)
    outbox.drained()
    copy = node.copied(tmp_path / "copy")
    insert(outbox, 201, 300)
    outbox.drained()
    assert relay.stop() == 0
    # It looks at the stream as it begins.
    relay.start()
    outbox.delivered(outbox.insert("orders.else", "k", {"i": 0}))
    node.server.kill()
    node.set_back(copy)
    node.streams.publish("orders.other", *({"i": -number} for number in range(150)))
    outbox.delivered(outbox.insert("orders.else", "k", {"i": 0}))
    wait_until("the loss is known", lambda: relay.lines("stream.lost"), 40)
    wait_until("all events in the stream", lambda: len(stored(node)) == 300)
    assert sorted(stored(node)) == list(range(1, 301))


def emptied_and_filled_up(outbox: Outbox, node: Node) -> None:
    """Lose all that was acknowledged while the relay has nothing to send; more than that is stored by others."""
    insert(outbox, 1, 20)
    outbox.drained()
    node.server.kill()
    node.set_back(None)
    node.streams.publish("orders.other", *({"i": -number} for number in range(200)))
    insert(outbox, 21, 22)
    outbox.drained()


def test_what_others_have_filled_up_again_is_healed_before_its_rows_are_deleted(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay
) -> None:
    node = Node(cluster)
    running = make_relay(outbox.dsn, node.urls, retention__delivered_age_s="15", **ALONE).start()
    emptied_and_filled_up(outbox, node)
    wait_until("the loss is known", lambda: running.lines("stream.lost"), 60)
    wait_until("all events in the stream", lambda: sorted(stored(node)) == list(range(1, 23)), 60)


def test_what_others_have_filled_up_again_is_not_deleted_by_hand(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay
) -> None:
    node = Node(cluster)
    running = make_relay(outbox.dsn, node.urls, **ALONE).start()
    emptied_and_filled_up(outbox, node)
    result = cli(outbox.dsn, "prune", "--older-than", "0s", "--yes", "--server", node.others[0].url)
    if not running.lines("stream.lost"):  # on a laden machine an event may have waited, and then the relay has looked
        assert (result.exit_code, "does not hold" in result.stderr) == (Exit.LOST, True), result.output
    kept = {number for (number,) in outbox.conn.execute("SELECT (payload->>'i')::int FROM outbox_events")}
    assert kept | set(stored(node)) == set(range(1, 23))


@pytest.mark.parametrize("how", ["terminated", "killed"])
def test_what_others_have_filled_up_again_is_found_by_the_next_relay_that_begins(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay, how: str
) -> None:
    """What the stream held at the last look is written down: the highest mark of now says nothing of older events."""
    node = Node(cluster)
    running = make_relay(outbox.dsn, node.urls, **ALONE).start()
    outbox.delivered(outbox.insert("orders.else", "k", {"i": 0}))
    looked = "SELECT FROM outbox_streams WHERE stream = 'ORDERS' AND looked_seq > 0"
    wait_until("a look is saved", lambda: outbox.conn.execute(looked).fetchone() is not None)
    emptied_and_filled_up(outbox, node)
    newest = "SELECT FROM outbox_streams WHERE stream = 'ORDERS' AND mark_seq > 200"
    wait_until("the mark of now is saved", lambda: outbox.conn.execute(newest).fetchone() is not None)
    assert running.lines("stream.lost") == []
    if how == "killed":
        running.kill()
    else:
        assert running.stop() == 0
    outbox.leases_run_out()
    running.start()
    wait_until("the loss is known", lambda: running.lines("stream.lost"), 40)
    wait_until("all events in the stream", lambda: sorted(stored(node)) == list(range(1, 23)), 60)
