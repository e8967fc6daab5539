"""From a study, a preset and a command line to the runs that are to be done, as a value and as `plan.json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import execution
from experiments.data.sources import canonical as source_names
from experiments.spec import (
    ExperimentSpec,
    changed,
    components,
    flatten,
    prefix_id,
    problems_of,
    to_config,
)
from studies.baselines import Preset
from studies.design import Arm, Study
from uflow import registry

FORMAT = 1


class PlanError(ValueError):
    """A plan that cannot be made; the message says why and what is possible."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line wants of a study.

    Attributes:
        preset: where the arms start from.
        seeds: the same for every arm.
        changes: `--set`, text by dotted key.
        arms: labels, or empty for all.
    """

    preset: Preset
    seeds: tuple[int, ...]
    changes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    arms: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a study."""

    arm: str
    seed: int
    spec: ExperimentSpec

    @property
    def directory(self) -> str:
        """Name of its directory under `runs/`."""
        return self.spec.directory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs of a study, seeds outermost, so that a study cut short still compares all arms."""

    study: Study
    preset: Preset
    changes: Mapping[str, str]
    runs: tuple[PlannedRun, ...]
    note: str = ""

    @property
    def shared_steps(self) -> tuple[int, ...]:
        """Steps until which runs of one seed may train the same, ascending."""
        steps = {s for run in self.runs for s in components(run.spec).starts(run.spec.train.steps)}
        return tuple(sorted(s for s in steps if self._common(s)))

    def _common(self, step: int) -> bool:
        names = [prefix_id(run.spec, step) for run in self.runs if step < run.spec.train.steps]
        return len(set(names)) < len(names)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that are tabulated, the deciding one first."""
        spec = self.runs[0].spec
        data = source_names(spec.evaluation.source or spec.data.source).replace(";", "+")
        pairs = execution.open_pairs(spec, "evaluation", "test")
        kinds = ("all", "noc", "occ") if "occlusion" in pairs.provides else ("all",)
        if self.study.metric not in kinds:
            raise PlanError(
                f"study {self.study.name!r} decides by the end-point error over {self.study.metric!r} pixels, which"
                f" {data} does not tell apart (it has: {', '.join(kinds)})"
            )
        ordered = [self.study.metric, *(k for k in kinds if k != self.study.metric)]
        return tuple(f"epe/{data}/{kind}" for kind in ordered)

    def plain(self) -> dict[str, Any]:
        """The content of `plan.json`."""
        metrics = self.metrics
        labels = [arm.label for arm in self.study.arms if any(run.arm == arm.label for run in self.runs)]
        arms = [
            {
                "label": label,
                "changes": dict(self.study.arm(label).changes),
                "runs": {str(run.seed): run.directory for run in self.runs if run.arm == label},
            }
            for label in labels
        ]
        return {
            "format": FORMAT,
            "study": self.study.name,
            "question": self.study.question,
            "preset": self.preset.name,
            "changes": {k: source_names(v) if k.endswith(".source") else v for k, v in self.changes.items()},
            "metrics": list(metrics),
            "metric": metrics[0],
            "baseline": self.study.baseline,
            "protocol": self.runs[0].spec.evaluation.protocol,
            "seeds": sorted({run.seed for run in self.runs}),
            "arms": arms,
        }


def make(study: Study, asked: Asked) -> Plan:
    """The runs that a command asks for; nothing is written.

    Raises:
        PlanError: naming every arm and option that cannot be used.
        experiments.data.pairs.DataError: if the data is missing or damaged.
    """
    labels = asked.arms or tuple(arm.label for arm in study.arms)
    chosen = [study.arm(label) for label in labels]
    if study.baseline not in labels:
        chosen.insert(0, study.arm(study.baseline))
    chosen.sort(key=study.arms.index)
    start, specs, problems = asked.preset.spec, {}, []
    used: set[str] = set()
    for arm in chosen:
        try:
            spec, taken = _arm_spec(start, study, arm, asked)
            used |= taken
            problems += [f"arm {arm.label!r}: {p}" for p in problems_of(spec)]
            specs[arm.label] = spec
        except ValueError as error:
            problems += [line for line in str(error).splitlines()]
    problems += [_unused(key, specs) for key in asked.changes if key not in used and specs]
    if problems:
        raise PlanError("\n".join(dict.fromkeys(problems)))
    _refuse_twins(specs)
    completed: dict[tuple[Any, ...], ExperimentSpec] = {}
    for label, spec in specs.items():
        key = (json.dumps(to_config(spec)["data"], sort_keys=True), json.dumps(to_config(spec)["evaluation"]))
        if key not in completed:
            completed[key] = execution.with_digests(spec)
        known = completed[key]
        specs[label] = dataclasses.replace(spec, data=known.data, evaluation=known.evaluation)
    runs = tuple(
        PlannedRun(arm=label, seed=seed, spec=dataclasses.replace(spec, seed=seed))
        for seed in asked.seeds
        for label, spec in specs.items()
    )
    notes = {
        note
        for spec in completed.values()
        for part, split in (("data", "train"), ("evaluation", "test"))
        if (note := execution.open_pairs(spec, part, split).note)
    }
    plan = Plan(study=study, preset=asked.preset, changes=dict(asked.changes), runs=runs, note="; ".join(sorted(notes)))
    plan.metrics  # noqa: B018  refuses a metric that the data cannot give
    return plan


def _arm_spec(start: ExperimentSpec, study: Study, arm: Arm, asked: Asked) -> tuple[ExperimentSpec, set[str]]:
    """The spec of an arm, and which of the changes asked for it could use.

    A change of a component's option is for the arms that have the component's option.
    """
    changes: dict[str, Any] = dict(study.changes) | dict(arm.changes)
    plain = {k: v for k, v in asked.changes.items() if k.split(".")[0] not in registry.AXES or k.endswith(".name")}
    plain = {k: v for k, v in plain.items() if k not in arm.changes}
    spec = changed(start, changes | plain, asked.preset.usual)
    has = set(flatten(to_config(spec)))
    fitting = {k: v for k, v in asked.changes.items() if k not in plain and k in has and k not in arm.changes}
    return changed(spec, fitting), set(plain) | set(fitting)


def _unused(key: str, specs: Mapping[str, ExperimentSpec]) -> str:
    known = sorted({k for spec in specs.values() for k in flatten(to_config(spec)) if k != "format"})
    if key in known:
        return f"{key!r} is what the arms of this study differ in, so it cannot be set for all of them"
    return f"unknown option {key!r}{registry.did_you_mean(key, known)}; no arm of this study has it"


def _refuse_twins(specs: Mapping[str, ExperimentSpec]) -> None:
    seen: dict[str, str] = {}
    for label, spec in specs.items():
        if (other := seen.setdefault(spec.run_id, label)) != label:
            raise PlanError(f"arms {other!r} and {label!r} are the same experiment")


def in_order(plan: Plan, workers: int) -> list[PlannedRun]:
    """The runs in the order in which workers should take them.

    The first runs of a seed train what its other runs share. With as many seeds under way as there are workers, no
    worker has to wait for another one's shared part.
    """
    by_seed: dict[int, list[PlannedRun]] = {}
    for run in plan.runs:
        by_seed.setdefault(run.seed, []).append(run)
    groups = list(by_seed.values())
    ordered = []
    for begin in range(0, len(groups), max(1, workers)):
        some = groups[begin : begin + max(1, workers)]
        ordered += [group[0] for group in some] + [run for group in some for run in group[1:]]
    return ordered


def parse_seeds(text: str) -> tuple[int, ...]:
    """`5` is the seeds 0 to 4; `0,1,7` are these seeds."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words):
        raise PlanError(f"--seeds must be a number of seeds, as in 5, or a list, as in 0,1,7, got {text!r}")
    if len(words) == 1 and "," not in text:
        if not 1 <= int(words[0]) <= 10_000:
            raise PlanError(f"--seeds must be at least 1 and at most 10000, got {text}")
        return tuple(range(int(words[0])))
    numbers = tuple(int(word) for word in words)
    if len(set(numbers)) < len(numbers):
        raise PlanError(f"--seeds names a seed twice: {text}")
    return numbers


def estimate(plan: Plan, todo: Sequence[PlannedRun], workers: int) -> float:
    """Seconds that the pending runs will take, from the preset's measured speed."""
    done: set[str] = set()
    total = 0.0
    for run in todo:
        spec = run.spec
        steps, first = spec.train.steps, 0
        for shared in plan.shared_steps:
            if shared < steps:
                name = prefix_id(spec, shared)
                if name in done:
                    first = shared
                done.add(name)
        total += plan.preset.seconds_per_run + (steps - first) * plan.preset.ms_per_step / 1000
    return total / max(1, min(workers, len(todo) or 1))
