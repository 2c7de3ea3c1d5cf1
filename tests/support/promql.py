"""What a PromQL query names, held against the table of metrics."""

import re
from collections.abc import Iterator, Mapping

import promql_parser
from promql_parser import AggregateExpr, BinaryExpr, Expr, MatchOp, VectorSelector

from tests.support.fix_relay import ROOT

# What Prometheus adds to every series, and what the chart's PodMonitor adds.
_OF_THE_TARGET = {"job", "instance", "namespace", "pod", "container", "endpoint"}
_ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \|(?P<labels>[^|]*)\| [^|]+ \|$", re.MULTILINE)
_LABEL = re.compile(r"`(\w+)`(?:: ([\w, ]+))?")

Labels = Mapping[str, frozenset[str]]


def table() -> dict[str, tuple[str, Labels]]:
    """Return type and labels of each metric in docs/reference/metrics.md, and the labels' values if it lists them."""
    return {
        row["name"]: (
            row["type"],
            {name: frozenset(re.findall(r"\w+", values)) for name, values in _LABEL.findall(row["labels"])},
        )
        for row in _ROW.finditer((ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8"))
    }


def documented() -> dict[str, Labels]:
    """Return the labels of each series that can be asked for."""
    series: dict[str, Labels] = {}
    for name, (kind, labels) in table().items():
        if kind == "histogram":
            series |= {f"{name}_sum": labels, f"{name}_count": labels}
            series[f"{name}_bucket"] = {**labels, "le": frozenset()}
        else:
            series[name] = labels
    return series


def faults(expression: str, known: Mapping[str, Labels]) -> list[str]:
    """Report what in a query Prometheus cannot parse, or names a series, a label or a value that nobody exports."""
    try:
        parsed = promql_parser.parse(expression)
    except ValueError as error:
        return [str(error)]
    nodes: list[Expr] = []
    promql_parser.walk(parsed, nodes.append)
    found: list[str] = []
    labels = set(_OF_THE_TARGET)
    for node in nodes:
        if isinstance(node, VectorSelector):
            name = node.name or ""
            labels |= set(known.get(name, ()))
            found += _faults_of_selector(name, node, known)
    return found + [f"no series of it has the label {name}" for name in _grouped(nodes) if name not in labels]


def _faults_of_selector(name: str, node: VectorSelector, known: Mapping[str, Labels]) -> Iterator[str]:
    if name not in known:
        if name != "up":
            yield f"no metric {name}"
        return
    for matcher in node.matchers.matchers:
        values = known[name].get(matcher.name)
        if matcher.name in _OF_THE_TARGET:
            continue
        if values is None:
            yield f"{name} has no label {matcher.name}"
            continue
        alternatives = matcher.value.split("|") if matcher.op in (MatchOp.Re, MatchOp.NotRe) else [matcher.value]
        yield from (
            f"{name} has no {matcher.name} {value}"
            for value in alternatives
            if values and value not in values and not value.startswith("$")
        )


def _grouped(nodes: list[Expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, AggregateExpr) and node.modifier is not None:
            yield from node.modifier.labels
        if isinstance(node, BinaryExpr) and node.modifier is not None:
            if node.modifier.matching is not None:
                yield from node.modifier.matching.labels
            yield from node.modifier.group_labels or ()
