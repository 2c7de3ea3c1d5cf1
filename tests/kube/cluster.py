"""The whole of it: a cluster for one test."""

import base64
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.kube.apiserver import ApiServer
from tests.kube.controllers import Controllers, is_ready
from tests.kube.kubelet import Kubelet
from tests.kube.store import PODS, Key, Object, Store
from tests.support.fix_helm import helm

NAMESPACE = "shop"
_STEP_S = 0.05
# How long helm waits. It is there for what never comes: on a laden machine an install has taken more than 90 s. The
# limit of the test is longer, so that what the pods have written is told.
_PATIENCE = "4m"
_WAITING = {"install", "upgrade", "rollback", "test", "uninstall"}


class Cluster:
    """An API server with somebody behind it who acts on what it holds; one namespace, "shop".

    Attributes:
        fewest_ready: How few pods of the Deployment were ready at one time, since `watch_readiness`.
    """

    def __init__(self, directory: Path, version: str = "1.37") -> None:
        self.store = Store()
        self.kubelet = Kubelet(self.store, directory / "pods")
        self.fewest_ready = 0
        self._controllers = Controllers(self.store)
        self._api = ApiServer(self.store, version, self.kubelet.log)
        self._kubeconfig = directory / "kubeconfig"
        self._stop = threading.Event()
        self._executor = ThreadPoolExecutor(1, "cluster")
        self._running: Future[None] | None = None

    def __enter__(self) -> "Cluster":
        self._api.__enter__()
        entries = {
            "clusters": [{"name": "test", "cluster": {"server": self._api.url}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE}}],
        }
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "test", **entries}
        self._kubeconfig.write_text(json.dumps(config), "utf-8")
        self._running = self._executor.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._executor.shutdown()
        self.kubelet.stop()
        self._api.__exit__()
        if self._running is not None:
            self._running.result()

    def _run(self) -> None:
        while not self._stop.wait(_STEP_S):
            self._controllers.step()
            self.kubelet.step()
            self.fewest_ready = min(self.fewest_ready, len(self.ready_pods()))

    def helm(
        self, *args: str, values: Mapping[str, Any] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run helm against this cluster; it waits as long as a test may."""
        patience = ("--timeout", _PATIENCE) if args[0] in _WAITING else ()
        done = helm(*args, *patience, "--namespace", NAMESPACE, values=values, check=False, kubeconfig=self._kubeconfig)
        assert done.returncode == 0 or not check, self._told(done)
        return done

    def _told(self, done: subprocess.CompletedProcess[str]) -> str:
        ended = self._running is not None and self._running.done() and self._running.exception()
        return f"{done.stdout}\n{done.stderr}\n{ended or ''}\n{self.logs()[-5000:]}"

    def logs(self) -> str:
        """Return what the pods that are there have written."""
        return "".join(self.kubelet.log(at.name) for at in self.store.find(PODS))

    def secret(self, name: str, **items: str) -> None:
        """Put a Secret in."""
        data = {key.replace("__", "."): base64.b64encode(text.encode()).decode() for key, text in items.items()}
        self.store.create(
            Key("v1/secrets", NAMESPACE, name), {"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": data}
        )

    def there(self) -> set[tuple[str, str]]:
        """Return kind and name of everything but Secrets."""
        return {
            (str(one["kind"]), key.name)
            for resource in {key.resource for key in self.store.all_keys()} - {"v1/secrets"}
            for key, one in self.store.find(resource).items()
        }

    def ready_pods(self) -> dict[str, Object]:
        """Return the pods of Deployments that are ready, by name."""
        pods = self.store.find(PODS, is_ready)
        return {at.name: pod for at, pod in pods.items() if "ownerReferences" in pod["metadata"]}

    def watch_readiness(self) -> None:
        """Begin to count how few pods are ready."""
        self.fewest_ready = len(self.ready_pods())


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, with nothing in it."""
    with Cluster(tmp_path) as one:
        yield one
