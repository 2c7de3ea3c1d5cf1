"""Runs a command with a Docker engine that answers: ``python -m tests.support.docker_engine docker images``.

One that answers already is used as it is. Else, where dockerd is installed and we are root, one of our own runs for
as long as the command does. It keeps its images in ``.docker`` of the checkout, so that the next run finds them.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.demo.servers import launch

DOCKER = os.environ.get("DOCKER", "docker")
_KEPT = Path(__file__).parents[2] / ".docker"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0


def answers(host: str | None = None) -> bool:
    """Report whether an engine answers, at `host` or where the environment says."""
    command = [DOCKER, *(["--host", host] if host else []), "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Yield the environment with which `docker` reaches an engine, for as long as it is needed.

    Raises:
        SystemExit: None answers and none can be started; the text says what to do.
    """
    if shutil.which(DOCKER) is None:
        sys.exit(f"{DOCKER} is not installed; on Debian: apt-get install docker.io")
    if answers():
        yield {}
        return
    dockerd = shutil.which("dockerd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if dockerd is None or os.geteuid() != 0:
        sys.exit("no Docker engine answers: start one, set DOCKER_HOST, or be root where dockerd is installed")
    _KEPT.mkdir(exist_ok=True)
    # The path of a socket has room for some hundred characters.
    with tempfile.TemporaryDirectory(prefix="engine-") as run:
        host = f"unix://{run}/docker.sock"
        command = [dockerd, "--host", host, "--pidfile", f"{run}/docker.pid"]
        command += ["--data-root", str(_KEPT / "data"), "--exec-root", f"{run}/exec"]
        # It takes its own children along when it is asked to end, and not when it is killed.
        process = launch(command, _KEPT / "dockerd.log", at_parents_end=signal.SIGTERM)
        try:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not answers(host):
                if process.poll() is not None or time.monotonic() > deadline:
                    said = (_KEPT / "dockerd.log").read_text("utf-8", "replace")
                    sys.exit(f"dockerd did not start:\n{said[-2000:]}")
                time.sleep(0.1)
            yield {"DOCKER_HOST": host}
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT_S)
            _unmount(run)


def _unmount(directory: str) -> None:
    """Unmount what dockerd leaves: the namespace of the host's network, if a container was in it."""
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        point = line.split()[1]
        if point.startswith(f"{directory}/"):
            subprocess.run([shutil.which("umount") or "umount", point], check=True)


def main(command: list[str]) -> int:
    """Run a command with an engine; return its exit code."""
    # Asked to end, it ends what it started first.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with engine() as where:
        return subprocess.run(command, env=os.environ | where, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
