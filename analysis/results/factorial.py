"""A 2^k factorial: its parts, found in the arms of a study, and the weighted sums of its cells that are effects.

An effect is computed within each seed, so that what the arms of a seed share cancels.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping

from experiments.records.plan import StudyPlan

Cell = tuple[int, ...]  # one 0 (off) or 1 (on) per factor
Weights = Mapping[Cell, float]


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


def everything(k: int) -> Weights:
    """Everything on minus everything off."""
    return {(1,) * k: 1.0, (0,) * k: -1.0}


@dataclasses.dataclass(frozen=True)
class Factor:
    """A switch of the study: the keys that change together, and what they are set to.

    Attributes:
        name: how the arms call it, `a` where they are `no a` and `only a`, else by its setting, as `occlusion wang`.
        off, on: its settings by dotted key; `None` where the arm does not mention the key.
    """

    name: str
    off: Mapping[str, object]
    on: Mapping[str, object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Factorial:
    """A study whose arms are cells of a 2^k factorial.

    Attributes:
        factors: the parts, in the order in which the arms that leave one out are in the study.
        arms: label of the arm in each cell that the study has: both ends and all cells one step from them, at least.
    """

    factors: tuple[Factor, ...]
    arms: Mapping[Cell, str]

    @property
    def k(self) -> int:
        """Number of factors."""
        return len(self.factors)

    @property
    def complete(self) -> bool:
        """True if all 2^k cells are there."""
        return len(self.arms) == 2**self.k


def find_factorial(plan: StudyPlan) -> Factorial | None:
    """The factorial that the arms of a plan form, or `None` if they are not one with two factors or more.

    Not all 2^k cells need to be there, but everything on, everything off, and what is one factor away from either.
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
    if k < 2 or len(arms) < len(plan.arms) or not _near_an_end(k) <= arms.keys():
        return None
    factors = [_factor(plan, split, group) for split, group in merged.items()]
    for i, factor in enumerate(factors):
        out, only = (arms[_switched(end, i)] for end in _ends(k))
        if out.startswith("no ") and only == f"only {out[3:]}":
            factors[i] = dataclasses.replace(factor, name=out[3:])
    # A stored plan has its keys sorted, so it is the arms that tell in which order the study has its parts. Of two
    # parts none comes first: to leave one out is to add the other.
    left_out = [plan.labels.index(arms[_switched((1,) * k, i)]) for i in range(k)]
    order = sorted(range(k), key=left_out.__getitem__) if k > 2 else range(k)
    return Factorial(
        factors=tuple(factors[i] for i in order),
        arms={tuple(cell[i] for i in order): label for cell, label in arms.items()},
    )


def several_at_once(plan: StudyPlan, design: Factorial) -> frozenset[str]:
    """Labels of the arms that differ from what they are compared with in more than one factor, and not in all."""
    cell = {label: cell for cell, label in design.arms.items()}
    steps = {
        label: sum(a != b for a, b in zip(cell[label], cell[reference], strict=True))
        for label, reference in plan.references.items()
    }
    return frozenset(label for label, count in steps.items() if 1 < count < design.k)


def in_percent(plan: StudyPlan) -> bool:
    """True if effects are in percent: the baselines of a study that has several were measured on data of several kinds.

    An error of 1 px is another thing where everything moves three times as far.
    """
    kinds = [
        {key: value for key, value in plan.arm(label).changes.items() if key.split(".")[0] == "data"}
        for label in set(plan.references.values())
    ]
    return any(kind != kinds[0] for kind in kinds)


def _ends(k: int) -> tuple[Cell, Cell]:
    return (1,) * k, (0,) * k


def _near_an_end(k: int) -> set[Cell]:
    """Both ends, and the cells that are one step from either."""
    return {*_ends(k), *(_switched(end, factor) for end in _ends(k) for factor in range(k))}


def _switched(cell: Cell, factor: int) -> Cell:
    return (*cell[:factor], 1 - cell[factor], *cell[factor + 1 :])


def _blank(column: list[str | None]) -> tuple[str | None, ...]:
    """The one setting that means off, or nothing if there is no such setting or both are."""
    blank = tuple(value for value in set(column) if value in (None, '"none"', "false", "0", "0.0", "null"))
    return blank if len(blank) == 1 else ()


def _factor(plan: StudyPlan, split: tuple[bool, ...], keys: list[str]) -> Factor:
    off, on = ({key: plan.arms[split.index(state)].changes.get(key) for key in keys} for state in (False, True))
    named = [key for key in keys if key.endswith(".name")] or keys[:1]
    return Factor(" + ".join(_named(key, on[key]) for key in named), off, on)


def _named(key: str, on: object) -> str:
    section, _, option = key.partition(".")
    value = "" if on in (None, True) else f" {on}"
    return f"{section}{value}" if option in ("", "name") else f"{section} {option}{value}"
