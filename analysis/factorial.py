"""Exact effects of a 2^k factorial: which part matters, alone, within the whole, and together with another.

Every effect is a weighted sum of the 2^k cells. It is computed within each seed and then averaged over seeds, with the
t-interval of its values, so that what the seeds share cancels.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping

from analysis.load import StudyData
from analysis.plan import StudyPlan
from analysis.stats import Estimate, mean_interval

Cell = tuple[int, ...]  # one 0 (off) or 1 (on) per factor
Weights = Mapping[Cell, float]
MEASURES = ("leave one out", "add one in", "main", "shapley")


def main_effect(factor: int, k: int) -> Weights:
    """Mean of the cells with the factor on minus mean of those with it off."""
    return {cell: (1 if cell[factor] else -1) / 2 ** (k - 1) for cell in cells(k)}


def interaction(one: int, other: int, k: int) -> Weights:
    """How much the effect of one factor changes when the other is switched on, averaged over the rest; symmetric.

    The difference of differences. Some authors (Box, Hunter and Hunter, Statistics for Experimenters) halve it.
    """
    return {cell: (1 if cell[one] == cell[other] else -1) / 2 ** (k - 2) for cell in cells(k)}


def leave_one_out(factor: int, k: int) -> Weights:
    """Everything on minus everything but the factor: what the factor adds last."""
    full = (1,) * k
    return {full: 1.0, _switched(full, factor): -1.0}


def add_one_in(factor: int, k: int) -> Weights:
    """Only the factor on minus everything off: what the factor adds first."""
    empty = (0,) * k
    return {_switched(empty, factor): 1.0, empty: -1.0}


def shapley(factor: int, k: int) -> Weights:
    """What the factor adds, averaged over all orders of switching on (Shapley, 1953).

    The values of all factors add up to everything on minus everything off; leave-one-out rows do not when parts
    interact.
    """
    weights: dict[Cell, float] = {}
    for cell in cells(k):
        others = sum(cell) - cell[factor]
        share = math.factorial(others) * math.factorial(k - others - 1) / math.factorial(k)
        weights[cell] = share if cell[factor] else -share
    return weights


def cells(k: int) -> list[Cell]:
    """All 2^k settings, the last factor changing fastest."""
    if k < 1:
        raise ValueError(f"a factorial needs at least one factor, got k = {k}")
    return list(itertools.product((0, 1), repeat=k))


def effect(weights: Weights, values: Mapping[Cell, Mapping[int, float]]) -> Estimate | None:
    """The weighted sum within each seed, averaged over the seeds that have every cell it needs; `None` without one.

    Args:
        weights: weight of each cell.
        values: value of each completed run, by cell and seed.
    """
    needed = {cell: weight for cell, weight in weights.items() if weight}
    seeds = set.intersection(*(set(values.get(cell, {})) for cell in needed))
    sums = [sum(weight * values[cell][seed] for cell, weight in needed.items()) for seed in sorted(seeds)]
    return mean_interval(sums) if sums else None


@dataclasses.dataclass(frozen=True)
class Factor:
    """A switch of the study: the keys that change together, and what they are set to.

    Attributes:
        name: how it is called, such as `occlusion wang`.
        off, on: its settings by dotted key; `None` where the arm does not mention the key.
    """

    name: str
    off: Mapping[str, object]
    on: Mapping[str, object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Factorial:
    """A study that is a full 2^k factorial: its factors, and the arm in each cell."""

    factors: tuple[Factor, ...]
    arms: Mapping[Cell, str]


def find_factorial(plan: StudyPlan) -> Factorial | None:
    """The factorial that the arms of a plan form, or `None` if they are not one with two factors or more.

    Keys that change together are one factor. A setting `none`, false, 0 or not mentioned is off. Where neither or both
    settings are that, the baseline tells: its setting is on if the baseline has more of the other factors on than off,
    as in a study that takes parts away, else off.
    """
    settings = {arm.label: {k: json.dumps(v, sort_keys=True) for k, v in arm.changes.items()} for arm in plan.arms}
    # Names first: of keys that move against each other, the component says what is on.
    keys = sorted({key for changes in settings.values() for key in changes}, key=lambda k: (not k.endswith(".name"), k))
    columns = {key: [settings[label].get(key) for label in plan.labels] for key in keys}
    columns = {key: column for key, column in columns.items() if len(set(column)) > 1}
    if any(len(set(column)) > 2 for column in columns.values()):
        return None
    blank = {key: blank for key, column in columns.items() if (blank := _blank(column))}
    reference = settings[plan.baseline]
    switched_on = [reference.get(key) != off for key, (off,) in blank.items()]
    taken_away = 2 * sum(switched_on) > len(switched_on)
    splits: dict[tuple[bool, ...], list[str]] = {}
    for key, column in columns.items():
        own = reference.get(key)
        off = blank[key][0] if key in blank else next(v for v in column if (v != own) == taken_away)
        splits.setdefault(tuple(value != off for value in column), []).append(key)
    # Keys that split the arms alike are one switch; so are keys that split them the opposite way round.
    merged: dict[tuple[bool, ...], list[str]] = {}
    for split, group in splits.items():
        opposite = tuple(not on for on in split)
        merged.setdefault(opposite if opposite in merged else split, []).extend(group)
    k = len(merged)
    arms = {tuple(int(split[place]) for split in merged): label for place, label in enumerate(plan.labels)}
    if k < 2 or len(plan.arms) != 2**k or len(arms) != 2**k:
        return None
    factors = tuple(_factor(plan, split, group) for split, group in merged.items())
    return Factorial(factors=factors, arms=arms)


def in_percent(plan: StudyPlan) -> bool:
    """True if effects are in percent: arms that have several baselines were measured on data of several kinds.

    An error of 1 px is another thing where everything moves three times as far.
    """
    return len(set(plan.references.values())) > 1


def cell_values(data: StudyData, design: Factorial, metric: str) -> dict[Cell, dict[int, float]]:
    """Values of the completed runs by cell and seed; 100 times their logarithm where effects are in percent.

    Differences of these are percent as long as they are small, and add up as percent do not: a half and a double are
    -69 and +69.
    """
    found = {cell: data.values(label, metric) for cell, label in design.arms.items()}
    if not in_percent(data.plan):
        return found
    return {
        cell: {seed: 100 * math.log(value) for seed, value in row.items() if value > 0} for cell, row in found.items()
    }


def factor_effects(data: StudyData, design: Factorial, metric: str) -> dict[str, dict[str, Estimate | None]]:
    """Every measure of `MEASURES` for every factor, by measure and name of the factor."""
    values, k = cell_values(data, design, metric), len(design.factors)
    rules = dict(zip(MEASURES, (leave_one_out, add_one_in, main_effect, shapley), strict=True))
    return {
        measure: {factor.name: effect(rule(i, k), values) for i, factor in enumerate(design.factors)}
        for measure, rule in rules.items()
    }


def interactions(data: StudyData, design: Factorial, metric: str) -> dict[tuple[str, str], Estimate | None]:
    """Two-way interactions, by the names of the two factors."""
    values, k = cell_values(data, design, metric), len(design.factors)
    return {
        (design.factors[i].name, design.factors[j].name): effect(interaction(i, j, k), values)
        for i, j in itertools.combinations(range(k), 2)
    }


def _switched(cell: Cell, factor: int) -> Cell:
    return (*cell[:factor], 1 - cell[factor], *cell[factor + 1 :])


def _blank(column: list[str | None]) -> tuple[str | None, ...]:
    """The one setting that means off, or nothing if there is no such setting or both are."""
    blank = tuple(value for value in set(column) if value in (None, '"none"', "false", "0", "0.0", "null"))
    return blank if len(blank) == 1 else ()


def _factor(plan: StudyPlan, split: tuple[bool, ...], keys: list[str]) -> Factor:
    off, on = ({key: plan.arms[split.index(state)].changes.get(key) for key in keys} for state in (False, True))
    named = next((key for key in keys if key.endswith(".name")), keys[0])
    section, _, option = named.partition(".")
    value = "" if on[named] in (None, True) else f" {on[named]}"
    return Factor(f"{section}{value}" if option in ("", "name") else f"{section} {option}{value}", off, on)
