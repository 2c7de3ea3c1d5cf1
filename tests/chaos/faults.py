"""The faults: each one is made, lasts, and comes back when its component is there again.

A fault comes back only then: a killed node of the cluster when it runs and every stream has a leader, a process
when it was started again, a link when bytes flow.
"""

import asyncio
import random
import signal
import time
import uuid

import psycopg

from relay.demo.servers import NatsServer
from tests.chaos import links, operator, read_faults
from tests.chaos.failover import lose_the_newest_commits
from tests.chaos.history import Insert, Setback, Transaction, Unreadable
from tests.chaos.kind import Kind
from tests.chaos.process import Process
from tests.chaos.producers import OUTAGES
from tests.chaos.world import STREAMS, World

# For as long another fault may keep PostgreSQL away, seconds.
_AWAY_S = 60.0

# --- The relay itself


async def _relay_killed(world: World, rng: random.Random) -> str:
    replica = rng.choice(world.replicas)
    replica.relay.kill()
    await asyncio.sleep(rng.choice((0.0, 0.0, rng.uniform(0, 3))))
    replica.relay.start()
    return replica.name


async def _all_relays_killed(world: World, rng: random.Random) -> str:
    """Now and then for longer than ORDERS remembers ids (5 s): what is in doubt has to be looked for."""
    for replica in world.replicas:
        replica.relay.kill()
    await asyncio.sleep(rng.choice((rng.uniform(0, 2), rng.uniform(0, 2), rng.uniform(5, 7))))
    for replica in world.replicas:
        replica.relay.start()
    return "all"


async def _relay_stopped(world: World, rng: random.Random) -> str:
    """SIGTERM, as in a rolling update; it must settle what is in flight and end with 0."""
    replica = rng.choice(world.replicas)
    if (why := await replica.stop()) is not None:
        world.wrong.append(why)
    replica.relay.start()
    return replica.name


async def _relay_frozen(world: World, rng: random.Random) -> str:
    """SIGSTOP, mostly past its lease of 2 s."""
    replica = rng.choice(world.replicas)
    replica.relay.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(rng.uniform(0.2, 4))
    finally:
        replica.relay.signal(signal.SIGCONT)
    return replica.name


async def _relay_comes_and_goes(world: World, rng: random.Random) -> str:
    """Let a third one take its share, or only begin to; it leaves its shards, or is killed with them."""
    return await _comes_and_goes(world, world.third, rng)


async def _relay_at_a_leaf(world: World, rng: random.Random) -> str:
    """Let one take its share whose leaf node has a namesake of ORDERS, in a domain of its own."""
    return await _comes_and_goes(world, world.edge, rng)


async def _comes_and_goes(world: World, third: Process | None, rng: random.Random) -> str:
    assert third is not None
    third.relay.start()
    await asyncio.sleep(rng.uniform(0.5, 5))
    if rng.random() < 0.5:
        third.relay.kill()
        return f"{third.name} killed"
    if (why := await third.stop()) is not None:
        world.wrong.append(why)
    return f"{third.name} stopped"


async def _hand_over_broken(world: World, rng: random.Random) -> str:
    """Let a third one ask for its share, and kill one that is to give of its own, at about that time."""
    third, giver = world.third, rng.choice(world.replicas)
    assert third is not None
    third.relay.start()
    while third.relay.running and (await asyncio.to_thread(third.relay.get, "/healthz"))[0] == 0:
        await asyncio.sleep(0.02)
    await asyncio.sleep(rng.uniform(0, 1.3))
    giver.relay.kill()
    await asyncio.sleep(rng.uniform(0, 1))
    giver.relay.start()
    if (why := await third.stop()) is not None:
        world.wrong.append(why)
    return giver.name


# --- PostgreSQL


# A commit that does not wait for its record is written within three times the writer's delay of 0.2 s.
_UNWRITTEN_S = 1.0


def _may_lose_commits(world: World) -> None:
    now = time.monotonic()
    world.entries.append(Setback("crash", time.time(), now - _UNWRITTEN_S, now))


async def _failover(world: World, rng: random.Random) -> str:
    """Promote an asynchronous standby that lacks up to the last two seconds."""
    setback = await lose_the_newest_commits(world.postgres, rng, world.new_origin())
    world.entries.append(setback)
    return f"{setback.until - setback.since:.1f} s behind"


async def _postgres_crashed(world: World, rng: random.Random) -> str:
    async with world.new_origin():
        await asyncio.to_thread(world.postgres.stop, "immediate")
        _may_lose_commits(world)
        await asyncio.sleep(rng.uniform(0, 1.5))
        await asyncio.to_thread(world.postgres.start)
    return "immediate shutdown"


async def _postgres_killed(world: World, rng: random.Random) -> str:
    async with world.new_origin():
        await asyncio.to_thread(world.postgres.kill)
        _may_lose_commits(world)
        await asyncio.sleep(rng.uniform(0, 1.5))
        await asyncio.to_thread(world.postgres.start)
    return "postmaster and backends"


async def _postgres_frozen(world: World, rng: random.Random) -> str:
    await asyncio.to_thread(world.postgres.pause)
    try:
        await asyncio.sleep(rng.uniform(0.3, 4))
    finally:
        await asyncio.to_thread(world.postgres.resume)
    return "postmaster and backends"


async def _sessions_terminated(world: World, _: random.Random) -> str:
    ended = await world.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay%'"
    )
    return f"{len(ended)} sessions"


# --- The cluster


async def _nats_killed(world: World, rng: random.Random) -> str:
    return await _without(world, rng, [rng.choice(world.cluster.nodes)])


async def _leader_killed(world: World, rng: random.Random) -> str:
    return await _without(world, rng, [await _leader(world, rng)])


async def _quorum_lost(world: World, rng: random.Random) -> str:
    return await _without(world, rng, rng.sample(world.cluster.nodes, 2))


async def _whole_cluster_killed(world: World, rng: random.Random) -> str:
    return await _without(world, rng, list(world.cluster.nodes))


async def _without(world: World, rng: random.Random, nodes: list[NatsServer]) -> str:
    for node in nodes:
        node.kill()
    await asyncio.sleep(rng.uniform(0, 1.5))
    for node in nodes:
        await asyncio.to_thread(node.start)
    await world.streams_lead()
    return "+".join(f"n{world.cluster.nodes.index(node)}" for node in nodes)


async def _leader_frozen(world: World, rng: random.Random) -> str:
    node = await _leader(world, rng)
    await asyncio.to_thread(node.pause)
    try:
        await asyncio.sleep(rng.uniform(0.3, 4))
    finally:
        node.resume()
    await world.streams_lead()
    return f"n{world.cluster.nodes.index(node)}"


async def _leader_steps_down(world: World, rng: random.Random) -> str:
    stream = rng.choice(list(STREAMS))
    await world.ask(f"STREAM.LEADER.STEPDOWN.{stream}", {})
    await world.streams_lead()
    return stream


async def _stream_full(world: World, rng: random.Random) -> str:
    """Let a stream take nothing more for a while (10077)."""
    stream = rng.choice(list(STREAMS))
    info = await world.ask(f"STREAM.INFO.{stream}")
    try:
        await world.ask(f"STREAM.UPDATE.{stream}", {**info["config"], "max_msgs": max(1, info["state"]["messages"])})
        await asyncio.sleep(rng.uniform(0.5, 3))
    finally:
        await world.ask(f"STREAM.UPDATE.{stream}", {**info["config"], "max_msgs": -1})
    return stream


async def _stream_unreadable(world: World, rng: random.Random) -> str:
    """Take the right to look at AUDIT away from the relays for a while."""
    since = time.monotonic()
    try:
        await world.reload(unreadable="AUDIT")
        await asyncio.sleep(rng.uniform(1, 5))
        await world.reload()
    finally:
        world.entries.append(Unreadable("AUDIT", since, time.monotonic()))
    await world.streams_lead()
    return "AUDIT"


async def _limit_raised(world: World, _: random.Random) -> str:
    """Let the servers take larger messages from now on, and send one that they would not have taken before."""
    size = world.max_payload + 1
    await world.reload(max_payload=world.max_payload + 262_144)
    await world.streams_lead()
    await world.may_write.wait()
    id_, begun_at = str(uuid.uuid4()), time.monotonic()
    async with await psycopg.AsyncConnection.connect(world.postgres.dsn(), connect_timeout=3) as conn:
        insert = "INSERT INTO outbox_events (id, topic, payload) VALUES (%s, 'ledger.large', to_jsonb(repeat('x', %s)))"
        row = await (await conn.execute(insert + " RETURNING seq", (id_, size))).fetchone()
        assert row is not None
        inserts = (Insert(id_, row[0], None, begun_at),)
        # Written down before it commits: if that is broken off, nobody knows whether it did.
        world.entries.append(Transaction(-time.monotonic_ns(), "unknown", time.monotonic(), inserts))
    return f"{world.max_payload} bytes"


async def _leader(world: World, rng: random.Random) -> NatsServer:
    stream = rng.choice(list(STREAMS))
    while (node := await world.cluster.find_leader(stream)) is None:
        await asyncio.sleep(0.02)
    return node


KINDS = {
    kind.name: kind
    for kind in (
        Kind("relay", "relay killed", _relay_killed, 4),
        Kind("relay", "all relays killed", _all_relays_killed),
        Kind("relay", "relay stopped", _relay_stopped),
        Kind("relay", "relay frozen", _relay_frozen, 4),
        Kind("relay", "relay comes and goes", _relay_comes_and_goes, 3),
        Kind("relay", "hand-over broken", _hand_over_broken, 3),
        Kind("relay", "relay at a leaf node", _relay_at_a_leaf),
        Kind("postgres", "postgres crashed", _postgres_crashed),
        Kind("postgres", "postgres killed", _postgres_killed),
        Kind("postgres", "postgres frozen", _postgres_frozen),
        Kind("postgres", "failover", _failover, 3),
        Kind("postgres", "sessions terminated", _sessions_terminated),
        Kind("nats", "node killed", _nats_killed),
        Kind("nats", "leader killed", _leader_killed),
        Kind("nats", "leader frozen", _leader_frozen),
        Kind("nats", "leader steps down", _leader_steps_down, 4),
        Kind("nats", "quorum lost", _quorum_lost, 1),
        Kind("nats", "whole cluster killed", _whole_cluster_killed, 1),
        Kind("nats", "stream full", _stream_full),
        Kind("nats", "stream unreadable", _stream_unreadable),
        Kind("nats", "limit raised", _limit_raised, 1),
        Kind("operator", "operator deletes", operator.deletes),
        Kind("operator", "operator truncates", operator.truncates, 1),
        Kind("operator", "operator alters", operator.alters, 1),
        Kind("operator", "operator locks rows", operator.locks_rows),
        Kind("operator", "operator locks the table", operator.locks_the_table, 1),
        Kind("operator", "operator retries", operator.retries, 1),
        Kind("operator", "vacuum", operator.vacuums),
        Kind("link", "link cut", links.of_relay(links.cut), 4),
        Kind("link", "link refused", links.of_relay(links.refused)),
        Kind("link", "link silent", links.of_relay(links.silent), 4),
        Kind("link", "link slow", links.of_relay(links.slow)),
        Kind("link", "link crumbles", links.of_relay(links.crumbles)),
        *read_faults.KINDS,
    )
}


async def make_again(kind: Kind, world: World, rng: random.Random) -> str:
    """Make a fault; if PostgreSQL is away because of another one, wait and try again."""
    until = time.monotonic() + _AWAY_S
    while True:
        try:
            return await kind.make(world, rng)
        except OUTAGES:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(0.5)
