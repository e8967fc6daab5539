"""The gate of a study: which seeds count is decided while the arms of a seed are one network still.

Networks that train from scratch do not all learn. Where the arms of a seed share a warm start and it has not learned to
match, no arm can show what it is good for. A gate that the study fixes beforehand leaves such seeds out, of all arms
alike, by a value that no arm has any part in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from experiments.records.plan import Gate
from experiments.records.run_record import RunRecord

Pair = tuple[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gating:
    """What came of a gate.

    Attributes:
        gate: the gate.
        values: what was looked at, by seed.
        records: the runs of the seeds that did not pass, by (arm, seed).
        problems: one sentence for every seed that could not be looked at, which counts.
    """

    gate: Gate
    values: Mapping[int, float]
    records: Mapping[Pair, RunRecord]
    problems: tuple[str, ...]

    @property
    def left_out(self) -> dict[int, float]:
        """The values of the seeds that did not pass."""
        return {seed: value for seed, value in self.values.items() if value > self.gate.limit}

    @property
    def plain(self) -> dict[str, Any]:
        """Everything as plain data, with what the runs of the left-out seeds found."""
        runs: dict[str, dict[str, Any]] = {}
        for (label, seed), record in self.records.items():
            known = {"run_id": record.run_id, "status": record.status, "metrics": dict(record.metrics)}
            runs.setdefault(label, {})[str(seed)] = known
        return {
            **dataclasses.asdict(self.gate),
            "values": {str(seed): value for seed, value in self.values.items()},
            "left_out": list(self.left_out),
            "runs_left_out": runs,
        }


def gating(
    gate: Gate, records: Mapping[Pair, RunRecord], curve: Callable[[Pair], Iterable[Mapping[str, Any]]]
) -> Gating:
    """Which seeds pass the gate, by the learning curves of their finished runs.

    Args:
        gate: the gate.
        records: what was found, by (arm, seed).
        curve: gives the lines of the learning curve of an (arm, seed).
    """
    values: dict[int, float] = {}
    problems = []
    of_seed: dict[int, list[Pair]] = {}
    for pair in records:
        of_seed.setdefault(pair[1], []).append(pair)
    for seed, runs in of_seed.items():
        found = {_value(gate, curve(pair)) for pair in runs} - {None}  # a damaged curve has lost it
        if len({value > gate.limit for value in found}) > 1:
            problems.append(f"seed {seed}: its arms differ at the gate already")
        elif not found:
            problems.append(f"seed {seed}: no {gate.metric} of validation pairs at step {gate.step}")
        else:
            values[seed] = max(found)  # they are equal on one machine, and nearly so on several
    out = {pair: record for pair, record in records.items() if values.get(pair[1], -math.inf) > gate.limit}
    return Gating(gate=gate, values=values, records=out, problems=tuple(f"gate: {p}; it counts" for p in problems))


def _value(gate: Gate, lines: Iterable[Mapping[str, Any]]) -> float | None:
    """The value at the gate's step, and no later one, for there the arms may have parted."""
    key = f"validation/{gate.metric}"
    found = (line.get(key) for line in lines if line["step"] == gate.step)
    return next((float(value) for value in found if isinstance(value, (int, float)) and math.isfinite(value)), None)
