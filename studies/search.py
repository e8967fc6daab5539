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
from uflow import registry
from uflow.options import Choices, Range

FORMAT = 1
FIRST_SEED = 1_000_000  # seeds of searches; those of reported runs are smaller, so no search has seen them
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


def space(spec: ExperimentSpec, only: Sequence[str] = ()) -> tuple[Parameter, ...]:
    """The options of a spec that declare what a search may try.

    Args:
        spec: the experiment.
        only: dotted keys to search; all of them by default.

    Raises:
        ValueError: if a key of `only` is not one that can be searched, or nothing can be.
    """
    found = []
    for part in (*registry.AXES, *SECTIONS):
        value = getattr(spec, part)
        for field in dataclasses.fields(value):
            if (tried := field.metadata.get("search")) is not None:
                found.append(Parameter(f"{part}.{field.name}", tried, getattr(value, field.name)))
    known = [parameter.key for parameter in found]
    if unknown := [key for key in only if key not in known]:
        hint = registry.did_you_mean(unknown[0], known)
        raise ValueError(f"{unknown[0]!r} cannot be searched{hint} (can be: {', '.join(known)})")
    return tuple(parameter for parameter in found if not only or parameter.key in only)


def rounded(value: Any) -> Any:
    """A number with `DIGITS` significant digits; anything else as it is."""
    if not isinstance(value, float) or value == 0 or not math.isfinite(value):
        return value
    return float(f"{value:.{DIGITS}g}")


def trial_spec(spec: ExperimentSpec, changes: Mapping[str, Any]) -> ExperimentSpec:
    """The spec of a trial: the setting, trained from the seed of searches."""
    return dataclasses.replace(changed(spec, changes), seed=FIRST_SEED)


def best(trials: Sequence[Trial], lower_is_better: bool = True) -> Trial | None:
    """The completed trial with the best value, the first of equal ones; `None` if none was completed."""
    completed = [trial for trial in trials if trial.state == "completed"]
    sign = 1 if lower_is_better else -1
    return min(completed, key=lambda trial: (sign * trial.value, trial.number), default=None)


def write(path: pathlib.Path, metric: str, budget: int, trials: Mapping[str, Sequence[Trial]]) -> None:
    """Writes the trials of every arm and what was chosen as `search.json`."""
    chosen = {label: winner.number for label, tried in trials.items() if (winner := best(tried))}
    plain = {
        "format": FORMAT,
        "metric": metric,
        "split": "validation",
        "seed": FIRST_SEED,
        "budget": budget,
        "chosen": chosen,
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
