"""What `make check` runs at the same time is shown apart, and a failure of any fails all of it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def side_by_side(*commands: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.support.side_by_side", *commands]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_they_run_at_the_same_time_and_each_is_shown_whole(tmp_path: Path) -> None:
    # Each ends only if the other has begun.
    first = f"echo a; cat {tmp_path}/pipe; echo b >&2"
    second = f"echo c; echo d > {tmp_path}/pipe; echo e"
    os.mkfifo(tmp_path / "pipe")
    code, shown = side_by_side(first, second)
    assert code == 0
    assert f"$ {first}\na\nd\nb\n" in shown
    assert f"$ {second}\nc\ne\n" in shown


def test_one_that_fails_is_named_and_ends_no_other() -> None:
    code, shown = side_by_side("exit 3", "sleep 0.2; echo done", "kill -9 $$")
    assert code == 1
    assert "$ exit 3  # failed with 3\n" in shown
    assert "$ kill -9 $$  # failed with -9\n" in shown
    assert "$ sleep 0.2; echo done\ndone\n" in shown
