"""Three nodes, a copy of the stream on each: leaders step down, freeze and die under load."""

import shutil
import time

import pytest

from relay.errors import Exit
from tests.faults.relay_midway import ALERT, ends_well
from tests.support.fix_cluster import Cluster
from tests.support.fix_relay import SLOWLY, MakeRelay, Outbox, wait_until
from tests.support.relay_cli import relay as relay_command

KEYS = 100
STRATEGIES = ["singles", "atomic"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_leaders_that_step_down_under_load(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay, strategy: str
) -> None:
    """With singles the server may drop one message and store a later one: not of the same key."""
    cluster.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 8000, KEYS)
    relay = make_relay(
        outbox.dsn, cluster.urls, delivery__strategy=strategy, delivery__ack_timeout_s="2", **ALERT, **SLOWLY
    ).start()
    for turn in range(5):
        outbox.delivered_at_least(200 + 1000 * turn)
        cluster.step_down("ORDERS")
        cluster.settled("ORDERS")
    ends_well(outbox, cluster.streams(), relay, 8000, KEYS)


@pytest.mark.parametrize("way", ["kill", "freeze"])
def test_a_leader_that_is_gone_without_a_word(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay, way: str
) -> None:
    cluster.make("ORDERS", "orders.>", allow_atomic=True)
    leader = cluster.settled("ORDERS")
    outbox.fill("orders.placed", 10_000, KEYS)
    relay = make_relay(outbox.dsn, cluster.urls, delivery__ack_timeout_s="2", **ALERT, **SLOWLY).start()
    outbox.delivered_at_least(500)
    if way == "kill":
        leader.kill()
    else:
        leader.pause()
    assert outbox.count("delivered_at IS NULL") > 0, "it was in the middle"
    wait_until("another leader", lambda: cluster.leader("ORDERS") not in (None, leader))
    # Two of three are enough.
    outbox.drained()
    if way == "kill":
        leader.start()
    else:
        leader.resume()
    cluster.settled("ORDERS")
    ends_well(outbox, cluster.streams(), relay, 10_000, KEYS)


def test_a_cluster_without_a_quorum_and_then_with_one(outbox: Outbox, cluster: Cluster, make_relay: MakeRelay) -> None:
    cluster.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 6000, KEYS)
    relay = make_relay(
        outbox.dsn,
        cluster.urls,
        delivery__ack_timeout_s="1",
        failures__max_attempts="2",
        failures__backoff_base_s="0.1",
        failures__backoff_max_s="0.1",
        **ALERT,
        **SLOWLY,
    ).start()
    outbox.delivered_at_least(500)
    for node in cluster.nodes[:2]:
        node.kill()
    # Nothing can be acknowledged now: longer than two attempts a tenth of a second apart and an ack_timeout_s.
    time.sleep(4)
    assert outbox.count("dead_at IS NOT NULL OR attempts > 0") == 0
    assert outbox.count("delivered_at IS NULL") > 0
    cluster.start()
    cluster.settled("ORDERS")
    ends_well(outbox, cluster.streams(), relay, 6000, KEYS)


def test_a_managed_stream_has_its_copies_on_so_many_nodes(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay
) -> None:
    for replicas in ("1", "3"):
        managing = {"stream__manage": "true", "stream__name": "ORDERS", "stream__replicas": replicas}
        relay = make_relay(outbox.dsn, cluster.urls, stream__subjects="orders.>", **managing).start()
        relay.said("nats.connected")
        cluster.settled("ORDERS")
        assert cluster.streams().config("ORDERS")["num_replicas"] == int(replicas)
        assert relay.stop() == 0
    relay.start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))


def test_rows_stay_while_their_stream_has_no_leader_and_heal_it_when_it_comes_back_empty(
    outbox: Outbox, cluster: Cluster, make_relay: MakeRelay
) -> None:
    """One copy, on another node than the relay's, which goes: the connection lives, and the rows reach their age."""
    cluster.make("ORDERS", "orders.>", num_replicas=1)
    home = cluster.settled("ORDERS")
    reached = next(node.url for node in cluster.nodes if node is not home)
    relay = make_relay(
        outbox.dsn,
        reached,
        retention__delivered_age_s="3",
        healing__check_every_s="1",
    ).start()
    outbox.fill("orders.placed", 300, KEYS)
    outbox.drained()
    home.kill()
    held = outbox.count("true")
    assert relay.said("retention.kept")["stream"] == "ORDERS"
    time.sleep(5)
    assert outbox.count("true") == held > 1
    found = relay_command(outbox.dsn, "verify", RELAY_NATS__SERVERS=reached)
    assert found.exit_code == Exit.UNREACHABLE
    assert "has no leader" in found.stderr and "needs STREAM.INFO" not in found.stderr
    assert relay.lines("nats.lost") == []
    shutil.rmtree(home.directory / "jetstream")
    home.start()
    cluster.settled("ORDERS")
    relay.said("stream.healed")
    assert cluster.streams().messages("ORDERS") >= held
