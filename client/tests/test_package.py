"""The package brings nothing along, and says what is public."""

import subprocess
import sys
import zipfile
from pathlib import Path

from relay import __version__

import outbox_client

CLIENT = Path(__file__).parents[1]
LOADED = """
import sys
before = set(sys.modules)
import outbox_client
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""
# The slowest to import of what could be loaded. `python client/bench/publish.py` measures the time: at most 20 ms.
SLOW = {"asyncio", "ctypes", "dataclasses", "inspect", "platform", "typing", "uuid"}


def test_importing_it_loads_nothing_of_a_third_party() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout.split()
    assert set(loaded) - sys.stdlib_module_names == {"outbox_client"}


def test_importing_it_loads_nothing_slow() -> None:
    # Without site: a virtual environment's own files may load anything.
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(CLIENT)!r}); {LOADED}"]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert not SLOW & set(loaded)


def test_it_has_the_relays_version() -> None:
    assert outbox_client.__version__ == __version__


def test_what_is_public_is_listed() -> None:
    refusals = {"InvalidEvent", "KeyReused", "NotBegun", "NotInTransaction"}
    assert set(outbox_client.__all__) == {"Event", "Outbox", "__version__"} | refusals
    assert all(hasattr(outbox_client, name) for name in outbox_client.__all__)


def test_the_wheel_is_typed_holds_its_license_and_requires_nothing(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, cwd=CLIENT, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        info = f"outbox_client-{__version__}.dist-info"
        assert {name.split("/")[0] for name in built.namelist()} == {"outbox_client", info}
        assert {"outbox_client/py.typed", f"{info}/licenses/LICENSE"} <= set(built.namelist())
        required = [
            line for line in built.read(f"{info}/METADATA").decode().splitlines() if line.startswith("Requires-Dist")
        ]
    assert all("extra ==" in line for line in required)
