"""How long runs take: by runs of the same shape that were made before, else by a table that was measured once.

`python -m benchmarks.costs` measures the table, `costs.json`, on the machine where it is called.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.records import json_files, layout
from experiments.spec import ExperimentSpec, digest, to_config
from studies.planning.planner import Plan, PlannedRun, new_steps
from studies.presets import PRESETS
from studies.queue import attempts
from uflow import registry

TABLE = pathlib.Path(__file__).with_name("costs.json")


@dataclasses.dataclass(frozen=True)
class RunCost:
    """What a run costs.

    Attributes:
        ms_per_step: a training step.
        seconds_per_run: all of it beside its steps: start, compiling, evaluation.
    """

    ms_per_step: float
    seconds_per_run: float


@dataclasses.dataclass(frozen=True)
class TimeEstimate:
    """How long the pending runs of a plan will take.

    Attributes:
        seconds: with all workers.
        saved_seconds: that sharing saves of it.
        source: what it was estimated from, a sentence.
    """

    seconds: float
    saved_seconds: float
    source: str


def shape(config: Mapping[str, Any], device: str) -> str:
    """Digest of what decides how long a step takes: device, network, size, batch, precision and components."""
    data, train = config["data"], config["train"]
    network = {key: value for key, value in config["network"].items() if key not in registry.KEPT}
    what = {"device": device, "network": network, "size": [data["height"], data["width"]]}
    what |= {"batch": train["batch_size"], "amp": train["amp"]}
    own = {axis: known.default for axis, known in registry.AXES.items() if not known.term or axis in config}
    return digest(what | {axis: config.get(axis, {}).get("name", default) for axis, default in own.items()})


def cost_of(config: Mapping[str, Any], cost: Mapping[str, Any]) -> RunCost | None:
    """What a finished run has cost, by its `spec.json` and `cost.json`; `None` if they do not tell."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        ms, steps = float(cost["ms_per_step"]), config["train"]["steps"] - cost["started_at_step"]
        if cost["attempts"] == 1 and ms > 0:
            return RunCost(ms, max(0.0, cost["seconds"] - steps * ms / 1000))
    return None


def _earlier(out: pathlib.Path) -> Iterator[tuple[str, RunCost]]:
    """Shape and cost of all completed runs in a directory: one that failed or was pruned has not taken all steps."""
    for directory in sorted(out.glob("runs/*")):
        with contextlib.suppress(json_files.RecordError, KeyError, TypeError):
            if layout.finished(directory) and attempts.failed(directory) is None:
                config, cost = (json_files.read_json(directory / name) for name in (layout.SPEC, layout.COST))
                if (found := cost_of(config, cost)) is not None:
                    yield shape(config, cost["device"]), found


def _median(costs: Sequence[RunCost]) -> RunCost:
    return RunCost(*(statistics.median(values) for values in zip(*map(dataclasses.astuple, costs), strict=True)))


@functools.cache
def table() -> Mapping[str, Any]:
    """The table that was measured: the machine, and a cost for each preset."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


@dataclasses.dataclass(frozen=True)
class Costs:
    """What runs cost on a device.

    Attributes:
        out: where earlier runs were looked for.
        device: `CPU`, `GPU` or `Ascend`.
        preset: name of the preset whose cost is taken where there are none.
        earlier: the median of the earlier runs, by shape.
        counts: how many these are, by shape.
    """

    out: pathlib.Path
    device: str
    preset: str
    earlier: Mapping[str, RunCost]
    counts: Mapping[str, int]

    def of(self, spec: ExperimentSpec) -> tuple[RunCost, str]:
        """The cost of a run, and the shape of the earlier runs that tell it, which is empty if none do.

        Without them a step costs what one of the preset does, by their numbers of pixels.
        """
        if known := self.earlier.get(key := shape(to_config(spec), self.device)):
            return known, key
        listed = RunCost(**table()["presets"][self.preset])
        share = _pixels(spec) / _pixels(PRESETS[self.preset].spec)
        return dataclasses.replace(listed, ms_per_step=share * listed.ms_per_step), ""


def _pixels(spec: ExperimentSpec) -> int:
    return spec.train.batch_size * spec.data.height * spec.data.width


def known(out: pathlib.Path, device: str, preset: str) -> Costs:
    """What the finished runs in a directory tell of the cost of others."""
    found: dict[str, list[RunCost]] = {}
    for key, cost in _earlier(out):
        found.setdefault(key, []).append(cost)
    medians, counts = ({key: of(costs) for key, costs in found.items()} for of in (_median, len))
    return Costs(out, device, preset, medians, counts)


def estimate(plan: Plan, todo: Sequence[PlannedRun], workers: int, costs: Costs) -> TimeEstimate:
    """How long the runs to do take, in the order in which they are done."""
    total = saved = 0.0
    told: list[str] = []
    for run, steps in zip(todo, new_steps(plan, todo), strict=True):
        cost, key = costs.of(run.spec)
        told += [key] * bool(key)
        total += cost.seconds_per_run + steps * cost.ms_per_step / 1000
        saved += (run.spec.train.steps - steps) * cost.ms_per_step / 1000
    at_once = max(1, min(workers, len(todo) or 1))
    return TimeEstimate(total / at_once, saved / at_once, _source(told, len(todo), costs))


def _source(told: Sequence[str], runs: int, costs: Costs) -> str:
    """What some runs were estimated from: earlier runs, of whose shapes they are, the table, or both."""
    earlier = sum(costs.counts[key] for key in set(told))
    parts = [f"by {earlier} earlier run{'s' * (earlier > 1)} of the same shape in {costs.out}"] if told else []
    if len(told) < runs:
        where = f"one core of {table()['machine']} for a pixel of preset {costs.preset}"
        parts.append(f"by what was measured on {where} (python -m benchmarks.costs)")
    return f" for {len(told)} of the {runs} runs, for the others ".join(parts)
