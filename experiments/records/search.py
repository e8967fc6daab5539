"""The search that found the settings of a study's arms: the content of its `search.json`, written and checked."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.records import layout
from experiments.records.json_files import RecordError, read_json, write_json
from experiments.records.labels import cell, printable

FORMAT = 1
SEED = 2_000_000_000  # of every trial; more than `--seeds` takes, so that no reported run has seen it
STATES = ("completed", "pruned", "failed")


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What was tried for each arm before its final runs.

    Attributes:
        budget: number of trials for each arm.
        metric: name of the value that decided, on the validation split.
        seed: of all trials; no final run has it.
        trials: in their order, by label.
        chosen: number of the best trial, by label.
        own: number of the trial that had the setting of the arm without a search, by label, where there was one.
    """

    budget: int
    metric: str
    seed: int
    trials: Mapping[str, tuple[Trial, ...]]
    chosen: Mapping[str, int]
    own: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def tuned(self) -> dict[str, frozenset[str]]:
        """Dotted keys of the options that were searched, by label."""
        return {label: frozenset(key for t in tried for key in t.changes) for label, tried in self.trials.items()}

    @property
    def values(self) -> dict[str, list[float]]:
        """Values of the trials that a search drew and that have one, by label.

        A trial that was stopped early has that of the moment. The arm's own setting was not drawn; see `own_values`.
        """
        return {
            label: values
            for label, tried in self.trials.items()
            if (values := [t.value for t in tried if t.value is not None and not self.is_own(label, t)])
        }

    @property
    def own_values(self) -> dict[str, float]:
        """Value of the arm's own setting, by label, where it was completed."""
        return {
            label: t.value
            for label, tried in self.trials.items()
            for t in tried
            if self.is_own(label, t) and t.state == "completed"
        }

    def is_own(self, label: str, trial: Trial) -> bool:
        """True for the trial with the setting that the arm has without a search."""
        return self.own.get(label) == trial.number

    @property
    def note(self) -> str:
        """The sentence under the tables."""
        none = [label for label in self.trials if label not in self.chosen]
        lacking = f"; no trial of {', '.join(none)} was completed, so its own setting was kept" if none else ""
        best = [label for label in self.trials if label in self.own and self.own[label] == self.chosen.get(label)]
        lacking += f"; its own setting was the best for {', '.join(best)}" if best else ""
        return (
            f"{', '.join(self.trials)}: the best of {self.budget} settings each, by {self.metric} on the validation"
            f" split from seed {self.seed}, which no final run has{lacking}"
        )


def read_search(directory: pathlib.Path) -> Search | None:
    """The search of the study in a directory; `None` if it made none.

    Raises:
        RecordError: if its file cannot be read.
    """
    path = directory / layout.SEARCH
    if not path.exists():
        return None
    plain = printable(read_json(path))
    try:
        if plain["format"] != FORMAT:
            raise RecordError(f"{path}: format {plain['format']!r}, this version reads {FORMAT}")
        trials = {label: tuple(map(_trial, tried)) for label, tried in plain["trials"].items()}
        chosen = {label: int(number) for label, number in plain["chosen"].items()}
        return Search(
            budget=int(plain["budget"]),
            metric=str(plain["metric"]),
            seed=int(plain["seed"]),
            trials=trials,
            chosen=chosen,
            own={label: int(number) for label, number in plain.get("own", {}).items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: not the trials of a search ({type(error).__name__}: {error})") from None


def _trial(plain: Mapping[str, Any]) -> Trial:
    value = plain["value"]
    if value is not None and not math.isfinite(value):
        raise ValueError(f"trial {plain['number']} has the value {value}")
    return Trial(**{field.name: plain[field.name] for field in dataclasses.fields(Trial)})


def best(trials: Sequence[Trial]) -> Trial | None:
    """The completed trial with the smallest value, the first of equal ones; `None` if none was completed."""
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
    write_json(path, plain)


def as_csv(search: Search) -> str:
    """One line for each trial: arm, number, state, value, whether it was chosen or the arm's own, run, and setting."""
    keys = sorted({key for keys in search.tuned.values() for key in keys})
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["arm", "trial", "state", search.metric, "chosen", "own", "run", *keys, "reason"])
    for label, tried in search.trials.items():
        for trial in tried:
            value = "" if trial.value is None else repr(trial.value)
            chosen = "yes" if search.chosen.get(label) == trial.number else ""
            setting = [cell(trial.changes.get(key, "")) for key in keys]
            own = "yes" if search.is_own(label, trial) else ""
            described = [cell(label), trial.number, trial.state, value, chosen, own, trial.run]
            rows.writerow([*described, *setting, cell(trial.reason)])
    return text.getvalue()
