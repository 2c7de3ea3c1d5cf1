"""What a command names is found: files, folders and classes; what is not, is told with everything else."""

import sys
from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.projection.sources import read_sources

MODULE = """
from relay.projection import Projection, on

class Alarms(Projection):
    name, stream, subjects = "alarms", "TELEMETRY", ["telemetry.ingested"]

    @on("telemetry.ingested")
    async def ingested(self, tx, event): ...

alarms = 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the folder that a command is called in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_read_models.py").write_text(MODULE, "utf-8")
    monkeypatch.delitem(sys.modules, "own_read_models", raising=False)
    return "own_read_models"


def test_a_class_is_found_by_its_module(module: str) -> None:
    (found,) = read_sources([f"{module}:Alarms"])
    assert (found.name, found.stream, len(found.handlers)) == ("alarms", "TELEMETRY", 1)


def test_every_fault_is_told_at_once(module: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_sources([f"{module}:alarms", f"{module}:Missing", "no_such_module:X", "no/such/folder"])
    assert [line.split(": ")[-1] for line in caught.value.lines] == [
        "is no subclass of relay.projection.Projection",
        "is no subclass of relay.projection.Projection",
        "there is no module no_such_module",
        "No such file or directory",
    ]
    assert caught.value.lines[-1] == "no/such/folder: cannot be read: No such file or directory"
