"""What the bell costs those who insert: commits a second of 16 clients, one insert a transaction."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import mean, median

from bench.figures import ratios
from bench.report import Figure, Report
from bench.world import World

_CLIENTS = 16
# How often a round goes there and back.
_TURNS = 2
_BAR = 0.95
_POLLING = "no trigger, beside a polling relay"
_BUSY = "bell, relay busy"
# Of these two a round takes so many turns, since the bar is theirs.
_PAIRS = 20
_PAIR_S = 2
# Until then the relay has noticed that producers are at work.
_WARM_S = 1
_REST_S = 0.5
_SCRIPT = """
\\set n random(1, 1000)
INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.placed', 'k' || :n, '{"order": 1, "total": 42}');
"""
_NOTIFY = """
    CREATE FUNCTION always_ring() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_notify('outbox_events', ''); RETURN NULL; END $$;
    CREATE TRIGGER always_ring AFTER INSERT ON outbox_events FOR EACH STATEMENT EXECUTE FUNCTION always_ring();
"""


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure each arrangement by turns, there and back, so that a drift of the machine cancels out."""
    seconds = 1 if quick else 4
    cases: dict[str, Callable[[], float]] = {
        "no trigger": lambda: _commits(world, seconds, bell=False),
        "bell, held by nobody": lambda: _commits(world, seconds, bell=True),
        "bell, held by a sleeper": lambda: _held(world, seconds),
        "NOTIFY trigger": lambda: _notify(world, seconds),
    }
    pair = partial(_beside_relays, world, 2 if quick else _PAIRS, 1 if quick else _PAIR_S)
    rates: dict[str, list[float]] = {name: [] for name in (*cases, _POLLING, _BUSY)}
    for number in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for name in (*cases, *reversed(cases)) * _TURNS:
            taken[name].append(report.quiet.take(f"producers: {name}", cases[name]))
        each = {name: mean(values) for name, values in taken.items()}
        for name, value in (each | report.quiet.take_all(f"producers: {_BUSY}", pair)).items():
            rates[name].append(value)
            report.progress(f"producers, round {number + 1}: {name}: {value:,.0f} commits/s")
    for name, values in rates.items():
        report.add(Figure("producers", name, median(values), "commits/s", rounds=values))
    for name, ours, base, bar in (
        ("bell, relay busy / no trigger, polling", _BUSY, _POLLING, _BAR),
        ("bell, held by nobody / no trigger", "bell, held by nobody", "no trigger", None),
        ("bell, relay busy / no trigger, no relay", _BUSY, "no trigger", None),
    ):
        compared = ratios(rates[ours], rates[base])
        report.add(Figure("producers", name, median(compared), "", at_least=bar, rounds=compared))


def _prepare(world: World, database: str = "producers", *, bell: bool) -> None:
    world.use(database)
    world.empty_outbox(bell=bell)
    world.stream(atomic=True)
    with world.connect() as conn:
        conn.execute("CHECKPOINT")


def _commits(world: World, seconds: int, *, bell: bool) -> float:
    _prepare(world, bell=bell)
    return _pgbench(world, seconds)


def _beside_relays(world: World, turns: int, seconds: int) -> dict[str, float]:
    """Work beside a relay that polls and beside one that sleeps by the bell, each with an outbox of its own, by turns.

    Both are at rest before a turn, as before most loads; what counts begins a second after it has begun.
    """
    databases = {_POLLING: "producers_polling", _BUSY: "producers_bell"}
    taken: dict[str, list[float]] = {name: [] for name in databases}
    for name, database in databases.items():
        _prepare(world, database, bell=name == _BUSY)
    with ExitStack() as running:
        for name, database in databases.items():
            world.use(database)
            running.enter_context(world.relay({"RELAY_DELIVERY__BELL": str(name == _BUSY).lower()}))
        for turn in range(turns):
            for name in databases if turn % 2 else reversed(databases):
                world.use(databases[name])
                time.sleep(_REST_S)
                _pgbench(world, _WARM_S)
                taken[name].append(_pgbench(world, seconds))
                world.wait_until_empty()
    return {name: mean(values) for name, values in taken.items()}


def _held(world: World, seconds: int) -> float:
    """The worst case: the bell is held by a session that never wakes, so that every insert rings."""
    _prepare(world, bell=True)
    with _listener(world, "SELECT pg_advisory_lock(1869968482, 'outbox_events'::regclass::oid::integer)"):
        return _pgbench(world, seconds)


def _notify(world: World, seconds: int) -> float:
    _prepare(world, bell=False)
    with world.connect() as conn:
        conn.execute("DROP FUNCTION IF EXISTS always_ring() CASCADE")
        conn.execute(_NOTIFY)
    with _listener(world, "SELECT 1"):
        return _pgbench(world, seconds)


@contextmanager
def _listener(world: World, first: str) -> Iterator[None]:
    """Listen, and leave unread what comes: the server's part of the work without a client's."""
    with world.connect() as conn:
        conn.execute("LISTEN outbox_events")
        conn.execute(first.encode())
        yield


def _pgbench(world: World, seconds: int) -> float:
    script = Path(world.postgres.directory) / "insert.sql"
    script.write_text(_SCRIPT, "utf-8")
    done = subprocess.run(
        [
            str(world.postgres.binaries / "pgbench"),
            *("-n", "-c", str(_CLIENTS), "-j", "2", "-T", str(seconds), "-M", "prepared", "-f", str(script)),
            world.dsn,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if found is None:
        raise RuntimeError(f"pgbench gave no rate:\n{done.stdout}{done.stderr}")
    return float(found[1])
