"""Pages that have a form keep it: decisions, the map of the rooms, the unit of systemd."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from relay.config.sections import DeliverySection
from relay.errors import Exit
from tests.support.fix_helm import only, render
from tests.support.fix_relay import ROOT

DECISIONS = ROOT / "docs" / "design" / "decisions"
PAGES = sorted(DECISIONS.glob("[0-9]*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_its_number_its_status_and_a_line_in_the_index(page: Path) -> None:
    text = page.read_text("utf-8")
    number = int(page.name[:4])
    found = re.match(
        rf"# {number}\. (.+)\n\nStatus: ((?:accepted|rejected|superseded by \d+), \d{{4}}-\d\d-\d\d)\n\n", text
    )
    assert found is not None, text[:200]
    status = found[2].partition(",")[0]
    assert f"| [{number}]({page.name}) | {found[1]} | {status} |" in (DECISIONS / "README.md").read_text("utf-8")


def test_no_two_decisions_have_one_number() -> None:
    numbers = [page.name[:4] for page in PAGES]
    assert numbers == sorted(set(numbers))


def test_every_module_and_folder_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|\.toml|/))`", text))
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "relay"))]
    assert named and not missing


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rooms = [path.parent.name for path in (ROOT / "relay").glob("*/__init__.py")]
    assert rooms and not [room for room in rooms if f"`{room}/`" not in text]


def test_the_values_of_the_kubernetes_guide_are_an_install() -> None:
    page = (ROOT / "docs" / "guides" / "kubernetes.md").read_text("utf-8")
    cluster, values = (
        yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    )
    found = render(values)
    job, relays = (only(found, kind)["spec"]["template"]["spec"] for kind in ("Job", "Deployment"))
    (of_the_job,) = job["volumes"][-1]["projected"]["sources"]
    assert of_the_job["secret"]["name"] == f"{cluster['metadata']['name']}-app"
    (of_the_relays,) = relays["volumes"][-1]["projected"]["sources"]
    assert of_the_relays["secret"]["name"] == "shop-outbox"


def test_the_hooks_of_pre_commit_are_local_and_run_what_the_venv_has() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert entries and all(entry.startswith(".venv/bin/") for entry in entries)


def test_each_way_to_install_that_the_readme_names_is_there() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme[readme.index("## Install") :].partition("\n## ")[0]
    ways = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    assert {"pip, pipx, uv", "container", "Helm", "systemd"} <= set(ways)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"`make ([a-z-]+)`", section)
    assert targets and not [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)]
    for folder in ("helm/outbox-relay", "packaging/outbox-relay.service"):
        assert folder in section and (ROOT / folder).exists()


def test_the_unit_of_systemd_keeps_its_secret_to_itself_and_stops_as_slowly_as_the_relay_may() -> None:
    unit = (ROOT / "packaging" / "outbox-relay.service").read_text("utf-8")
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    assert "LoadCredential=dsn:" in unit and "Environment=RELAY_POSTGRES__DSN_FILE=%d/dsn" in unit
    assert int(settings["TimeoutStopSec"]) > 3 * DeliverySection().shutdown_timeout_s
    assert settings["RestartPreventExitStatus"].split() == [str(int(Exit.CONFIG)), str(int(Exit.SCHEMA))]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze comes with systemd, which this machine does not have")
    unit = (ROOT / "packaging" / "outbox-relay.service").read_text("utf-8")
    program = "/opt/outbox-relay/bin/relay"
    assert unit.count(program) == 1
    copy = tmp_path / "outbox-relay.service"
    copy.write_text(unit.replace(program, sys.executable), "utf-8")
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "outbox-relay" in line]
    assert (done.returncode, said) == (0, [])
