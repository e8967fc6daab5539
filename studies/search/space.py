"""What a search of hyper-parameters may try, as values; needs no Optuna."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.records.search import SEED
from experiments.spec import SECTIONS, ExperimentSpec, changed
from studies.design import Arm
from uflow import options, registry
from uflow.options import Choices, Range

DIGITS = 4  # of a number that is tried: more would only make the names of runs differ


@dataclasses.dataclass(frozen=True)
class Parameter:
    """An option that is searched: its dotted key, the values that may be tried, and the one that it has now."""

    key: str
    space: Range | Choices
    default: Any


def _parts() -> tuple[str, ...]:
    """Parts of a spec that have options."""
    return (*registry.AXES, *SECTIONS)


def space(spec: ExperimentSpec) -> tuple[Parameter, ...]:
    """The options of a spec that declare what a search may try."""
    found = []
    for part in _parts():
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
        only: dotted keys to search, each of the arms that have the option; by default all that can be, but for options
            that were added later and that an arm does not use: a search does not bring in by itself what is left out.
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
    unused = {
        label: {f"{part}.{name}" for part in _parts() for name in options.defaulted_later(getattr(spec, part))}
        for label, spec in specs.items()
    }
    found = {
        label: tuple(p for p in parameters if (p.key in only if only else p.key not in unused[label]))
        for label, parameters in found.items()
    }
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
