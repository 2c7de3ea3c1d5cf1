"""A real Prometheus and its promtool: installed ones, or those that `make test` has unpacked."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from relay.demo.servers import free_port, launch
from tests.support.fix_relay import ROOT, wait_until
from tests.support.programs import program

RULES = ROOT / "helm" / "outbox-relay" / "files" / "rules.yaml"
DASHBOARD = RULES.with_name("dashboard.json")


def promtool(*arguments: str, stdin: str = "") -> str:
    """Run promtool; return what it said, and fail the test if it is not content."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def panel_queries(**chosen: str) -> dict[str, list[str]]:
    """Return the queries of each panel of the dashboard, as Grafana asks them with these choices."""
    chosen = {"__rate_interval": "5m", **chosen}

    def asked(text: str) -> str:
        for name, value in chosen.items():
            text = text.replace(f"${name}", value)
        return text

    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return {
        panel["title"]: [asked(target["expr"]) for target in panel["targets"]]
        for panel in panels
        if panel["type"] != "row"
    }


class Prometheus:
    """A server that scrapes targets of one job and judges by the rules of the chart, every second."""

    def __init__(self, directory: Path, targets: Sequence[str]) -> None:
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "relay", "static_configs": [{"targets": list(targets)}]}],
        }
        file = directory / "prometheus.json"
        file.write_text(json.dumps(config), "utf-8")
        self._port = free_port()
        self._process = launch(
            [
                program("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            directory / "prometheus.log",
        )

    def _ask(self, path: str, **parameters: str) -> Any:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}{query}", timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, expression: str) -> list[float]:
        """Return the values of an instant query."""
        data = self._ask("query", query=expression)
        return [float(series["value"][1]) for series in data["result"]] if data else []

    def firing(self) -> set[tuple[str, str]]:
        """Return name and severity of each alert that fires."""
        data = self._ask("alerts")
        assert data is not None, "Prometheus does not answer"
        return {
            (alert["labels"]["alertname"], alert["labels"]["severity"])
            for alert in data["alerts"]
            if alert["state"] == "firing"
        }

    def unhealthy(self) -> list[str]:
        """Return the rules that could not be judged yet, or cannot be."""
        data = self._ask("rules")
        if data is None:
            return ["no answer"]
        return [rule["name"] for group in data["groups"] for rule in group["rules"] if rule["health"] != "ok"]

    def scrapes(self) -> None:
        """Wait until the target was scraped."""
        wait_until("Prometheus scrapes the relay", lambda: set(self.query('up{job="relay"}')) == {1.0})

    def end(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(20)


MakePrometheus = Callable[..., Prometheus]


@pytest.fixture
def make_prometheus(tmp_path: Path) -> Iterator[MakePrometheus]:
    """Make servers: ``make_prometheus("127.0.0.1:9464")``; they end with the test."""
    made: list[Prometheus] = []

    def make(*targets: str) -> Prometheus:
        directory = tmp_path / f"prometheus{len(made)}"
        directory.mkdir()
        made.append(Prometheus(directory, targets))
        return made[-1]

    yield make
    for one in made:
        one.end()
