"""What a search of hyper-parameters may try, and what came of it, as values; needs no Optuna."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import records
from experiments.spec import SECTIONS, ExperimentSpec, changed
from studies.design import Arm
from uflow import registry
from uflow.options import Choices, Range

FORMAT = 1
SEED = 2_000_000_000  # of every trial; more than `--seeds` takes, so that no reported run has seen it
DIGITS = 4  # of a number that is tried: more would only make the names of runs differ
STATES = ("completed", "pruned", "failed")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """An option that is searched: its dotted key, the values that may be tried, and the one that it has now."""

    key: str
    space: Range | Choices
    default: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried.

    Attributes:
        number: counted from 0 within the arm.
        changes: the setting, by dotted key.
        run: directory of its run.
        state: `completed`, `pruned` (stopped early, being worse than most at that step), or `failed`.
        value: the metric on the validation split, of a pruned trial when it was stopped; `None` if it failed.
        reason: one sentence, for a failed trial.
    """

    number: int
    changes: Mapping[str, Any]
    run: str
    state: str
    value: float | None
    reason: str = ""


def space(spec: ExperimentSpec) -> tuple[Parameter, ...]:
    """The options of a spec that declare what a search may try."""
    found = []
    for part in (*registry.AXES, *SECTIONS):
        value = getattr(spec, part)
        for field in dataclasses.fields(value):
            if (tried := field.metadata.get("search")) is not None:
                found.append(Parameter(f"{part}.{field.name}", tried, getattr(value, field.name)))
    return tuple(found)


def spaces(
    specs: Mapping[str, ExperimentSpec], only: Sequence[str] = (), arms: Sequence[Arm] = ()
) -> dict[str, tuple[Parameter, ...]]:
    """What is searched of every arm, by label; not what makes it the arm that it is.

    Args:
        specs: the arms.
        only: dotted keys to search, each of the arms that have the option; by default all that can be.
        arms: what the arms change, which is not searched.

    Raises:
        ValueError: if no arm has an option of `only`, or an arm has none of them; all problems at once.
    """
    changed_by = {arm.label: set(arm.changes) for arm in arms}
    found = {
        label: tuple(p for p in space(spec) if p.key not in changed_by.get(label, ())) for label, spec in specs.items()
    }
    known = sorted({parameter.key for parameters in found.values() for parameter in parameters})
    problems = [
        f"{key!r} cannot be searched{registry.did_you_mean(key, known)} (can be: {', '.join(known)})"
        for key in only
        if key not in known
    ]
    if only:
        found = {label: tuple(p for p in parameters if p.key in only) for label, parameters in found.items()}
    if not problems:
        empty = [label for label, parameters in found.items() if not parameters]
        problems = [f"arm {label!r} has no option to search (asked for: {', '.join(only)})" for label in empty]
    if problems:
        raise ValueError("\n".join(problems))
    return found


def rounded(value: Any) -> Any:
    """A number with `DIGITS` significant digits; anything else as it is."""
    if not isinstance(value, float) or value == 0 or not math.isfinite(value):
        return value
    return float(f"{value:.{DIGITS}g}")


def trial_spec(spec: ExperimentSpec, changes: Mapping[str, Any]) -> ExperimentSpec:
    """The spec of a trial: the setting, trained from the seed of searches."""
    return dataclasses.replace(changed(spec, changes), seed=SEED)


def best(trials: Sequence[Trial]) -> Trial | None:
    """The completed trial with the least value, the first of equal ones; `None` if none was completed."""
    completed = [trial for trial in trials if trial.state == "completed"]
    return min(completed, key=lambda trial: (trial.value, trial.number), default=None)


def write(
    path: pathlib.Path,
    metric: str,
    budget: int,
    trials: Mapping[str, Sequence[Trial]],
    importance: Mapping[str, Mapping[str, float]],
    own: Mapping[str, Mapping[str, Any]],
) -> None:
    """Writes the trials of every arm, what was chosen and what mattered as `search.json`.

    Args:
        path: of the file.
        metric: that decides.
        budget: trials of each arm.
        trials: of each arm.
        importance: of each option, by arm.
        own: the values that the searched options of an arm have without a search; the first trial may be these.
    """
    chosen = {label: winner.number for label, tried in trials.items() if (winner := best(tried))}
    plain = {
        "format": FORMAT,
        "metric": metric,
        "split": "validation",
        "seed": SEED,
        "budget": budget,
        "chosen": chosen,
        "own": {label: 0 for label, tried in trials.items() if tried and tried[0].changes == own[label]},
        "importance": {"evaluator": "fANOVA (Optuna's, seed 0)", "of": {k: dict(v) for k, v in importance.items()}},
        "trials": {label: [dataclasses.asdict(trial) for trial in tried] for label, tried in trials.items()},
    }
    records.write_json(path, plain)


def read(path: pathlib.Path) -> dict[str, tuple[Trial, ...]]:
    """The trials in a `search.json`, by arm.

    Raises:
        records.RecordError: if it is not one.
    """
    plain = records.read_json(path)
    try:
        if plain["format"] != FORMAT:
            raise records.RecordError(f"{path}: format {plain['format']}, this version reads {FORMAT}")
        return {label: tuple(Trial(**trial) for trial in tried) for label, tried in plain["trials"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise records.RecordError(f"{path}: not the trials of a search ({json.dumps(str(error))})") from None
