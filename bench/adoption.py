"""What adopting a foreign table costs its inserts: server time of single inserts, with the trigger and without."""

import time
from collections.abc import Callable
from statistics import median

from bench.report import Figure, Report
from bench.world import World
from relay.operate.adopt import script
from relay.operate.adopt.mapping import Source
from relay.operate.adopt.presets import PRESETS
from relay.postgres.tables import Tables

_BAR_US = 30.0
_COLUMNS = {
    "id": "uuid",
    "aggregatetype": "character varying",
    "aggregateid": "character varying",
    "type": "character varying",
    "payload": "jsonb",
}
_TABLE = """
    CREATE TABLE outbox (
        id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,
        type varchar(255) NOT NULL, payload jsonb
    )
"""
_FOREIGN = "INSERT INTO outbox VALUES (gen_random_uuid(), 'order', 'k' || i % 1000, 'placed', '{\"order\": 1}');"
_OWN = """
    INSERT INTO outbox_events (topic, key, payload, headers)
    VALUES ('outbox.event.order', 'k' || i % 1000, '{"order": 1}', '{"type": "placed"}');
"""
# Every insert is a statement of its own, without a client and a commit between them: what is left is the server's work.
_LOOP = "DO $$ BEGIN FOR i IN 1..{rows} LOOP {statements} END LOOP; END $$"


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure each arrangement in turns; a round is the median of seven."""
    rows, turns = (2_000, 1) if quick else (20_000, 7)
    cases: dict[str, Callable[[], float]] = {
        "foreign table alone": lambda: _insert(world, rows, _FOREIGN, adopted=False),
        "adopted": lambda: _insert(world, rows, _FOREIGN, adopted=True),
        "both inserts by the application": lambda: _insert(world, rows, _FOREIGN + _OWN, adopted=False),
    }
    figures: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(turns):
            for name, measure in cases.items():
                taken[name].append(report.quiet.take(f"adoption: {name}", measure))
        for name, values in taken.items():
            figures[name].append(median(values))
            report.progress(f"adoption, round {number + 1}: {name}: {figures[name][-1]:.1f} us an insert")
    for name, values in figures.items():
        report.add(Figure("adoption", name, median(values), "us", rounds=values))
    for name, base, bar in (
        ("adopted less alone", "adopted", _BAR_US),
        ("both less alone", "both inserts by the application", None),
    ):
        each = [a - b for a, b in zip(figures[base], figures["foreign table alone"], strict=True)]
        report.add(Figure("adoption", name, median(each), "us", at_most=bar, rounds=each))


def _insert(world: World, rows: int, statements: str, *, adopted: bool) -> float:
    """Return the microseconds of one insert."""
    world.use("adoption")
    world.empty_outbox()
    with world.connect() as conn:
        conn.execute(_TABLE.encode())
        if adopted:
            source = Source("public", "outbox", _COLUMNS, ("id",))
            mapping = PRESETS["debezium"].mapping
            conn.execute(script.install(mapping, source, "public.outbox_events", Tables(), "debezium").encode())
        conn.execute("CHECKPOINT")
        began = time.perf_counter()
        conn.execute(_LOOP.format(rows=rows, statements=statements).encode())
        return (time.perf_counter() - began) / rows * 1e6
