"""Every arm at its best: an equal number of settings is tried for each, on the validation split and another seed."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.data.catalog import canonical as source_names
from experiments.evaluation import regions
from experiments.execution import inputs
from experiments.records import layout, locks, run_record
from experiments.records.search import SEED, STATES, Trial, best, write
from experiments.spec import ExperimentSpec, problems_of
from studies.design import Study
from studies.planning import plan_store
from studies.planning.planner import Plan, PlanError, PlannedRun
from studies.queue import attempts
from studies.queue.endings import CannotRun
from studies.queue.pruning import PruningThresholds, curve
from studies.search.sampler import Sweep
from studies.search.space import spaces, trial_spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchBudget:
    """How arms are tuned.

    Attributes:
        budget: settings that are tried for each arm.
        metric: name of the value of the validation split that decides, such as `epe/synthetic/all`; less is better.
        only: dotted keys to search; by default every option of an arm that declares a search range.
    """

    budget: int
    metric: str
    only: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Task:
    """A trial that is to be run."""

    label: str
    number: int
    changes: Mapping[str, Any]
    spec: ExperimentSpec
    thresholds: PruningThresholds | None

    def trial(self, state: str, value: float | None, reason: str = "") -> Trial:
        """What came of it."""
        return Trial(
            number=self.number, changes=self.changes, run=self.spec.directory, state=state, value=value, reason=reason
        )


def tune(
    plan: Plan, search: SearchBudget, out: pathlib.Path, run_all: Callable[[Plan], bool], stop: Callable[[], bool]
) -> dict[str, tuple[Trial, ...]] | None:
    """The trials of every arm, run or continued; `None` if it was interrupted. Writes `search.json` after each round.

    Args:
        plan: of the study, with the arms to tune as they are before.
        search: how.
        out: directory of all results.
        run_all: does the runs of a plan; True if it was interrupted.
        stop: asked while another command searches for the same study.

    Raises:
        ValueError: if an arm has nothing to search.
        CannotRun: if trials were left undone.
    """
    folder = out / plan.study.name
    folder.mkdir(parents=True, exist_ok=True)
    specs = searched(plan)
    with locks.held(folder / layout.SEARCH_LOCK, give_up=stop) as alone:  # a second command waits, and all is done
        if not alone:
            return None
        sweeps = {label: Sweep(found) for label, found in spaces(specs, search.only, plan.study.arms).items()}
        while any(sweep.left(search.budget) for sweep in sweeps.values()):
            tasks = [
                _Task(label, number, changes, trial_spec(specs[label], changes), sweep.thresholds(search.metric))
                for label, sweep in sweeps.items()
                if sweep.left(search.budget)
                for number, changes in sweep.ask(search.budget).items()
            ]
            fresh = not all(layout.finished(layout.run_directory(out, task.spec.directory)) for task in tasks)
            if _run(plan, tasks, out, run_all):
                return None
            for task in tasks:
                trial, way = _judged(task, search.metric, layout.run_directory(out, task.spec.directory))
                sweeps[task.label].record(task.number, trial.state, trial.value, trial.reason, way)
            for sweep in sweeps.values():
                sweep.close()
            if fresh:  # not for every round that is made again
                _write(folder, search, sweeps, specs)
        return _write(folder, search, sweeps, specs)


def searched(plan: Plan) -> dict[str, ExperimentSpec]:
    """The arms of a study that are to be tuned, by label."""
    return {run.arm: run.spec for run in plan.runs if run.arm in plan.study.searched}


def _run(plan: Plan, tasks: Sequence[_Task], out: pathlib.Path, run_all: Callable[[Plan], bool]) -> bool:
    """Runs the trials of a round; True if it was interrupted."""
    valid = [task for task in tasks if not problems_of(task.spec)]
    thresholds: dict[str, set[PruningThresholds | None]] = {}
    for task in valid:
        thresholds.setdefault(task.spec.directory, set()).add(task.thresholds)
    runs = tuple(
        PlannedRun(
            arm=f"{task.label}, trial {task.number}",
            seed=SEED,
            spec=task.spec,
            # of two arms that try the same, neither prunes the other's run
            thresholds=task.thresholds if len(thresholds[task.spec.directory]) == 1 else None,
        )
        for task in valid
    )
    trials = dataclasses.replace(plan, runs=runs, note="")
    while runs:
        plan_store.write_specs(trials, out)
        if run_all(trials):
            return True
        if left := plan_store.pending(trials, out):
            raise CannotRun(
                f"{len(left)} trials could not be done here (see {out / plan.study.name / layout.STUDY_LOG}); the same"
                " command goes on with the search"
            )
        if not (
            others := [layout.run_directory(out, task.spec.directory) for task in valid if _pruned_elsewhere(task, out)]
        ):
            break
        if not attempts.set_aside(others):  # somebody is looking at them
            time.sleep(0.1)
    return False


def _pruned_elsewhere(task: _Task, out: pathlib.Path) -> bool:
    """True if another search gave the trial's run up, and this one would not."""
    directory = layout.run_directory(out, task.spec.directory)
    if not layout.finished(directory) or run_record.read_result(directory).status != "pruned":
        return False
    return task.thresholds is None or task.thresholds.pruned_at(curve(directory, task.thresholds.metric)) is None


def _judged(task: _Task, metric: str, directory: pathlib.Path) -> tuple[Trial, list[tuple[int, float]]]:
    """What a trial is worth, and its way there.

    Its curve counts, not whether it was caught in time: every speed prunes the same trials.
    """
    if found := problems_of(task.spec):
        return task.trial("failed", None, "; ".join(found)), []
    way = list(curve(directory, metric, until=task.spec.train.steps))  # nothing is saved by pruning the last step
    if task.thresholds and (missed := task.thresholds.pruned_at(way)):
        step, value = missed
        return task.trial("pruned", value), [point for point in way if point[0] <= step]
    record = run_record.read_result(directory)
    if record.status != "completed":
        return task.trial("failed", None, f"{record.status}: {record.reason}"), way
    if metric not in record.validation:
        return task.trial("failed", None, f"the validation split gives no {metric}"), way
    return task.trial("completed", record.validation[metric]), way


def _write(
    folder: pathlib.Path, search: SearchBudget, sweeps: Mapping[str, Sweep], specs: Mapping[str, ExperimentSpec]
) -> dict[str, tuple[Trial, ...]]:
    """Writes `search.json` and returns the trials."""
    trials = _trials(sweeps, specs)
    importance = {label: sweep.importance() for label, sweep in sweeps.items()}
    own = {label: {key: p.default for key, p in sweep.parameters.items()} for label, sweep in sweeps.items()}
    write(folder / layout.SEARCH, search.metric, search.budget, trials, importance, own)
    return trials


def _trials(sweeps: Mapping[str, Sweep], specs: Mapping[str, ExperimentSpec]) -> dict[str, tuple[Trial, ...]]:
    return {
        label: tuple(
            Trial(
                number=number, changes=changes, run=trial_spec(specs[label], changes).directory, state=state,
                value=value, reason=reason,
            )
            for number, changes, state, value, reason in sweep.finished()
        )
        for label, sweep in sweeps.items()
    }  # fmt: skip


def metric_of(plan: Plan) -> str:
    """The name of what a search goes by: the study's kind of end-point error, on the validation split.

    Raises:
        PlanError: if the validation split has not the ground truth for it.
    """
    spec, kind = plan.runs[0].spec, plan.study.metric
    pairs = inputs.open_pairs(spec, "data", "validation")
    hidden = kind in ("noc", "occ")
    if "flow" not in pairs.provides or (hidden and "occlusion" not in pairs.provides):
        raise PlanError(
            f"a search needs a validation split with ground truth flow{' and occlusion' if hidden else ''},"
            f" which {source_names(spec.data.source)} has not"
        )
    if kind in regions.brought():
        regions.check_brought(kind, pairs)
    return f"epe/{source_names(spec.data.source).replace(';', '+')}/{kind}"


def summary(label: str, trials: Sequence[Trial]) -> str:
    """One line on what came of the search of an arm."""
    counts = {state: sum(trial.state == state for trial in trials) for state in STATES}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    winner = best(trials)
    if winner is None:
        return f"  {label}: no setting was completed ({told}); it keeps its own"
    setting = " ".join(f"{key}={value}" for key, value in winner.changes.items())
    return f"  {label}: {winner.value:.4f} px with {setting} (trial {winner.number}; {told})"


def chosen(study: Study, trials: Mapping[str, Sequence[Trial]]) -> Study:
    """The study with the best setting of each tuned arm; an arm of which no trial was completed stays as it is."""
    arms = []
    for arm in study.arms:
        winner = best(trials.get(arm.label, ()))
        arms.append(dataclasses.replace(arm, changes={**arm.changes, **winner.changes}) if winner else arm)
    return dataclasses.replace(study, arms=tuple(arms), searched=(), trials=0, tuned=study.searched)
