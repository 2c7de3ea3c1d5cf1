"""``python -m tests.support.faulty_relay run``: the command line of the relay, with what the environment asks for."""

import os
from pathlib import Path

from relay.cli import main
from tests.support.faulty_relay import failpoints, mutants, on_another_machine, suspended

mutant = os.environ.get("RELAY_TEST_MUTANT")
if mutant is not None:
    mutants.apply(mutant)
record = os.environ.get("RELAY_TEST_RECORD")
if record is not None:
    failpoints.record(Path(record))
point = os.environ.get("RELAY_TEST_FAILPOINT")
if point is not None:
    failpoints.die_at(point)
freeze = os.environ.get("RELAY_TEST_FREEZE")
if freeze is not None:
    failpoints.freeze_at(freeze)
if "RELAY_TEST_TIDY" in os.environ:
    mutants.tidy()
if "RELAY_TEST_ELSEWHERE" in os.environ:
    on_another_machine.move()
if "RELAY_TEST_SUSPENDED" in os.environ:
    suspended.stand_still()
main(prog_name="relay")
