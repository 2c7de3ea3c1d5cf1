"""A short run of chaos finds nothing wrong, and each mutant of the relay is caught by one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fix_relay import ROOT

# For each mutant: faults under which its broken promise shows, and by which findings: any of them.
MUTANTS = {
    "settle-early": (["--only", "stream full", "--faults", "1", "--patience", "5"], ("lost",)),
    "no-gaps": (["--only", "relay killed", "--faults", "2", "--patience", "5"], ("lost",)),
    "no-leases": (
        ["--only", "link silent", "--faults", "6", "--window", "0.5", "--rate", "400", "--patience", "10"],
        ("duplicated",),
    ),
    "position-first": (
        ["--only", "models' sessions terminated", "--faults", "8", "--patience", "20"],
        ("model_missed",),
    ),
}


def run(directory: Path, *arguments: str) -> tuple[int, dict[str, float], str]:
    """Do a run to its end; return its exit code, its line of figures, and all that it printed."""
    command = [sys.executable, "-m", "tests.chaos", "--history", str(directory / "history.jsonl")]
    environ = {**os.environ, "TMPDIR": str(directory)}
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=180
    )
    lines = done.stdout.splitlines()
    figures = {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+|nan)", lines[-1] if lines else "")}
    assert "stored" in figures, f"the run itself has failed:\n{done.stdout}\n{done.stderr}"
    return done.returncode, figures, done.stdout + done.stderr


@pytest.mark.timeout(240)
def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    code, figures, text = run(tmp_path, "--seed", "1", "--faults", "8", "--minutes", "1")
    assert code == 0, text
    assert figures["faults"] >= 8
    assert figures["committed"] > 500
    # What the database itself lost, or the operator removed before it was sent, is rightly in no stream.
    rows = figures["committed"] + figures["unanswered"] - figures["removed"] - figures["lost_commits"]
    stored = rows + figures["stored_of_removed"] + figures["stored_of_lost_commits"]
    assert figures["stored"] == stored + figures["twice_unreadable"]
    assert figures["applied"] > 500
    again = [sys.executable, "-m", "tests.chaos", "--check", str(tmp_path / "history.jsonl")]
    judged = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, check=False)
    assert judged.returncode == 0
    assert judged.stdout.splitlines()[-1].split(" ", 1)[1] == text.strip().splitlines()[-1].split(" ", 1)[1]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_relay_or_runner_that_breaks_a_promise_is_caught(tmp_path: Path, mutant: str) -> None:
    arguments, findings = MUTANTS[mutant]
    code, figures, text = run(tmp_path, "--seed", "1", "--minutes", "1", "--pairs", "0", "--mutant", mutant, *arguments)
    assert code == 1, text
    assert any(figures[finding] > 0 for finding in findings), text
    assert figures["stored"] > 50, "the relays worked"
    assert "ended" not in text, "and to the end"
