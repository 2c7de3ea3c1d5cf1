"""What in the chart is made from other files is up to date."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from relay import __version__
from tests.support.fix_relay import ROOT

CHART = ROOT / "helm" / "outbox-relay"


def test_readme_and_schema_are_those_of_the_values_and_settings(tmp_path: Path) -> None:
    made_by_it = ("README.md", "values.schema.json", "files/settings.json")
    before = {name: (CHART / name).read_text("utf-8") for name in made_by_it}
    made = tmp_path / "helm" / "outbox-relay"
    (made / "files").mkdir(parents=True)
    for name in ("README.md", "values.schema.json", "values.yaml"):
        (made / name).write_text((CHART / name).read_text("utf-8"), "utf-8")
    script = tmp_path / "helm" / "reference.py"
    script.write_text((ROOT / "helm" / "reference.py").read_text("utf-8"), "utf-8")
    subprocess.run([sys.executable, str(script)], check=True)
    assert {name: (made / name).read_text("utf-8") for name in before} == before, "run `make docs`"


def test_the_schema_knows_every_value_of_the_chart_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def compare(node: dict[str, object], value: object, path: str) -> None:
        reference = node.get("$ref")
        if isinstance(reference, str):
            node = schema["definitions"][reference.rpartition("/")[2]]
        properties = node.get("properties")
        if isinstance(properties, dict) and isinstance(value, dict):
            assert node["additionalProperties"] is False, path
            assert value.keys() <= properties.keys(), path
            for name, one in value.items():
                compare(properties[name], one, f"{path}.{name}")

    compare(schema, values, "values")
    assert schema["properties"].keys() - values.keys() == {"enabled", "global"}


def test_the_chart_has_the_version_of_the_relay() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
