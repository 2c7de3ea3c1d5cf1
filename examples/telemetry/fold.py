"""What the read models must hold: the fold of what was committed. Pure: no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Stats:
    """Of a device or a region; numbers in thousandths, the time in Unix milliseconds."""

    count: int = 0
    sum_temperature_mc: int = 0
    sum_humidity_mp: int = 0
    last_seen_ms: int = 0

    def add(self, temperature_mc: int, humidity_mp: int, measured_at_ms: int) -> None:
        """Count one measurement."""
        self.count += 1
        self.sum_temperature_mc += temperature_mc
        self.sum_humidity_mp += humidity_mp
        self.last_seen_ms = max(self.last_seen_ms, measured_at_ms)


@dataclass
class Fold:
    """The statistics of each device and each region."""

    devices: dict[str, Stats] = field(default_factory=dict)
    regions: dict[str, Stats] = field(default_factory=dict)


def fold(payloads: Iterable[Mapping[str, Any]]) -> Fold:
    """Fold events of both versions."""
    found = Fold()
    for one in payloads:
        if "device_id" in one:
            device, region = one["device_id"], "unknown"
            numbers = (round(one["temperature"] * 1000), round(one["humidity"] * 1000), one["timestamp"] * 1000)
        else:
            device, region = one["device"], one["region"]
            numbers = (one["temperature_mc"], one["humidity_mp"], one["measured_at_ms"])
        found.devices.setdefault(device, Stats()).add(*numbers)
        found.regions.setdefault(region, Stats()).add(*numbers)
    return found
