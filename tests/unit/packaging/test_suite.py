"""What `make test` runs: everything."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_each_file_of_tests_is_in_a_folder_that_is_run() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    run = [ROOT / one for one in settings["testpaths"]]
    files = [file for folder in ("tests", "client") for file in (ROOT / folder).rglob("test_*.py")]
    assert len(files) > 300
    assert [file for file in files if not any(file.is_relative_to(one) for one in run)] == []
