"""How soon a committed event is in the read model at 50 events a second, relay and projection included."""

import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from bench.figures import p50_p99
from bench.read_models import MODEL, write_definition
from bench.report import Figure, Report
from bench.world import World

_EVENTS_A_SECOND = 50
_SETTLE_S = 3.0
_WAIT_S = 60.0
_BAR_P50_MS = 8.0
_BAR_P99_MS = 25.0
_TABLES = "CREATE TABLE seen (id uuid PRIMARY KEY);"
_STATEMENT = "INSERT INTO seen SELECT id::uuid FROM event"
_INSERT = """
    INSERT INTO outbox_events (id, topic, key, payload) VALUES (%s, 'orders.placed', %s, '{"order": 1, "total": 42}')
"""
# The row's transaction is the one that applied its event. The server takes this time just before the commit shows.
_VISIBLE = f"SELECT id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM {MODEL}.seen"
_HEADERS = {"RELAY_HEADERS__KEY": "true", "RELAY_HEADERS__SEQ": "true", "RELAY_HEADERS__CREATED_AT": "true"}


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure with one relay and one projection a round."""
    events = (4 if quick else 20) * _EVENTS_A_SECOND
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory, _commit_times(world):
        file = write_definition(Path(directory), "set", statement=_STATEMENT, tables=_TABLES)
        for number in range(rounds):
            world.use(f"visible_{number}")
            world.empty_outbox()
            world.stream(atomic=True)
            with world.relay(_HEADERS), world.projections(file):
                _await_ready(world)
                values = report.quiet.take_all("visible", partial(_delays, world, events, number))
            for name, value in values.items():
                figures.setdefault(name, []).append(value)
            report.progress(
                f"visible, round {number + 1}: " + "; ".join(f"{name} {value:.2f} ms" for name, value in values.items())
            )
    bars = {"commit returned to row, p50": _BAR_P50_MS, "commit returned to row, p99": _BAR_P99_MS}
    for name, each in figures.items():
        report.add(Figure("visible", name, median(each), "ms", at_most=bars.get(name), rounds=each))


def _delays(world: World, events: int, seed: int) -> dict[str, float]:
    """Commit events at random moments; return the ms from COMMIT's return to the commit that shows the row."""
    chance = random.Random(seed)
    returned: dict[str, float] = {}
    with world.connect() as conn:
        due = time.monotonic()
        for number in range(events):
            due += chance.expovariate(_EVENTS_A_SECOND)
            time.sleep(max(0.0, due - time.monotonic()))
            identity = str(uuid.uuid4())
            conn.execute(_INSERT, (identity, f"k{number % 1000}"))
            # By the clock of the wall, as the server's own times.
            returned[identity] = time.time()
        visible = _await_all(world, set(returned))
    p50, p99 = p50_p99([(visible[identity] - at) * 1000 for identity, at in returned.items()])
    return {"commit returned to row, p50": p50, "commit returned to row, p99": p99}


def _await_ready(world: World) -> None:
    """Wait until the model has a first event, and then until what a start leaves behind is done."""
    identity = str(uuid.uuid4())
    with world.connect() as conn:
        conn.execute(_INSERT, (identity, "k0"))
    _await_all(world, {identity})
    time.sleep(_SETTLE_S)


def _await_all(world: World, wanted: set[str]) -> dict[str, float]:
    """Wait until all rows are there; return when each came, Unix seconds.

    Raises:
        RuntimeError: The time is up.
    """
    deadline = time.monotonic() + _WAIT_S
    with world.connect() as conn:
        while time.monotonic() < deadline:
            if conn.execute("SELECT to_regclass(%s)", (f"{MODEL}.seen",)).fetchone() != (None,):
                visible = dict(conn.execute(_VISIBLE.encode()).fetchall())
                if wanted <= visible.keys():
                    return visible
            time.sleep(0.2)
    raise RuntimeError("not all events are in the model")


@contextmanager
def _commit_times(world: World) -> Iterator[None]:
    """Have the server keep the time of each commit, which it must be started again for."""
    _set(world, "ALTER SYSTEM SET track_commit_timestamp = on")
    yield
    _set(world, "ALTER SYSTEM RESET track_commit_timestamp")


def _set(world: World, statement: str) -> None:
    world.use("postgres")
    with world.connect() as conn:
        conn.execute(statement.encode())
    world.postgres.stop()
    world.postgres.start()
