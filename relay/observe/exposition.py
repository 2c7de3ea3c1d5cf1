"""Write metrics in the two text formats of Prometheus, byte for byte as prometheus_client does.

That library also brings servers, gateways and TLS of its own, which would be 1/10 of the memory of a relay at rest
(docs/design/decisions/0021-what-a-daemon-does-not-load.md). The tests compare what is written here with it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram", "info"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# What the names of the samples of a kind end with.
_SUFFIX = {"counter": "_total", "info": "_info", "gauge": ""}
# The text format writes a counter by the name of its samples, and knows no info.
_TEXT_KIND = {"info": "gauge"}


class Sample(NamedTuple):
    """One value of a metric.

    Attributes:
        name: That of the metric, with the suffix of its kind.
    """

    name: str
    labels: Mapping[str, str]
    value: float


class Family:
    """A metric and its samples.

    Args:
        kind: What it is for Prometheus.
        name: Without the suffix of its kind.
        text: Explains it, in one line.
        labels: The names of its labels.
    """

    __slots__ = ("_labels", "kind", "name", "samples", "text")

    def __init__(self, kind: Kind, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.kind = kind
        self.name = name
        self.text = text
        self._labels = labels
        self.samples: list[Sample] = []

    def add(self, value: float, *labels: str) -> "Family":
        """Add a sample, with the values of its labels; not to a histogram. Return the family."""
        named = dict(zip(self._labels, labels, strict=True))
        self.samples.append(Sample(self.name + _SUFFIX[self.kind], named, value))
        return self

    def add_buckets(self, buckets: Sequence[tuple[str, float]], total: float, *labels: str) -> "Family":
        """Add what a histogram has counted.

        Args:
            buckets: Cumulative counts by their upper bounds, of which the last is ``+Inf``.
            total: The sum of all values.
            labels: The values of its labels.
        """
        named = dict(zip(self._labels, labels, strict=True))
        for bound, count in buckets:
            self.samples.append(Sample(f"{self.name}_bucket", {**named, "le": bound}, count))
        self.samples.append(Sample(f"{self.name}_count", named, buckets[-1][1]))
        self.samples.append(Sample(f"{self.name}_sum", named, total))
        return self


def write(families: Iterable[Family], accept: str) -> tuple[str, bytes]:
    """Write metrics as an HTTP client wants them; return the type of the content, and it.

    Args:
        accept: Its header ``Accept``.
    """
    if _wants_openmetrics(accept):
        return OPENMETRICS, "".join([*map(_openmetrics, families), "# EOF\n"]).encode()
    return TEXT, "".join(map(_text, families)).encode()


def _wants_openmetrics(accept: str) -> bool:
    for part in accept.split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        if kind == "application/openmetrics-text" and not any(word.startswith("version=0") for word in parameters):
            return True
    return False


def _text(family: Family) -> str:
    name = family.name + _SUFFIX.get(family.kind, "")
    kind = _TEXT_KIND.get(family.kind, family.kind)
    head = f"# HELP {name} {_escaped(family.text)}\n# TYPE {name} {kind}\n"
    return head + "".join(map(_line, family.samples))


def _openmetrics(family: Family) -> str:
    text = _escaped(family.text).replace('"', r"\"")
    head = f"# HELP {family.name} {text}\n# TYPE {family.name} {family.kind}\n"
    return head + "".join(map(_line, family.samples))


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sorted(sample.labels.items()))
    return (
        f"{sample.name}{{{labels}}} {_number(sample.value)}\n" if labels else f"{sample.name} {_number(sample.value)}\n"
    )


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number(value: float) -> str:
    """Write a number as Go does: with an exponent from a million on."""
    number = float(value)
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if math.isnan(number):
        return "NaN"
    text = repr(number)
    dot = text.find(".")
    if number > 0 and dot > 6:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+{dot - 1:02d}"
    return text
