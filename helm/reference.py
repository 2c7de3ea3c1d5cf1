"""What in the chart is made from other files: ``python helm/reference.py``.

README.md gets its table of values from values.yaml, whose comments it shows. values.schema.json gets the settings of
the relay (`config`) from `relay.config.settings`, so that a typo in them is refused by helm; the rest is written by
hand. files/settings.json has their names, so that a typo in a variable of the environment is refused as well.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from relay.config.settings import Settings

CHART = Path(__file__).parent / "outbox-relay"
_BEGIN, _END = "<!-- values -->\n", "<!-- end of values -->\n"
# Characters of a default that is shown in one line, if no part of it has a comment of its own.
_WHOLE = 130


@dataclass(frozen=True)
class Value:
    """One value of the chart: its path with dots, its default as YAML, and what its comment says."""

    path: str
    default: str
    text: str


def values(text: str) -> list[Value]:
    """Return the values of a values.yaml, those with a comment of their own and those that hold nothing further."""
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise TypeError("values.yaml holds no mapping")
    return list(_walk(root, "", text.splitlines()))


def _walk(node: yaml.MappingNode, path: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        own, said = f"{path}{key.value}", _comment(lines, key.start_mark.line)
        default = json.dumps(_constructed(value), separators=(", ", ": "))
        if isinstance(value, yaml.MappingNode) and value.value:
            parts = list(_walk(value, f"{own}.", lines))
            if len(default) > _WHOLE or any(part.text for part in parts):
                if said:
                    yield Value(own, "", said)
                yield from parts
                continue
        yield Value(own, default, said)


def _constructed(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _comment(lines: list[str], at: int) -> str:
    found: list[str] = []
    while at > 0 and lines[at - 1].lstrip().startswith("#"):
        at -= 1
        found.insert(0, lines[at].strip().removeprefix("#").strip())
    return " ".join(found)


def table(text: str) -> str:
    """Write the values down as a table in Markdown."""
    rows = [f"| `{one.path}` | {_code(one.default)} | {one.text.replace('|', chr(92) + '|')} |" for one in values(text)]
    return "\n".join(["| value | default | |", "|---|---|---|", *rows]) + "\n"


def _code(default: str) -> str:
    return f"`{default}`" if default else ""


def readme(chart: Path = CHART) -> str:
    """Return README.md with the table of today's values in it."""
    before, _, rest = (chart / "README.md").read_text("utf-8").partition(_BEGIN)
    return before + _BEGIN + table((chart / "values.yaml").read_text("utf-8")) + _END + rest.partition(_END)[2]


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of the relay's settings by section, as helm reads it."""
    full = Settings.model_json_schema()
    sections = {}
    for section, reference in full["properties"].items():
        fields = full["$defs"][reference["$ref"].rpartition("/")[2]]["properties"]
        sections[section] = _section({name: _field(field) for name, field in fields.items()})
    for section in ("http", "projection_http"):
        sections[section]["properties"]["port"]["minimum"] = 1
    return _section(sections)


def _section(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _field(field: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in field.items() if name not in ("title", "default", "format", "writeOnly")}
    if "anyOf" in kept:
        return next(_field(one) for one in kept["anyOf"] if one.get("type") != "null")
    # The relay takes a text with commas for a list, as it does in the environment.
    return {"anyOf": [kept, {"type": "string"}]} if kept.get("type") == "array" else kept


def schema(chart: Path = CHART) -> str:
    """Return values.schema.json with today's settings in it."""
    whole = json.loads((chart / "values.schema.json").read_text("utf-8"))
    whole["properties"]["config"] = config_schema()
    return json.dumps(whole, indent=2) + "\n"


def names() -> str:
    """Return files/settings.json: the names of the relay's settings by section, for what comes by the environment."""
    known = {section: list(one["properties"]) for section, one in config_schema()["properties"].items()}
    return json.dumps(known, indent=2) + "\n"


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme(), "utf-8")
    (CHART / "values.schema.json").write_text(schema(), "utf-8")
    (CHART / "files" / "settings.json").write_text(names(), "utf-8")
