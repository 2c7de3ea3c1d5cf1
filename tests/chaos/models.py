"""Judge the read models of a run: each is the fold of the stream for each key, up to where it says it is. Pure.

What the stream must hold of the outbox is the business of `tests.chaos.checker`. An event that is twice in the stream
is owed to a model once, at its first place.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.history import Applied, History, Standing, Stored, Transaction

_STREAM = "ORDERS"
_FLOWS = ("running", "waiting")


@dataclass
class ModelFindings:
    """What is wrong with the read models; each a list of lines that name the event.

    Attributes:
        missed: Settled by its position, and not in the model.
        twice: More than once in the model.
        foreign: In the model, and nothing that the stream holds up to its position, or at another key.
        reordered: Applied in another order than the stream's, within a key.
        behind: Not at the end of the stream when everything had come to rest, though it had not stopped.
        stopped: It has stopped: no fault of this run gives it a reason to.
    """

    missed: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


def judge(history: History) -> ModelFindings:
    """Hold every read model against the stream; without any nothing is found."""
    findings = ModelFindings()
    keys = {insert.id: insert.key for one in history.of(Transaction) for insert in one.inserts}
    stored = sorted((one for one in history.of(Stored) if one.stream == _STREAM), key=lambda one: one.seq)
    last = stored[-1].seq if stored else 0
    standings: dict[str, list[Standing]] = defaultdict(list)
    for standing in history.of(Standing):
        standings[standing.projection].append(standing)
        name = f"{standing.projection}/{standing.partition}"
        if standing.status not in _FLOWS:
            findings.stopped.append(f"{name} is {standing.status} at {standing.position}: {standing.error}")
        elif standing.position < last:
            findings.behind.append(f"{name} is {standing.status} at {standing.position} of {last}: {standing.error}")
    models: dict[str, list[Applied]] = {name: [] for name in standings}
    for applied in history.of(Applied):
        models[applied.projection].append(applied)
    for name, model in models.items():
        positions = {one.partition: one.position for one in standings[name]}
        _compare(name, _owed(stored, keys, positions, standings[name][0].partitions), model, findings)
    return findings


def _owed(
    stored: Iterable[Stored], keys: Mapping[str, str | None], positions: Mapping[int, int], partitions: int
) -> dict[str | None, list[str]]:
    """Return the ids that a model owes of each key, in their order."""
    owed: dict[str | None, list[str]] = defaultdict(list)
    met: set[str] = set()
    for message in stored:
        if message.id in keys and message.id not in met:
            met.add(message.id)
            key = keys[message.id]
            partition = zlib.crc32((message.id if key is None else key).encode()) % partitions
            if message.seq <= positions[partition]:
                owed[key].append(message.id)
    return owed


def _compare(
    name: str, owed: Mapping[str | None, Sequence[str]], model: Sequence[Applied], findings: ModelFindings
) -> None:
    held: dict[str | None, list[str]] = defaultdict(list)
    for applied in model:
        held[applied.key].append(applied.id)
    for key in owed.keys() | held.keys():
        want, have = owed.get(key, ()), held.get(key, [])
        times = Counter(have)
        place = f"{name}, key {key}"
        findings.missed += [f"{id_} in {place}" for id_ in want if id_ not in times]
        findings.twice += [f"{id_} in {place}: {count} times" for id_, count in times.items() if count > 1]
        known = set(want)
        findings.foreign += [f"{id_} in {place}" for id_ in times if id_ not in known]
        # Order is owed to a key alone; what is missing or foreign is said already.
        if key is not None:
            both = [id_ for id_ in want if id_ in times]
            firsts = [id_ for id_ in times if id_ in known]
            wrong = [(one, other) for one, other in zip(both, firsts, strict=True) if one != other]
            findings.reordered += [f"{other} where {one} was due in {place}" for one, other in wrong[:1]]
