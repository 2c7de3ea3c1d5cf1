"""Files of tests are kept in memory if there is room, and do not stay there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.in_memory import directory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no other system has a file system in memory at hand")


def test_a_process_has_a_directory_of_its_own_and_those_of_ended_ones_are_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    left, used = (tmp_path / f"outbox-relay-tests-{pid}" for pid in (ended.pid, os.getppid()))
    for one in (left, used):
        (one / "data").mkdir(parents=True)
    made = directory(tmp_path, room=0, available=0)
    assert made == tmp_path / f"outbox-relay-tests-{os.getpid()}" and made.stat().st_mode & 0o777 == 0o700
    assert used.exists() and not left.exists()


def test_without_room_there_is_none(tmp_path: Path) -> None:
    assert directory(tmp_path, room=2**62, available=0) is None
    assert directory(tmp_path, room=0, available=2**62) is None
    assert directory(tmp_path / "nothing", room=0, available=0) is None
