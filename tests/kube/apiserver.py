"""The objects over HTTP, as far as helm asks: discovery, read, write, patch, delete, watch, logs."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import jsonschema
import kubernetes_validate

from tests.kube import wire
from tests.kube.patches import json_merge, strategic_merge
from tests.kube.store import AlreadyThere, Change, Key, Missing, Object, Store

# Group and version to plural and kind.
RESOURCES = {
    "v1": {
        "pods": "Pod",
        "secrets": "Secret",
        "configmaps": "ConfigMap",
        "serviceaccounts": "ServiceAccount",
        "services": "Service",
    },
    "apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet"},
    "batch/v1": {"jobs": "Job"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "monitoring.coreos.com/v1": {"podmonitors": "PodMonitor", "prometheusrules": "PrometheusRule"},
}
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
_PATCHES = {
    "application/strategic-merge-patch+json": strategic_merge,
    "application/merge-patch+json": json_merge,
}
_OPENAPI = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": message,
        }  # fmt: skip


class ApiServer:
    """Serves a store on a free port of loopback.

    Args:
        version: Of Kubernetes, such as "1.37": what it says it is, and whose schemas it holds objects against.
        log: Gives what a pod has written.
    """

    def __init__(self, store: Store, version: str, log: Callable[[str], str]) -> None:
        self.store = store
        self.version = version
        self.log = log
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="apiserver")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def stopping(self) -> bool:
        """Whether watchers are to end."""
        return self._stopping.is_set()

    def __enter__(self) -> "ApiServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def discovery(self, path: str) -> Object | None:
        """Answer what there is."""
        groups = [group.rpartition("/") for group in RESOURCES if "/" in group]
        if path == "/version":
            major, minor = self.version.split(".")
            return {"major": major, "minor": minor, "gitVersion": f"v{self.version}.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            versions = [{"groupVersion": f"{group}/{version}", "version": version} for group, _, version in groups]
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [
                    {"name": group, "versions": [one], "preferredVersion": one}
                    for (group, _, _), one in zip(groups, versions, strict=True)
                ],
            }
        group = path.removeprefix("/apis/").removeprefix("/api/")
        if group not in RESOURCES:
            return None
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group,
            "resources": [
                {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": _VERBS}
                for plural, kind in RESOURCES[group].items()
            ],
        }

    def check(self, given: Object) -> None:
        """Hold an object against the schema of its kind, as strict field validation does."""
        if given["apiVersion"].startswith("monitoring.coreos.com/"):
            return
        try:
            kubernetes_validate.validate(given, self.version, strict=True)
        except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
            raise Refused(
                422, "Invalid", f"{given['kind']} {given['metadata'].get('name')}: {error.message}"
            ) from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: ApiServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._create)

    def do_PUT(self) -> None:
        self._answer(self._replace)

    def do_PATCH(self) -> None:
        self._answer(self._patch)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def _answer(self, work: Callable[[Key, bytes], Object | None]) -> None:
        """Do the work; None: it has answered itself."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path.rstrip("/")
        try:
            if path == "/openapi/v2":
                self._send(200, b"", _OPENAPI)
                return
            found = self.server.api.discovery(path) if self.command == "GET" else None
            answer = found or work(self._key(path), body)
        except Missing:
            answer = Refused(404, "NotFound", f"{path} not found").status
        except AlreadyThere:
            answer = Refused(409, "AlreadyExists", f"{path} already exists").status
        except Refused as refused:
            answer = refused.status
        if answer is not None:
            code = answer["code"] if answer.get("status") == "Failure" else 201 if self.command == "POST" else 200
            self._send(code, json.dumps(answer).encode(), "application/json")

    def _key(self, path: str) -> Key:
        match = _PATH.fullmatch(path)
        group = match and (match["core"] or match["group"])
        if match is None or group is None or match["plural"] not in RESOURCES.get(group, {}):
            raise Refused(404, "NotFound", f"the server could not find {path}")
        self._kind = RESOURCES[group][match["plural"]]
        self._group = group
        self._sub = match["sub"]
        return Key(f"{group}/{match['plural']}", match["namespace"] or "", match["name"] or "")

    def _get(self, key: Key, body: bytes) -> Object | None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if self._sub == "log":
            self._send(200, self.server.api.log(key.name).encode(), "text/plain")
            return None
        if key.name:
            return self.server.api.store.get(key)
        if "sendInitialEvents" in query:
            raise Refused(422, "Invalid", "a watch does not begin with a list here")
        selected = _selector(key, query)
        if query.get("watch") in ("true", "1"):
            self._watch(selected, int(query.get("resourceVersion") or 0))
            return None
        version = self.server.api.store.version
        items = [one for at, one in self.server.api.store.find(key.resource).items() if selected(at, one)]
        return {
            "kind": f"{self._kind}List",
            "apiVersion": self._group,
            "metadata": {"resourceVersion": str(version)},
            "items": items,
        }

    def _watch(self, selected: Callable[[Key, Object], bool], version: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for change in self._changes(version):
                if selected(change.key, change.object):
                    line = json.dumps({"type": change.type, "object": change.object}).encode() + b"\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")

    def _changes(self, version: int) -> Iterator[Change]:
        while not self.server.api.stopping:
            for change in self.server.api.store.after(version, 0.2):
                version = change.version
                yield change

    def _create(self, key: Key, body: bytes) -> Object:
        given = self._parsed(body)
        self.server.api.check(given)
        return self.server.api.store.create(key._replace(name=given["metadata"]["name"]), given)

    def _replace(self, key: Key, body: bytes) -> Object:
        given = self._parsed(body)
        return self.server.api.store.update(key, lambda _: given)

    def _patch(self, key: Key, body: bytes) -> Object:
        how = _PATCHES.get(self.headers["Content-Type"])
        if how is None:
            raise Refused(415, "UnsupportedMediaType", f"no patch of type {self.headers['Content-Type']} here")
        patch = self._parsed(body)

        def change(current: Object) -> Object:
            changed = how(current, patch)
            self.server.api.check(changed)
            return changed

        return self.server.api.store.update(key, change)

    def _delete(self, key: Key, body: bytes) -> Object:
        return self.server.api.store.delete(key)

    def _parsed(self, body: bytes) -> Object:
        try:
            if self.headers["Content-Type"] == wire.CONTENT_TYPE and self._kind == "Secret":
                return wire.secret(body)
            parsed: Object = json.loads(body)
        except ValueError as error:
            raise Refused(415, "UnsupportedMediaType", f"not read: {self.headers['Content-Type']}") from error
        return parsed

    def _send(self, code: int, body: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: what helm says tells enough."""


def _selector(key: Key, query: dict[str, str]) -> Callable[[Key, Object], bool]:
    """Return what tells whether a request means an object."""
    labels = dict(pair.split("=", 1) for pair in query.get("labelSelector", "").replace("==", "=").split(",") if pair)
    fields = dict(pair.split("=", 1) for pair in query.get("fieldSelector", "").replace("==", "=").split(",") if pair)

    def selected(at: Key, one: Object) -> bool:
        return (
            at.resource == key.resource
            and key.namespace in ("", at.namespace)
            and labels.items() <= one["metadata"].get("labels", {}).items()
            and fields.get("metadata.name", at.name) == at.name
        )

    return selected
