"""As process 1 of a container: the kernel drops a signal that has no handler, so there must always be one."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.demo.servers import free_port
from tests.support.fix_relay import ROOT, Outbox, wait_until

UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]


@pytest.fixture
def as_process_one(tmp_path: Path) -> Iterator["Namespace"]:
    if (
        shutil.which("unshare") is None
        or subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("this kernel lets us make no namespace of processes")
    namespace = Namespace(tmp_path / "output")
    yield namespace
    namespace.end()


class Namespace:
    """A command as process 1 of a namespace of its own."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str, **settings: str) -> None:
        """Start ``relay`` with a command."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*UNSHARE, sys.executable, "-m", "relay", *command],
                env=inherited | settings,
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        """The process within, as it is seen from here; 0 while it is not there."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text("ascii").split()
        return int(children[0]) if children else 0

    def heeds_sigterm(self) -> bool:
        """Report whether the process has a handler for SIGTERM."""
        if not self.pid:
            return False
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def text(self) -> str:
        return self._output.read_text("utf-8")

    def terminate(self) -> int:
        """Send SIGTERM once and give the exit code."""
        assert self._process is not None
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(10)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.mark.parametrize("command", [("run",), ("tail",), ("status", "--watch")])
def test_sigterm_ends_process_1_before_it_has_begun(as_process_one: Namespace, command: tuple[str, ...]) -> None:
    # Nothing listens there: what is not ended waits.
    as_process_one.start(*command, RELAY_POSTGRES__DSN=f"host=127.0.0.1 port={free_port()}", RELAY_HTTP__PORT="0")
    wait_until("it heeds SIGTERM", as_process_one.heeds_sigterm, 5)
    assert as_process_one.text() == "", "nothing was begun"
    assert as_process_one.terminate() == 128 + signal.SIGTERM


@pytest.mark.parametrize("command", [("tail",), ("status", "--watch")])
def test_sigterm_ends_a_command_that_watches_as_process_1(
    as_process_one: Namespace, outbox: Outbox, command: tuple[str, ...]
) -> None:
    as_process_one.start(*command, RELAY_POSTGRES__DSN=outbox.dsn, PYTHONUNBUFFERED="1")

    def watches() -> bool:
        # `relay tail` shows what becomes of events while it watches.
        dead = "UPDATE outbox_events SET dead_at = now(), last_error = 'x' WHERE seq = %s"
        outbox.conn.execute(dead, (outbox.insert("orders.placed", None, {}),))
        return bool(as_process_one.text())

    wait_until("it watches", watches)
    assert as_process_one.terminate() == 128 + signal.SIGTERM
