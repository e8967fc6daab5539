"""Every arm at its best: an equal number of settings is tried for each, on the validation split and another seed."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from experiments import execution, locks, records
from experiments.data.sources import canonical as source_names
from experiments.spec import ExperimentSpec, canonical, digest, problems_of, to_config
from studies.design import Study
from studies.devices import Card
from studies.job import Job
from studies.launcher import assigned
from studies.mirroring import Mirroring
from studies.planning import Plan, PlanError
from studies.progress import Progress
from studies.search import STATES, Trial, best, spaces, trial_spec, write
from studies.sweep import Sweep
from studies.sync import trial_run
from studies.worker import WorkerSettings, run_one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
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


def tune(
    specs: Mapping[str, ExperimentSpec],
    search: Search,
    folder: pathlib.Path,
    settings: WorkerSettings,
    workers: int,
    cards: Sequence[Card],
    about: Mapping[str, Any],
    stop: Callable[[], bool],
) -> dict[str, tuple[Trial, ...]] | None:
    """The trials of every arm, run or continued; `None` if it was interrupted. Writes `search.json` after each round.

    Args:
        specs: the arms to tune, by label, with the digests of their data.
        search: how.
        folder: the study's.
        settings: how runs are executed.
        workers: runs at a time.
        cards: where they train.
        about: what MLflow is told of every run.
        stop: asked all the time.

    Raises:
        ValueError: if an arm has nothing to search.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locks.held(folder / "tuning.lock", give_up=stop) as alone:  # a second command waits and finds the trials done
        if not alone:
            return None
        sweeps = {}
        for label, parameters in spaces(specs, search.only).items():
            what = [canonical(specs[label]), [(p.key, str(p.space)) for p in parameters], search.metric]
            sweeps[label] = Sweep(folder, f"{label}__{digest(what)}", parameters)
        while any(sweep.left(search.budget) for sweep in sweeps.values()):
            tasks = [
                _Task(label, number, changes, trial_spec(specs[label], changes))
                for label, sweep in sweeps.items()
                if sweep.left(search.budget)
                for number, changes in sweep.ask(search.budget).items()
            ]
            found = _round(tasks, sweeps, search, settings, workers, cards, about, stop)
            if stop():
                return None
            for task, trial in zip(tasks, found, strict=True):
                sweeps[task.label].record(task.number, trial.state, trial.value, trial.reason)
            for sweep in sweeps.values():
                sweep.close()
            _write(folder, search, sweeps, specs)
        return _write(folder, search, sweeps, specs)


def _write(
    folder: pathlib.Path, search: Search, sweeps: Mapping[str, Sweep], specs: Mapping[str, ExperimentSpec]
) -> dict[str, tuple[Trial, ...]]:
    """Writes `search.json` and returns the trials."""
    trials = _trials(sweeps, specs)
    importance = {label: sweep.importance() for label, sweep in sweeps.items()}
    write(folder / "search.json", search.metric, search.budget, trials, importance)
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


def _round(
    tasks: Sequence[_Task],
    sweeps: Mapping[str, Sweep],
    search: Search,
    settings: WorkerSettings,
    workers: int,
    cards: Sequence[Card],
    about: Mapping[str, Any],
    stop: Callable[[], bool],
) -> list[Trial]:
    """Runs the trials, several at a time, and shows how far they are."""
    runs = settings.out / "runs"
    for task in tasks:
        directory = runs / task.spec.directory
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "result.json").exists():
            records.write_json(directory / "spec.json", to_config(task.spec))
    names = list(dict.fromkeys(task.spec.directory for task in tasks))
    progress = Progress(runs, names, {task.spec.directory: task.spec.train.steps for task in tasks})
    count = max(1, min(workers, len(names)))
    free: SimpleQueue[WorkerSettings] = SimpleQueue()
    for each in assigned(settings, cards, count):
        free.put(each)

    def run(task: _Task) -> Trial:
        own = free.get()
        try:
            return _run(task, sweeps[task.label], search, own, about, stop)
        finally:
            free.put(own)

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run, task) for task in tasks]
        while not all(future.done() for future in futures):
            time.sleep(0.5)
            progress.show()
        progress.end()
        return [future.result() for future in futures]


def _run(
    task: _Task,
    sweep: Sweep,
    search: Search,
    settings: WorkerSettings,
    about: Mapping[str, Any],
    stop: Callable[[], bool],
) -> Trial:
    """One trial: its run, ended early if it is worse than most others were at the same step."""
    if found := problems_of(task.spec):
        return _trial(task, "failed", None, "; ".join(found))
    job = Job(
        directory=task.spec.directory,
        arm=f"{task.label}, trial {task.number}",
        seed=task.spec.seed,
        about={**about, "stage": "search"},
    )
    with Mirroring(settings.tracking, settings.study, settings.out) as mirroring:
        record = _trained(task, sweep, search, settings, job, mirroring, stop)
        trial = _judged(task, sweep, search, settings, record)
        if not stop():
            mirroring.ended(trial_run(settings.out / "runs", task.label, trial, job.about))
    return trial


def _trained(
    task: _Task,
    sweep: Sweep,
    search: Search,
    settings: WorkerSettings,
    job: Job,
    mirroring: Mirroring,
    stop: Callable[[], bool],
) -> records.RunRecord | None:
    """The record of the trial's run, `None` if it was stopped."""
    directory = settings.out / "runs" / task.spec.directory
    seen: list[int] = []

    def hopeless() -> bool:
        """True once the pruner has given the trial up; it is asked only when there is something new to see."""
        curve = list(_curve(directory, search.metric, task.spec.train.steps))
        if len(curve) == len(seen):
            return False
        seen[:] = [step for step, _ in curve]
        return sweep.pruned_at(task.number, curve) is not None

    return run_one(settings, job, mirroring, lambda: stop() or hopeless())


def _judged(
    task: _Task, sweep: Sweep, search: Search, settings: WorkerSettings, record: records.RunRecord | None
) -> Trial:
    """What a run is worth. Its curve counts, not whether it was caught in time: every speed prunes the same trials."""
    directory = settings.out / "runs" / task.spec.directory
    pruned = sweep.pruned_at(task.number, _curve(directory, search.metric, task.spec.train.steps))
    if pruned is not None:
        return _trial(task, "pruned", pruned)
    if record is None:
        return _trial(task, "failed", None, "interrupted")
    if record.status != "completed":
        return _trial(task, "failed", None, f"{record.status}: {record.reason}")
    if search.metric not in record.validation:
        return _trial(task, "failed", None, f"the validation split gives no {search.metric}")
    return _trial(task, "completed", record.validation[search.metric])


def _trial(task: _Task, state: str, value: float | None, reason: str = "") -> Trial:
    return Trial(
        number=task.number, changes=task.changes, run=task.spec.directory, state=state, value=value, reason=reason
    )


def _curve(directory: pathlib.Path, metric: str, steps: int) -> Iterator[tuple[int, float]]:
    """Steps and values of the validations on the way, without the last, after which nothing can be saved."""
    for line in records.read_metrics(directory / "metrics.jsonl"):
        value = line.get(f"validation/{metric}")
        if value is not None and line["step"] < steps:
            yield int(line["step"]), float(value)


def metric_of(plan: Plan) -> str:
    """The name of what a search goes by: the study's kind of end-point error, on the validation split.

    Raises:
        PlanError: if the validation split has not the ground truth for it.
    """
    spec, kind = plan.runs[0].spec, plan.study.metric
    provided = execution.open_pairs(spec, "data", "validation").provides
    if "flow" not in provided or (kind != "all" and "occlusion" not in provided):
        raise PlanError(
            f"a search needs a validation split with ground truth flow{'' if kind == 'all' else ' and occlusion'},"
            f" which {source_names(spec.data.source)} has not"
        )
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
    return dataclasses.replace(study, arms=tuple(arms), searched=(), trials=0)
