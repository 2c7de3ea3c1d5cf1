"""A relay has ended when the kernel says so, and not before: real processes, real signals."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.postgres import presence
from relay.postgres.presence import Presence

ROOT = Path(__file__).parents[3]
LIVE = """
import sys, time
from relay.postgres.presence import Presence
print(Presence().member, flush=True)
sys.stdin.read()
"""


class Neighbour:
    """A process that holds a name."""

    def __init__(self, *wrapper: str) -> None:
        self._process = subprocess.Popen(
            [*wrapper, sys.executable, "-c", LIVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.name = self._process.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Have it end, and wait until it has."""
        self._process.send_signal(number)
        self._process.communicate(timeout=30)


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    made = Neighbour()
    yield made
    made.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_process_that_was_ended_has_ended_however_it_was(number: signal.Signals) -> None:
    neighbour, here = Neighbour(), Presence()
    assert here.ended([neighbour.name]) == []
    neighbour.end(number)
    assert here.ended([neighbour.name]) == [neighbour.name]
    assert here.ended([neighbour.name]) == [neighbour.name], "asking holds nothing"


def test_a_frozen_process_has_not_ended(neighbour: Neighbour) -> None:
    neighbour.send(signal.SIGSTOP)
    assert Presence().ended([neighbour.name]) == []
    neighbour.send(signal.SIGCONT)


def test_two_in_one_place_stay_apart() -> None:
    one, other = Presence(), Presence()
    assert one.member.place is not None
    assert one.member != other.member
    names = [str(one.member), str(other.member)]
    assert one.ended(names) == other.ended(names) == []


def test_nothing_is_known_of_another_boot_another_host_or_an_older_relay() -> None:
    here = Presence()
    gone = here.member._replace(token="0" * 8)
    assert here.ended([str(gone)]) == [str(gone)], "nobody has ever held this name"
    for foreign in (gone._replace(place="0" * 16), gone._replace(host="another"), gone._replace(place=None)):
        assert here.ended([str(foreign)]) == []


@pytest.mark.skipif(
    subprocess.run([shutil.which("unshare") or "false", "-rn", "true"], check=False, capture_output=True).returncode
    != 0,
    reason="this user may not make a network namespace",
)
def test_nothing_is_known_of_another_network_namespace_of_this_host() -> None:
    apart, here = Neighbour("unshare", "-rn"), Presence()
    assert apart.name.split(":")[0] == here.member.host
    assert here.ended([apart.name]) == []
    apart.end()
    assert here.ended([apart.name]) == []


@pytest.mark.parametrize("attribute", ["_BOOT", "_NAMESPACE"])
def test_without_the_kernels_word_a_relay_has_no_place(
    attribute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, neighbour: Neighbour
) -> None:
    monkeypatch.setattr(presence, attribute, tmp_path / "missing")
    here = Presence()
    assert here.member.place is None
    assert str(here.member).count(":") == 2
    neighbour.end()
    assert here.ended([neighbour.name]) == []


@pytest.mark.parametrize("text", ["", "unknown", "00000000-0000-0000-0000-000000000000"])
def test_a_boot_that_is_no_identity_is_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boot_id").write_text(f"{text}\n", "ascii")
    monkeypatch.setattr(presence, "_BOOT", tmp_path / "boot_id")
    assert Presence().member.place is None


def test_a_name_that_somebody_else_holds_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_hold", lambda name: False)
    assert Presence().member.place is None


def test_programs_that_we_start_do_not_keep_our_name() -> None:
    code = """
import subprocess, sys
from relay.postgres.presence import Presence
mine = Presence()
subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
print(mine.member, flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        process_group=0,
    )
    try:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        process.kill()
        process.wait(30)
        assert Presence().ended([name]) == [name]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
