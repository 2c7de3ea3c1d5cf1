"""What speaks to the API of an example."""

import json
import urllib.error
import urllib.request
from typing import Any


class Client:
    """Speaks to the API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Send a request; return status, body and headers."""
        known = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, known)  # noqa: S310  # our own server
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  # our own server
                return answer.status, json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error), dict(error.headers)
