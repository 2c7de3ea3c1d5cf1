"""Runs the containers of pods as local processes."""

import base64
import os
import shutil
import signal
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kube.store import PODS, Key, Object, Store

_RESTART_AFTER_S = 0.3
# In place of the period of startup and readiness probes until a container is ready, so that tests need not wait. What
# is ready is asked as often as in Kubernetes: it is unready after failures that lie seconds apart, not after a moment.
# A liveness probe keeps its own period as well.
_PROBE_PERIOD_S = 0.2


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        code: Its exit code; negative, the signal that ended it.
        killed: Whether its time was over.
        told_s: Seconds from SIGTERM to the end; None if it ended by itself.
    """

    pod: str
    container: str
    code: int
    killed: bool
    told_s: float | None


@dataclass
class _Container:
    """One container of a pod, and its process while there is one."""

    spec: dict[str, Any]
    command: list[str]
    environment: dict[str, str]
    log: Path
    sidecar: bool
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    ended_at: float = 0.0
    started: bool = False
    ready: bool = False
    failures: int = 0
    misses: int = 0
    told_at: float | None = None
    killed: bool = False
    probed_at: float = 0.0
    lived_at: float = 0.0

    @property
    def name(self) -> str:
        return str(self.spec["name"])


@dataclass
class _Pod:
    """A pod on this machine."""

    spec: dict[str, Any]
    directory: Path
    address: str
    first: list[_Container]
    then: list[_Container]
    going_since: float | None = None

    @property
    def all(self) -> list[_Container]:
        return [*self.first, *self.then]


class Kubelet:
    """Starts, probes and stops; `ended` keeps what has ended, in its order."""

    def __init__(self, store: Store, directory: Path) -> None:
        self._store = store
        self._directory = directory
        self._pods: dict[Key, _Pod] = {}
        self._addresses = 1
        self.ended: list[Ended] = []

    def log(self, pod: str) -> str:
        """Return what the containers of a pod have written."""
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self._directory.glob(f"{pod}/logs/*")))

    def step(self) -> None:
        """Look at each pod once."""
        for key, pod in self._store.find(PODS).items():
            if key not in self._pods:
                self._pods[key] = self._take_in(key, pod)
            self._advance(key, self._pods[key], going="deletionTimestamp" in pod["metadata"])

    def stop(self) -> None:
        """Leave no process behind."""
        for pod in self._pods.values():
            for container in pod.all:
                if container.process is not None:
                    container.process.kill()
                    container.process.wait()

    def _take_in(self, key: Key, pod: Object) -> _Pod:
        self._addresses += 1
        address = f"127.0.0.{self._addresses}"
        directory = self._directory / key.name
        (directory / "logs").mkdir(parents=True)
        spec = pod["spec"]
        places = {volume["name"]: self._volume(key, directory, volume) for volume in spec.get("volumes", [])}
        first, then = (
            [self._container(key, directory, address, places, one) for one in spec.get(which, [])]
            for which in ("initContainers", "containers")
        )
        return _Pod(spec, directory, address, first, then)

    def _volume(self, key: Key, directory: Path, volume: dict[str, Any]) -> Path:
        """Make the directory of a volume, with its files."""
        place = directory / "volumes" / str(volume["name"])
        place.mkdir(parents=True)
        if "configMap" in volume:
            data = self._store.get(Key("v1/configmaps", key.namespace, volume["configMap"]["name"]))["data"]
            for name, text in data.items():
                (place / name).write_text(text, "utf-8")
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                path = place / item["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._secret(key.namespace, source["secret"]["name"], item["key"]))
                path.chmod(volume["projected"]["defaultMode"])
        return place

    def _secret(self, namespace: str, name: str, item: str) -> bytes:
        secret = self._store.get(Key("v1/secrets", namespace, name))
        return base64.b64decode(secret["data"][item])

    def _container(
        self, key: Key, directory: Path, address: str, places: dict[str, Path], spec: dict[str, Any]
    ) -> _Container:
        """Make a container: its paths lead to the directories that stand for its mounts."""
        mounts = {one["mountPath"]: str(places[one["name"]]) for one in spec.get("volumeMounts", [])}

        def local(text: str) -> str:
            for path, place in mounts.items():
                if text == path or text.startswith(f"{path}/"):
                    return place + text.removeprefix(path)
            return text

        environment = {
            "PATH": os.pathsep.join([sysconfig.get_path("scripts"), "/usr/bin", "/bin"]),
            "HOSTNAME": key.name,
        }
        for one in spec.get("envFrom", []):
            reference = Key("v1/configmaps", key.namespace, one["configMapRef"]["name"])
            environment.update(self._store.get(reference)["data"])
        for one in spec.get("env", []):
            environment[one["name"]] = local(one["value"]) if "value" in one else self._from(key, one["valueFrom"])
        # A pod listens everywhere, in a network of its own; here, on an address of its own.
        environment["RELAY_HTTP__HOST"] = environment["RELAY_PROJECTION_HTTP__HOST"] = address
        command = [local(word) for word in [*spec["command"], *spec.get("args", [])]]
        found = shutil.which(command[0], path=environment["PATH"])
        assert found is not None, f"{command[0]} is not in the image"
        return _Container(
            spec,
            [found, *command[1:]],
            environment,
            directory / "logs" / spec["name"],
            sidecar=spec.get("restartPolicy") == "Always",
        )

    def _from(self, key: Key, source: dict[str, Any]) -> str:
        reference = source["secretKeyRef"]
        return self._secret(key.namespace, reference["name"], reference["key"]).decode()

    def _advance(self, key: Key, pod: _Pod, *, going: bool) -> None:
        for container in pod.all:
            self._reap(key, container)
        if going:
            self._wind_down(key, pod)
            return
        if self._begun(pod):
            for container in pod.then:
                self._keep_running(pod, container)
            if pod.spec.get("restartPolicy", "Always") != "Always" and all(one.code is not None for one in pod.then):
                # The work is done: what runs beside it is told to go.
                for container in pod.first:
                    self._tell(container)
        for container in pod.all:
            self._probe(pod, container)
        status = _status(pod)
        self._store.update(key, lambda one: one.update(status=status))

    def _begun(self, pod: _Pod) -> bool:
        """Start the init containers one after another; true if all have ended well, or run beside the others."""
        for container in pod.first:
            if container.sidecar:
                self._keep_running(pod, container)
                if container.process is None or ("startupProbe" in container.spec and not container.started):
                    return False
            elif container.code != 0:
                self._keep_running(pod, container)
                return False
        return True

    def _keep_running(self, pod: _Pod, container: _Container) -> None:
        always = container.sidecar or pod.spec.get("restartPolicy", "Always") == "Always"
        ended = container.code is not None
        if container.process is not None or container.told_at is not None or (ended and not always):
            return
        if ended and time.monotonic() - container.ended_at < _RESTART_AFTER_S:
            return
        container.started = container.ready = False
        container.failures = container.misses = 0
        container.code = None
        with container.log.open("ab") as log:
            container.process = subprocess.Popen(
                container.command, env=container.environment, cwd=pod.directory, stdout=log, stderr=log
            )

    def _reap(self, key: Key, container: _Container) -> None:
        if container.process is None or container.process.poll() is None:
            return
        container.code, container.process = container.process.returncode, None
        container.ended_at, container.ready = time.monotonic(), False
        told_s = None if container.told_at is None else container.ended_at - container.told_at
        self.ended.append(Ended(key.name, container.name, container.code, container.killed, told_s))

    def _tell(self, container: _Container) -> None:
        if container.process is not None and container.told_at is None:
            container.told_at = time.monotonic()
            container.process.send_signal(signal.SIGTERM)

    def _wind_down(self, key: Key, pod: _Pod) -> None:
        """SIGTERM, to the sidecars when the others are gone; SIGKILL when the time is over; then the pod is gone."""
        pod.going_since = pod.going_since or time.monotonic()
        over = time.monotonic() - pod.going_since > pod.spec.get("terminationGracePeriodSeconds", 30)
        for container in pod.then:
            self._tell(container)
        if all(one.process is None for one in pod.then):
            for container in pod.first:
                self._tell(container)
        for container in pod.all:
            if over and container.process is not None:
                container.killed = True
                container.process.kill()
        if all(one.process is None for one in pod.all):
            del self._pods[key]
            self._store.remove(key)

    def _probe(self, pod: _Pod, container: _Container) -> None:
        """Ask the probes of a container: startup until it has succeeded, then liveness and readiness."""
        if container.process is None:
            return
        readiness, alive = (container.spec.get(f"{which}Probe", {}) for which in ("readiness", "liveness"))
        period_s = readiness.get("periodSeconds", 10) if container.ready else _PROBE_PERIOD_S
        if time.monotonic() - container.probed_at > period_s:
            container.probed_at = time.monotonic()
            if not container.started:
                container.started = self._asked(pod, container, "startupProbe")
                return
            container.misses = 0 if self._asked(pod, container, "readinessProbe") else container.misses + 1
            if container.misses in (0, readiness.get("failureThreshold", 3)):
                container.ready = container.misses == 0
        if container.started and time.monotonic() - container.lived_at > alive.get("periodSeconds", 10):
            container.lived_at = time.monotonic()
            container.failures = 0 if self._asked(pod, container, "livenessProbe") else container.failures + 1
            if container.failures >= alive.get("failureThreshold", 3):
                container.process.terminate()

    def _asked(self, pod: _Pod, container: _Container, which: str) -> bool:
        if which not in container.spec:
            return True
        probe = container.spec[which]
        asked, timeout_s = probe["httpGet"], probe.get("timeoutSeconds", 1)
        port = next(one["containerPort"] for one in container.spec["ports"] if one["name"] == asked["port"])
        try:
            with urllib.request.urlopen(f"http://{pod.address}:{port}{asked['path']}", timeout=timeout_s):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False


def _status(pod: _Pod) -> dict[str, Any]:
    codes = [one.code for one in pod.then]
    once = pod.spec.get("restartPolicy", "Always") != "Always"
    if once and any(codes):
        phase = "Failed"
    elif once and all(code == 0 for code in codes):
        phase = "Succeeded"
    else:
        phase = "Running" if any(one.process for one in pod.then) else "Pending"
    ready = (
        phase == "Running" and all(one.ready for one in pod.then) and all(one.ready for one in pod.first if one.sidecar)
    )
    return {
        "phase": phase,
        "podIP": pod.address,
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }
