"""From a study, a preset and a command line to the runs that are to be done, as a value and as `plan.json`."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.data.catalog import canonical as source_names
from experiments.data.source_text import unplaced
from experiments.evaluation import regions
from experiments.execution import inputs
from experiments.records.metric_names import metric_name
from experiments.spec import (
    INITIAL,
    ExperimentSpec,
    changed,
    components,
    flatten,
    prefix_id,
    problems_of,
    to_config,
    with_seed,
)
from studies.design import EVERY, Arm, Study
from studies.presets import PRESETS, Preset
from studies.queue.pruning import PruningThresholds
from uflow import registry
from uflow.schedule import step_at

FORMAT = 1
LARGEST_SEED = 2**31 - 1


class PlanError(ValueError):
    """A plan that cannot be made; the message says why and what is possible."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What the command line wants of a study.

    Attributes:
        preset: where the arms start from.
        seeds: the same for every arm.
        changes: `--set`, text by dotted key.
        arms: labels, or `all`, or empty for those that the study runs by default in the preset.
    """

    preset: Preset
    seeds: tuple[int, ...]
    changes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    arms: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a study; `seed` is the study's, which the spec's differs from by the offset of the arm.

    A trial of a search has thresholds that it is pruned by.
    """

    arm: str
    seed: int
    spec: ExperimentSpec
    thresholds: PruningThresholds | None = None

    @functools.cached_property
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
    def labels(self) -> tuple[str, ...]:
        """Labels of the arms that have runs, in the study's order."""
        planned = {run.arm for run in self.runs}
        return tuple(label for label in self.study.labels if label in planned)

    @functools.cached_property
    def starts(self) -> tuple[PlannedRun, ...]:
        """The runs that others start from and that are those of no arm, each once, in the order in which they train."""
        found, own = {}, {run.directory for run in self.runs}
        for run in self.runs:
            for back, spec in enumerate(reversed(run.spec.starts), start=1):
                start = PlannedRun(arm=f"{'start of ' * back}{run.arm}", seed=run.seed, spec=spec)
                found.setdefault(start.directory, start)
        starts = (run for name, run in found.items() if name not in own)
        return tuple(sorted(starts, key=lambda run: len(run.spec.starts)))

    @functools.cached_property
    def all_runs(self) -> tuple[PlannedRun, ...]:
        """The runs of the arms, after those that they start from."""
        return self.starts + self.runs

    @property
    def groups(self) -> tuple[tuple[PlannedRun, ...], ...]:
        """The runs that may share training, those of a seed, in the order in which they should be done."""
        by_seed: dict[int, list[PlannedRun]] = {}
        for run in self.all_runs:
            by_seed.setdefault(run.seed, []).append(run)
        return tuple(map(tuple, by_seed.values()))

    @functools.cached_property
    def shared_steps(self) -> tuple[int, ...]:
        """Steps until which runs of one seed may train the same, ascending."""
        steps = {s for run in self.all_runs for s in components(run.spec).starts(run.spec.train.steps)}
        return tuple(sorted(s for s in steps if self._common(s)))

    def _common(self, step: int) -> bool:
        names = [prefix_id(run.spec, step) for run in self.all_runs if step < run.spec.train.steps]
        return len(set(names)) < len(names)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that are tabulated, the deciding one first."""
        spec = self.runs[0].spec
        data = source_names(spec.evaluation.source or spec.data.source)
        return tuple(metric_name(data, kind) for kind in _kinds(self.study, spec))

    @functools.cached_property
    def gate(self) -> dict[str, Any] | None:
        """Metric, step and limit that decide which seeds count; `None` if all do."""
        gate, spec = self.study.gates.get(self.preset.name), self.runs[0].spec
        if gate is None or self.gate_dropped:
            return None
        step = step_at(gate.at, spec.train.steps)
        together: dict[int, set[str]] = {}
        for run in self.runs:
            together.setdefault(run.seed, set()).add(prefix_id(run.spec, step))
        if any(len(names) > 1 for names in together.values()):
            return None
        return {
            "metric": metric_name(source_names(spec.data.source), "all"),
            "step": step,
            "limit": gate.limit,
        }

    @property
    def gate_dropped(self) -> tuple[str, ...]:
        """The changes that the limit of the study's gate says nothing about; empty if there is no gate or it stays.

        Other test pairs leave the training, and the validation that the gate looks at, as they are; another working
        size of the network does not.
        """
        if self.preset.name not in self.study.gates:
            return ()
        kept = ("evaluation.source", "evaluation.digest", "evaluation.protocol")
        return tuple(key for key in self.changes if key not in kept)

    def plain(self) -> dict[str, Any]:
        """The content of `plan.json`."""
        metrics = self.metrics
        arms = []
        for arm in self.study.chosen(self.labels):
            runs = {str(run.seed): run.directory for run in self.runs if run.arm == arm.label}
            special = {"seed_offset": arm.seed_offset, "against": arm.against}
            arms.append(
                {"label": arm.label, "changes": dict(arm.changes), "runs": runs}
                | {key: value for key, value in special.items() if value}
            )
        return {
            "format": FORMAT,
            "study": self.study.name,
            "question": self.study.question,
            "preset": self.preset.name,
            "kind": self.study.kind or source_names(self.runs[0].spec.data.source),
            "changes": {k: unplaced(v) if k.endswith(".source") else v for k, v in self.changes.items()},
            "common": common_changes(self.study, self.preset),
            "metrics": list(metrics),
            "metric": metrics[0],
            "baseline": self.study.baseline,
            "protocol": self.runs[0].spec.evaluation.numbers,
            "seeds": sorted({run.seed for run in self.runs}),
            "arms": arms,
            "left_out": [label for label in self.study.labels if label not in self.labels],
        } | {key: value for key, value in (("starts", self._plain_starts()), ("gate", self.gate)) if value}

    def _plain_starts(self) -> dict[str, dict[str, str]]:
        """Directories of the runs that arms start from, by label and seed."""
        found: dict[str, dict[str, str]] = {}
        for run in self.starts:
            found.setdefault(run.arm, {})[str(run.seed)] = run.directory
        return found


def _kinds(study: Study, spec: ExperimentSpec) -> tuple[str, ...]:
    """Which pixels the evaluation data tells apart, the deciding ones first."""
    pairs = inputs.open_pairs(spec, "evaluation", "test")
    if "flow" not in pairs.provides:
        raise PlanError(
            f"{pairs.name} has no ground truth flow, which a study is evaluated with; give other data with --eval"
        )
    kinds = ("all", "noc", "occ") if "occlusion" in pairs.provides else ("all",)
    kinds += regions.names_of(spec.evaluation.regions)
    if study.metric not in kinds:
        raise PlanError(
            f"study {study.name!r} decides by the end-point error over {study.metric!r} pixels, which"
            f" {pairs.name} does not tell apart{registry.did_you_mean(study.metric, [*kinds, *regions.brought()])}"
            f" (it has: {', '.join(kinds)})"
        )
    return (study.metric, *(k for k in kinds if k != study.metric))


def common_changes(study: Study, preset: Preset) -> dict[str, Any]:
    """What all arms of a study change in a preset; a region of an extension that decides is measured."""
    deciding = {"evaluation.regions": study.metric} if study.metric in regions.brought() else {}
    return deciding | dict(study.changes) | dict(study.preset_changes.get(preset.name, {}))


def chosen_arms(study: Study, preset: Preset, wanted: Sequence[str]) -> tuple[Arm, ...]:
    """The arms that `wanted` stands for, in the study's order, with the baseline and what they are compared with.

    Raises:
        ValueError: for unknown labels, naming all of them.
    """
    labels = set(wanted) or set(study.core if preset.quick and study.core else study.labels)
    if EVERY in labels:
        labels = (labels - {EVERY}) | set(study.labels)
    labels |= {arm.against for arm in study.chosen(labels) if arm.against} | {study.baseline}
    return study.chosen(labels)


def make(study: Study, request: PlanRequest) -> Plan:
    """The runs that a command asks for; nothing is written.

    Raises:
        PlanError: naming every arm, option, metric and data set that cannot be used.
    """
    problems = _study_problems(study)
    try:
        arms = chosen_arms(study, request.preset, request.arms)
    except ValueError as error:
        problems += str(error).splitlines()
        arms = chosen_arms(study, request.preset, [label for label in request.arms if label in study.labels])
    start, specs = request.preset.spec, {}
    used: set[str] = set()
    for arm in arms:
        try:
            spec, taken = _arm_spec(start, study, arm, request)
            used |= taken
            problems += [f"arm {arm.label!r}: {p}" for p in problems_of(spec)]
            specs[arm.label] = spec
        except ValueError as error:
            problems += [_of_arm(arm, line) for line in str(error).splitlines()]
    if study.searched and (starting := [label for label, spec in specs.items() if spec.initial]):
        problems.append(
            f"a search does not say what the runs that arms start from are trained with (arms: {', '.join(starting)});"
            " run the study without --search"
        )
    if "seed" in request.changes:
        problems.append("the seeds of a study are given with --seeds, not as an option")
    told = tuple([f"{INITIAL}."] if len(specs) < len(arms) else ())  # what is wrong with these is said already
    problems += [_unused(k, specs) for k in request.changes if k not in used and specs and not k.startswith(told)]
    lacking = {} if set(request.arms) - {EVERY} else _lacking(study, arms, specs)
    arms = tuple(arm for arm in arms if arm.label not in lacking)
    specs = {label: spec for label, spec in specs.items() if label not in lacking}
    untuned = [arm for arm in arms if arm.label not in (*study.searched, *study.tuned)]
    problems += _twins(untuned, specs, request.seeds)
    completed, data_problems = _with_data(study, specs)
    if problems := list(dict.fromkeys(problems + data_problems)):
        raise PlanError("\n".join(problems))
    runs = tuple(
        PlannedRun(
            arm=arm.label,
            seed=seed,
            spec=with_seed(completed[arm.label], seed + arm.seed_offset),
        )
        for seed in request.seeds
        for arm in arms
    )
    notes = {
        note
        for whole in completed.values()
        for spec in (*whole.starts, whole)
        for part, split in (("data", "train"), ("evaluation", "test"))
        if (note := inputs.open_pairs(spec, part, split).note)
    }
    note = "; ".join([*sorted(notes), *lacking.values()])
    return Plan(study=study, preset=request.preset, changes=dict(request.changes), runs=runs, note=note)


def _study_problems(study: Study) -> list[str]:
    """What is wrong with the study in every preset."""
    found = [
        f"study {study.name!r} has something for an unknown preset {name!r}"
        f"{registry.did_you_mean(name, PRESETS)} (known: {', '.join(PRESETS)})"
        for name in dict.fromkeys((*study.preset_changes, *study.gates, *study.seeds))
        if name not in PRESETS
    ]
    found += [
        f"arm {arm.label!r} changes the seed, which every run has from the study; give the arm a seed_offset instead"
        for arm in study.arms
        if "seed" in arm.changes or "seed" in arm.changes.get(INITIAL, ())
    ]
    keys = dict.fromkeys([*study.changes, *(k for changes in study.preset_changes.values() for k in changes)])
    for key in keys:
        axis, _, option = key.partition(".")
        if axis in registry.AXES and option != "name":
            classes = [registry.entry(axis, name).cls for name in registry.names(axis)]
            known = sorted({f"{axis}.{field.name}" for cls in classes for field in dataclasses.fields(cls)})
            if key not in known:
                found.append(
                    f"study {study.name!r} changes an unknown option {key!r}{registry.did_you_mean(key, known)}"
                )
    return found


def _arm_spec(start: ExperimentSpec, study: Study, arm: Arm, request: PlanRequest) -> tuple[ExperimentSpec, set[str]]:
    """The spec of an arm, and which of the changes asked for it could use.

    What the arm itself changes goes before what is asked for, and that before what the study changes for all arms. A
    change of a component's option is for the arms that have the component's option. One of the runs that arms start
    from, such as `initial.data.source`, is for the arms that name that option themselves, whose word it replaces, or if
    none does for all arms that start from a run.
    """
    own, first = dict(arm.changes), arm.changes.get(INITIAL)
    own.pop(INITIAL, None)
    given = common_changes(study, request.preset) | dict(request.changes)
    given = {key: value for key, value in given.items() if key not in own}
    ahead = {k: v for k, v in given.items() if k.split(".")[0] == INITIAL}
    given = {k: v for k, v in given.items() if k not in ahead}
    plain = {k: v for k, v in given.items() if k.split(".")[0] not in registry.AXES or k.endswith(".name")}
    has = set(flatten(to_config(changed(start, {k: v for k, v in (plain | own).items() if k.endswith(".name")}))))
    fitting = {k: v for k, v in given.items() if k not in plain and k in has}
    spec = changed(start, plain | fitting | own, request.preset.usual)
    used = (set(plain) | set(fitting)) & set(request.changes)
    if first is None:
        return spec, used
    named = {f"{INITIAL}.{key}" for other in study.arms for key in other.changes.get(INITIAL, ())}
    ahead = {k: v for k, v in ahead.items() if k.removeprefix(f"{INITIAL}.") in first or k not in named}
    return changed(spec, ahead | {INITIAL: first}, request.preset.usual), used | set(ahead) & set(request.changes)


def _of_arm(arm: Arm, problem: str) -> str:
    """The problem, with the arm named if it comes from what the arm changes."""
    own = [repr(key) for key in arm.changes] + [repr(v) for k, v in arm.changes.items() if k.endswith(".name")]
    return f"arm {arm.label!r}: {problem}" if any(word in problem for word in own) else problem


def _unused(key: str, specs: Mapping[str, ExperimentSpec]) -> str:
    known = sorted({k for spec in specs.values() for k in flatten(to_config(spec)) if k != "format"})
    if key in known:
        return f"{key!r} is what the arms of this study differ in, so it cannot be set for all of them"
    return f"unknown option {key!r}{registry.did_you_mean(key, known)}; no arm of this study has it"


def _twins(arms: Sequence[Arm], specs: Mapping[str, ExperimentSpec], seeds: Sequence[int]) -> list[str]:
    """Arms that would be the same experiment: nothing can be learned from comparing a run with itself."""
    found, seen = [], {}
    for arm in arms:
        if arm.label not in specs:
            continue
        content = with_seed(specs[arm.label], 0).run_id
        for other in seen.setdefault(content, []):
            if {s + arm.seed_offset for s in seeds} & {s + other.seed_offset for s in seeds}:
                found.append(f"arms {other.label!r} and {arm.label!r} are the same experiment")
        seen[content].append(arm)
    return found


def _lacking(study: Study, arms: Sequence[Arm], specs: Mapping[str, ExperimentSpec]) -> dict[str, str]:
    """Arms that train with ground truth that the data has not, and a sentence on each; they are left out by default.

    The baseline and what arms are compared with cannot be left out.
    """
    needed = {study.baseline, *(arm.against for arm in arms)}
    found = {}
    for label, spec in specs.items():
        if (wanted := inputs.wanted_truth(spec)) and label not in needed:
            try:
                pairs = inputs.open_pairs(spec, "data", "train")
            except ValueError:
                continue  # said where the data is checked
            if missing := sorted(wanted - pairs.provides):
                found[label] = f"arm {label!r} is left out: {pairs.name} has no ground truth {' and '.join(missing)}"
    return found


def _with_data(study: Study, specs: Mapping[str, ExperimentSpec]) -> tuple[dict[str, ExperimentSpec], list[str]]:
    """The specs with the digests of their data, and what is wrong with the data; arms share what is read of it."""
    known: dict[tuple[str, ...], ExperimentSpec | None] = {}
    problems = []

    def with_digests(spec: ExperimentSpec) -> ExperimentSpec | None:
        initial = spec.initial and with_digests(spec.initial)
        config = to_config(spec)
        truth = str(sorted(inputs.wanted_truth(spec)))
        key = (json.dumps(config["data"], sort_keys=True), json.dumps(config["evaluation"], sort_keys=True), truth)
        if key not in known:
            known[key] = None
            try:
                known[key] = inputs.with_digests(dataclasses.replace(spec, initial=None))
            except ValueError as error:
                problems.append(str(error))
        ready = known[key]
        if ready is None or bool(initial) != bool(spec.initial):
            return None
        return dataclasses.replace(spec, data=ready.data, evaluation=ready.evaluation, initial=initial)

    completed = {label: done for label, spec in specs.items() if (done := with_digests(spec)) is not None}
    for spec in completed.values():
        try:
            _kinds(study, spec)
        except ValueError as error:
            problems.append(str(error))
    return completed, problems


def in_order(groups: Sequence[Sequence[PlannedRun]], workers: int) -> list[PlannedRun]:
    """The runs of the groups in the order in which workers should take them.

    The first run of a group, such as a seed, trains what the others of it start from and share. With as many groups
    under way as there are workers, no worker of a study has to wait for another one's shared part; in a campaign,
    groups of one seed on one kind of data may share a part too.
    """
    ordered = []
    for begin in range(0, len(groups), max(1, workers)):
        some = groups[begin : begin + max(1, workers)]
        ordered += [group[0] for group in some] + [run for group in some for run in group[1:]]
    return ordered


def parse_seeds(text: str) -> tuple[int, ...]:
    """`5` is the seeds 0 to 4; `0,1,7` are these seeds."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise PlanError(f"--seeds must be a number of seeds, as in 5, or a list, as in 0,1,7, got {text!r}")
    if len(words) == 1 and "," not in text:
        if not 1 <= int(words[0]) <= 10_000:
            raise PlanError(f"--seeds must be at least 1 and at most 10000, got {text}")
        return tuple(range(int(words[0])))
    numbers = tuple(int(word) for word in words)
    if len(set(numbers)) < len(numbers):
        raise PlanError(f"--seeds names a seed twice: {text}")
    if max(numbers) > LARGEST_SEED // 2:
        raise PlanError(f"--seeds must be whole numbers up to {LARGEST_SEED // 2}, got {max(numbers)}")
    return numbers


def following(seeds: Sequence[int], count: int) -> tuple[int, ...]:
    """The next `count` seeds after the largest."""
    first = max(seeds, default=-1) + 1
    return tuple(range(first, first + count))


def new_steps(plan: Plan, runs: Sequence[PlannedRun]) -> list[int]:
    """Training steps that each of the runs takes, one after the other, when what they share is trained once."""
    done: set[str] = set()
    found = []
    for run in runs:
        steps, first = run.spec.train.steps, 0
        for shared in plan.shared_steps:
            if shared < steps:
                name = prefix_id(run.spec, shared)
                if name in done:
                    first = shared
                done.add(name)
        found.append(steps - first)
    return found


def saved_steps(plan: Plan, runs: Sequence[PlannedRun]) -> int:
    """Training steps that sharing saves the runs."""
    return sum(run.spec.train.steps for run in runs) - sum(new_steps(plan, runs))
