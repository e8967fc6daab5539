"""The records of a study, read from its files; what must not be averaged in is left out and named."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.results.gating import Gating, gating
from experiments.records import layout
from experiments.records.json_files import RecordError
from experiments.records.plan import StudyError, StudyPlan, read_plan
from experiments.records.run_record import RunRecord
from experiments.records.runs import Runs, runs_of
from experiments.records.search import Search, read_search
from experiments.records.yardsticks import Yardsticks, read_yardsticks

Pair = tuple[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyData:
    """A study as far as it has been run.

    Attributes:
        directory: `<out>/<study>`.
        plan: what was to be run.
        runs: where what is known of the runs is read from.
        records: what was found, by (arm, seed); only records that may be compared with each other, and only of seeds
            that passed the gate, if there is one.
        costs: content of `cost.json`, by (arm, seed), where there is one.
        missing: planned (arm, seed) that are not finished.
        problems: one sentence for every file that was left out.
        search: how the settings of the arms were found, if they were searched.
        gating: which seeds did not pass the gate, and what their runs found.
        yardsticks: what methods without training reach on the data of the baseline's evaluation, if that is known.
    """

    directory: pathlib.Path
    plan: StudyPlan
    runs: Runs
    records: Mapping[Pair, RunRecord]
    costs: Mapping[Pair, Mapping[str, Any]]
    missing: tuple[Pair, ...]
    problems: tuple[str, ...]
    search: Search | None = None
    gating: Gating | None = None
    yardsticks: Yardsticks | None = None

    def run_directory(self, label: str, seed: int) -> pathlib.Path:
        """Where the files of a planned run are, or were before only its result was kept."""
        return layout.run_directory(self.directory.parent, self.plan.arm(label).runs[seed])

    def curve(self, label: str, seed: int) -> Iterator[dict[str, Any]]:
        """The lines of the learning curve of a run, by ascending step."""
        return self.runs.curve(self.plan.arm(label).runs[seed])

    def earlier_attempts(self, label: str, seed: int) -> tuple[str, ...]:
        """How earlier attempts at a run ended, oldest first."""
        return self.runs.earlier_attempts(self.plan.arm(label).runs[seed])

    def planned_spec(self, label: str, seed: int) -> Any:
        """The content of the `spec.json` of a planned run; raises `RecordError` if there is none."""
        return self.runs.spec(self.plan.arm(label).runs[seed])

    @property
    def done(self) -> int:
        """How many runs ended with a record that can be used, those that did not pass the gate included."""
        return len(self.records) + (len(self.gating.records) if self.gating else 0)

    def of(self, label: str) -> dict[int, RunRecord]:
        """Records of an arm, by seed."""
        return {seed: self.records[label, seed] for seed in self.plan.arm(label).runs if (label, seed) in self.records}

    def values(self, label: str, metric: str) -> dict[int, float]:
        """Values of a metric by seed, of the completed runs of an arm that have it."""
        found = self.of(label).items()
        return {s: float(r.metrics[metric]) for s, r in found if r.status == "completed" and metric in r.metrics}

    def frames(self, label: str, metric: str) -> dict[int, tuple[float | None, ...]]:
        """Values of a metric per frame, by seed, of the runs of `values` that have them."""
        found = self.values(label, metric)
        return {s: r.frames[metric] for s, r in self.of(label).items() if s in found and r.frames.get(metric)}

    @property
    def ungated(self) -> StudyData:
        """The same with the seeds that did not pass the gate."""
        left_out = self.gating.records if self.gating else {}
        return dataclasses.replace(self, records={**self.records, **left_out}, gating=None)

    def failed(self, label: str) -> dict[int, str]:
        """Status by seed of the runs of an arm that ended without completing."""
        return {seed: record.status for seed, record in self.of(label).items() if record.status != "completed"}


def load_study(directory: str | pathlib.Path) -> StudyData:
    """The records of the study in `directory`, with what is missing and what was left out.

    The runs are read from their directories or, where only their results were kept, from one file in `directory`; a
    `result.json` that is corrupt, cut off, or of another run is left out. So is one of another protocol, spec format,
    component revision or code, evaluation data or training data than the others; arms that differ in training data on
    purpose (a change named `data...`) are held against the arms with the same change, also in the evaluation data if
    those follow the training data.

    Raises:
        StudyError: if there is no such study, or if as many records disagree with each other as agree.
    """
    directory = pathlib.Path(directory)
    plan = read_plan(directory)
    try:
        runs = runs_of(directory)
    except RecordError as error:
        raise StudyError(str(error)) from None
    records: dict[Pair, RunRecord] = {}
    costs: dict[Pair, Mapping[str, Any]] = {}
    missing: list[Pair] = []
    problems: dict[str, None] = {}  # a dictionary, so that a run shared by two arms is named once
    for label, seed in plan.pairs:
        run = plan.arm(label).runs[seed]
        if not runs.finished(run):
            missing.append((label, seed))
            continue
        try:
            records[label, seed] = _read_run(runs, run, seed + plan.arm(label).seed_offset)
        except RecordError as error:
            problems[f"left out: {error}"] = None
            continue
        if (cost := _read_cost(runs, run)) is not None:
            costs[label, seed] = cost
    search = None
    try:
        search = read_search(directory)
    except RecordError as error:
        problems[f"left out: {error}"] = None
    yardsticks = None
    try:
        yardsticks = read_yardsticks(directory)
    except RecordError as error:
        problems[f"left out: {error}"] = None
    refused = _refused(plan, records)
    problems.update(dict.fromkeys(refused.values()))
    records = {pair: record for pair, record in records.items() if pair not in refused}
    gated = None
    if plan.gate:
        gated = gating(plan.gate, records, lambda pair: runs.curve(plan.arm(pair[0]).runs[pair[1]]))
        problems.update(dict.fromkeys(gated.problems))
        records = {pair: record for pair, record in records.items() if pair not in gated.records}
    return StudyData(
        directory=directory,
        plan=plan,
        runs=runs,
        records=records,
        costs={pair: cost for pair, cost in costs.items() if pair in records},
        missing=tuple(missing),
        problems=tuple(problems),
        search=search,
        gating=gated,
        yardsticks=yardsticks if yardsticks and _is_of(yardsticks, plan, records) else None,
    )


def _is_of(yardsticks: Yardsticks, plan: StudyPlan, records: Mapping[Pair, RunRecord]) -> bool:
    """True if the numbers can stand beside those of the baseline: one protocol, on one content of the data."""
    own = [record for (label, _), record in records.items() if label == plan.baseline]
    evaluated = {(evaluation_digest(record), _regions(record.spec)) for record in own}
    return yardsticks.protocol == plan.protocol and evaluated == {(yardsticks.digest, yardsticks.regions)}


def _read_run(runs: Runs, run: str, seed: int) -> RunRecord:
    try:
        record = runs.result(run)
    except (TypeError, AttributeError, RecursionError) as error:  # entries of a type that no run writes
        raise RecordError(f"run {run}: not a run record ({error})") from None
    if record.spec.get("seed", seed) != seed:
        raise RecordError(f"run {run}: is of seed {record.spec['seed']}, the plan has seed {seed} there")
    return record


def _read_cost(runs: Runs, run: str) -> Mapping[str, Any] | None:
    try:
        cost = runs.cost(run)
    except RecordError:  # costs are a convenience: without them the results still stand
        return None
    return cost if isinstance(cost, dict) else None


def _refused(plan: StudyPlan, records: Mapping[Pair, RunRecord]) -> dict[Pair, str]:
    """One sentence for each record that must not be compared with the others."""
    groups: dict[str, dict[Pair, dict[str, Any]]] = collections.defaultdict(dict)
    refused = {}
    for (label, seed), record in records.items():
        identity = dict(_identity(record.spec))
        if record.protocol != plan.protocol:
            refused[label, seed] = _refusal(label, seed, record, {"protocol": (record.protocol, plan.protocol)})
            continue
        changes = plan.arm(label).changes
        own_data = repr(sorted((k, v) for k, v in changes.items() if k.split(".")[0] == "data"))
        for key, value in identity.items():
            # The same key is compared among all arms, but training data only among those meant to share it.
            own = key == "data.digest" or (key == "evaluation.digest" and _evaluates_own_data(record))
            group = f"{key} {own_data}" if own else key
            groups[group][label, seed] = {key: value}
    differing: dict[Pair, dict[str, tuple[Any, Any]]] = collections.defaultdict(dict)
    for members in groups.values():
        for pair, key, found, usual in _minority(plan, members):
            differing[pair][key] = (found, usual)
    for (label, seed), keys in differing.items():
        refused[label, seed] = _refusal(label, seed, records[label, seed], keys)
    return refused


def _minority(plan: StudyPlan, members: Mapping[Pair, dict[str, Any]]) -> Iterator[tuple[Pair, str, Any, Any]]:
    """Members whose one value is not the most common one."""
    counts = collections.Counter(repr(value) for member in members.values() for value in member.values())
    if len(counts) < 2:
        return
    (usual, most), (other, second), *_ = counts.most_common()
    key = next(iter(next(iter(members.values()))))
    if most == second:
        raise StudyError(
            f"study {plan.study!r} mixes runs that cannot be compared: {key} is {usual} in {most} runs and {other} in"
            f" {second}; repeat or remove the ones that are not meant"
        )
    for pair, member in members.items():
        if repr(member[key]) != usual:
            yield pair, key, repr(member[key]), usual


def evaluation_digest(record: RunRecord) -> str | None:
    """Tells the data that a run was evaluated on."""
    return dict(_identity(record.spec))["evaluation.digest"]


def _evaluates_own_data(record: RunRecord) -> bool:
    """True if the run was evaluated on another split of its training data."""
    part = record.spec.get("evaluation")
    return isinstance(part, dict) and part.get("source") == ""


def _regions(spec: Mapping[str, Any]) -> str:
    """The regions of extensions that a run was measured on, with the digests of their files."""
    part = spec.get("evaluation")
    return part.get("regions", "") if isinstance(part, dict) else ""


def _identity(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What has to agree between runs: (key, value), a component's revision and code under the name of the component."""
    yield "format", spec.get("format")
    for section in ("data", "evaluation"):
        part = spec.get(section)
        yield f"{section}.digest", part.get("digest") if isinstance(part, dict) else None
    yield "evaluation.regions", _regions(spec)
    for axis, part in spec.items():
        if isinstance(part, dict) and "revision" in part:
            yield f"{axis}.{part.get('name')}.revision", part["revision"]
            yield f"{axis}.{part.get('name')}.extension", part.get("extension")  # the digest of code of one's own


def _refusal(label: str, seed: int, record: RunRecord, keys: Mapping[str, tuple[Any, Any]]) -> str:
    found = "; ".join(f"{key} is {found} here and {usual} in the others" for key, (found, usual) in keys.items())
    return f"refused: run {record.run_id} (arm {label}, seed {seed}) cannot be compared: {found}"
