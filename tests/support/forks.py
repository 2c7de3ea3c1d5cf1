"""Start relays as forks of one process that has imported them already, for a fifth of the time of a core.

A run starts the relay more than a thousand times, and a third of its work was to import the same modules again. A fork
is a process of its own like any other: it has a number, a session, an environment, a log and an exit status, and can be
stopped, killed and frozen. It shares the interpreter's start and the imports, up to the first line of the program.
Consoles are forks of another process, which has imported more, and TLS.

With ``RELAY_TEST_START=exec`` each is an interpreter of its own, as it always is in the tests of the wheel, the chart,
the demo and the command line, and on every system but Linux.
"""

import atexit
import ctypes
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from relay.daemon.put_off import put_off

ROOT = Path(__file__).parents[2]
# What a relay imports before it does anything, whatever it is told to do.
_IMPORTED = (
    "relay.cli",
    "relay.cli.projection",
    "relay.cli.run",
    "relay.config.settings",
    "relay.daemon.serve",
    "relay.operate.access",
    "relay.projection.serve",
    "relay.projection.sources",
    "tests.support.faulty_relay.on_another_machine",
    "tests.support.faulty_relay.failpoints",
    "tests.support.faulty_relay.mutants",
)
_RELAY, _CONSOLE = "relay", "console"
_IMPORTED_BY_CONSOLES = ("relay.cli", "relay.cli.console", "relay.console.serve")
_PR_SET_PDEATHSIG = 1
_STATUS = struct.Struct("i")
_HELD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
# A request is a JSON object with an environment in it; SOCK_SEQPACKET keeps it in one piece.
_REQUEST_BYTES = 200_000


class Fork:
    """A relay that `start` has started; it is used as a `subprocess.Popen`.

    Attributes:
        pid: Its number.
    """

    def __init__(self, pid: int, status: int) -> None:
        """Take the number of a process, and the pipe on which its exit status will come."""
        self.pid = pid
        self._status = status
        self._code: int | None = None
        self._asked = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, the negated number of the signal that ended it, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; return as `poll`.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout_s: float | None) -> int | None:
        with self._asked:
            if self._code is None and select.select([self._status], [], [], timeout_s)[0]:
                told = os.read(self._status, _STATUS.size)
                os.close(self._status)
                if not told:
                    raise RuntimeError("the process that forks relays has ended, and this relay with it")
                self._code = os.waitstatus_to_exitcode(_STATUS.unpack(told)[0])
            return self._code


@dataclass(frozen=True)
class Start:
    """What is to be started, as ``python -m module arguments...``.

    Attributes:
        module: ``relay`` or ``tests.support.faulty_relay``.
        arguments: What it is told to do.
        log: The file that its output is appended to.
        env: The whole of its environment.
        directory: Where it works.
    """

    module: str
    arguments: list[str]
    log: str
    env: dict[str, str]
    directory: str = str(ROOT)


def start(what: Start) -> "Fork | subprocess.Popen[bytes]":
    """Start a relay or console in a session of its own; it is killed when this process ends."""
    if _wanted():
        return _forker(_CONSOLE if _CONSOLE in what.arguments[:1] else _RELAY).start(what)
    # Not in the process that forks: with it comes what relays put off.
    from relay.demo.servers import launch

    command = [sys.executable, "-m", what.module, *what.arguments]
    return launch(command, Path(what.log), env=what.env, cwd=Path(what.directory))


def _wanted() -> bool:
    return sys.platform == "linux" and os.environ.get("RELAY_TEST_START", "fork") == "fork"


class _Forker:
    """The process that forks, as this one sees it; it ends when this one does."""

    def __init__(self, kind: str) -> None:
        self._turn = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.support.forks", str(theirs.fileno()), kind]
            # No settings of ours, and not the signals of a terminal.
            env = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
            )

    def start(self, what: Start) -> Fork:
        reading, writing = os.pipe()
        try:
            with self._turn:
                socket.send_fds(self._socket, [json.dumps(asdict(what)).encode()], [writing])
                answer = self._socket.recv(_STATUS.size)
        finally:
            os.close(writing)
        if not answer:
            os.close(reading)
            raise RuntimeError(f"the process that forks relays has ended with {self.process.wait()}")
        return Fork(_STATUS.unpack(answer)[0], reading)

    def end(self) -> None:
        self._socket.close()
        self.process.wait()


@cache
def _forker(kind: str) -> _Forker:
    forker = _Forker(kind)
    atexit.register(forker.end)
    return forker


def _prepare(kind: str) -> None:
    """Import what the forks would."""
    if kind == _RELAY:
        put_off()
    for module in _IMPORTED if kind == _RELAY else _IMPORTED_BY_CONSOLES:
        import_module(module)
    # A relay collects garbage as it begins: no fork goes through what all of them share, which would copy it as well.
    gc.collect()
    gc.freeze()


def _serve(requests: socket.socket) -> Start:
    """Fork a relay for each request and report how each ended; return in a fork alone, with what it is to run."""
    told, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    parent = os.getpid()
    statuses: dict[int, int] = {}
    while True:
        readable, _, _ = select.select([requests.fileno(), told], [], [])
        if told in readable:
            os.read(told, 4096)
            _report(statuses)
        if requests.fileno() in readable:
            message, (*descriptors,), _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 1)
            if not message:
                # Whoever asked is gone. What was started goes with this process: each asked the kernel for that.
                os._exit(0)
            # A signal that reaches the fork before Python has told it that it is one would be lost.
            signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                requests.close()
                for descriptor in (told, tell, *descriptors, *statuses.values()):
                    os.close(descriptor)
                what = Start(**json.loads(message))
                _become(what, parent)
                return what
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
            (statuses[pid],) = descriptors
            requests.send(_STATUS.pack(pid))


def _report(statuses: dict[int, int]) -> None:
    while statuses:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with suppress(BrokenPipeError):
            os.write(statuses[pid], _STATUS.pack(status))
        os.close(statuses.pop(pid))


def _become(what: Start, parent: int) -> None:
    """Take the session, the output and the environment that were asked for."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    log = os.open(what.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for output in (1, 2):
        os.dup2(log, output)
    os.close(log)
    os.chdir(what.directory)
    os.environ.clear()
    os.environ.update(what.env)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def _main() -> None:
    _prepare(sys.argv[2])
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        what = _serve(requests)
    sys.argv = [what.module, *what.arguments]
    runpy.run_module(what.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
