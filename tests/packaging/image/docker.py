"""Docker's own command line, as the tests of the image use it."""

import json
import subprocess
import uuid
from typing import Any

from tests.support.docker_engine import DOCKER
from tests.support.fix_relay import wait_until

# What a cluster with the restricted profile asks of a container, and a network on which it reaches the test's servers.
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host")


def docker(*args: str) -> str:
    """Run docker; return what it prints, and fail with what it says."""
    done = subprocess.run([DOCKER, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(args)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def layers_bytes(image: str) -> int:
    """Sum up the layers of an image."""
    sizes = docker("history", "--human=false", "--format={{.Size}}", image)
    return sum(int(size) for size in sizes.split())


class Container:
    """A relay in a container, confined; what it is told comes from the environment.

    Args:
        image: What to run.
        args: The command after the entry point.
        environ: Its environment.
    """

    def __init__(self, image: str, *args: str, **environ: str) -> None:
        self._name = f"outbox-relay-test-{uuid.uuid4().hex[:12]}"
        told = [f"--env={name}={value}" for name, value in environ.items()]
        docker("run", "--detach", "--name", self._name, *CONFINED, "--health-interval=1s", *told, image, *args)

    @property
    def state(self) -> dict[str, Any]:
        """What the engine knows of it."""
        (found,) = json.loads(docker("inspect", self._name))
        state: dict[str, Any] = found["State"]
        return state

    def becomes(self, health: str) -> None:
        """Wait until the health check says so."""
        wait_until(f"container is {health}", lambda: self.state["Health"]["Status"] == health)

    def inside(self, *command: str) -> str:
        """Run a command in it; return what it prints."""
        return docker("exec", self._name, *command)

    def signal(self, name: str) -> None:
        """Send a signal to its first process."""
        docker("kill", "--signal", name, self._name)

    def wait(self) -> int:
        """Await its end; return its exit code."""
        return int(docker("wait", self._name))

    def log(self) -> str:
        """Return what it printed."""
        shown = subprocess.run(
            [DOCKER, "logs", self._name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return shown.stdout

    def remove(self) -> None:
        """Take it away, whatever it does."""
        docker("rm", "--force", self._name)
