"""The options of a Debezium connector, as the file has them that configures it. Pure: no I/O."""

import json
import re

# A line of Java's properties: a name, and what follows the first = or :.
_PROPERTY = re.compile(r"\s*([\w.-]+)\s*[=:]\s*(.*?)\s*")
# A line of YAML: a plain or quoted name, and a value that is plain, quoted, or missing.
_YAML = re.compile(
    r"""\s*(?:"([\w.-]+)"|'([\w.-]+)'|([\w.-]+))\s*:(?:\s+(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|(.*?)))?\s*(?:\s#.*)?"""
)


def options_of(text: str) -> dict[str, str]:
    """Return the options of a connector.

    Args:
        text: Its JSON, the properties of Kafka Connect or of Debezium Server, or the YAML of a KafkaConnector.

    Raises:
        ValueError: It is none of them.
    """
    if text.lstrip().startswith(("{", "[")):
        return _json(text)
    if re.search(r"^\s*kind\s*:\s*[\"']?KafkaConnector\b", text, re.MULTILINE):
        return _yaml(text)
    lines = filter(None, map(_PROPERTY.fullmatch, re.sub(r"\\\r?\n\s*", "", text).splitlines()))
    # Java takes what is behind a backslash as it is, and Debezium Server a doubled $ for one.
    properties = {line[1]: re.sub(r"\\(.)", r"\1", line[2]).replace("$${", "${") for line in lines}
    if not properties or ("{" in text and "transforms" not in " ".join(properties)):
        raise ValueError("it is neither JSON nor properties; of a script, give the JSON alone")
    return {re.sub(r"^debezium\.(source\.)?", "", name): value for name, value in properties.items()}


def _json(text: str) -> dict[str, str]:
    found = json.loads(text)
    config = found.get("config", found) if isinstance(found, dict) else None
    options = config.items() if isinstance(config, dict) else ()
    if not options:
        raise ValueError("it is no JSON object with options")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in options}


def _yaml(text: str) -> dict[str, str]:
    """Read the flat mapping that the options of a KafkaConnector are."""
    options = {}
    for line in filter(None, map(_YAML.fullmatch, text.splitlines())):
        name = line[1] or line[2] or line[3]
        double, single, plain = line[4], line[5], line[6]
        if double is not None:
            value = re.sub(r"\\(.)", r"\1", double)
        else:
            value = single.replace("''", "'") if single is not None else plain or ""
        options["connector.class" if name == "class" else name] = value
    return options
