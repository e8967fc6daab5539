"""Seeds added only where they are needed: looks that are fixed beforehand, and alpha spent on each.

The comparisons are looked at after fixed numbers of seeds, the last of which is the largest. At each look every
comparison is tested at level alpha / looks, adjusted by Holm within its family, which is all of the table except in a
factorial, and only arms that are still undecided get more seeds, with those they are compared with. If an arm has no
effect, the chance that any look says it helps or hurts is at most alpha within a family: a false finding needs some p
value below alpha / (looks x arms without effect) at some look, and there are no more of those than looks x arms without
effect. That holds whichever arms are continued.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.results.comparison import FEWEST_PAIRS
from studies.design import Study
from studies.planning.planner import PlanError, PlanRequest, chosen_arms

ALPHA = 0.05
MOST_LOOKS = 4


@dataclasses.dataclass(frozen=True)
class Looks:
    """After how many seeds the comparisons are looked at, ascending, and at which level altogether."""

    counts: tuple[int, ...]
    alpha: float = ALPHA

    @property
    def level(self) -> float:
        """Level of the tests of one look: the same share of alpha for all."""
        return self.alpha / len(self.counts)

    @property
    def note(self) -> str:
        """The sentence under the tables."""
        return (
            f"seeds added until decided: looks after {', '.join(map(str, self.counts))} seeds were fixed beforehand,"
            f" each at level {self.level:g} so that all {len(self.counts)} together err with at most {self.alpha:g};"
            " decided arms got no more seeds"
        )

    def plain(self) -> dict[str, Any]:
        """What `plan.json` says of them."""
        return {"alpha": self.alpha, "level": self.level, "looks": list(self.counts)}


def looks(first: int, most: int) -> Looks:
    """At most four looks, equally spaced from `first` to `most` seeds as well as whole numbers can be.

    Raises:
        PlanError: if there is nothing to look at between them.
    """
    if first < FEWEST_PAIRS:
        raise PlanError(
            f"--until-decided starts with at least {FEWEST_PAIRS} seeds (--seeds), got {first}: fewer decide nothing"
        )
    if most <= first:
        raise PlanError(f"--until-decided {most} must be more than the {first} seeds to start with (--seeds)")
    parts = min(MOST_LOOKS - 1, most - first)
    return Looks(tuple(first + math.ceil(i * (most - first) / parts) for i in range(parts + 1)))


def recorded(stored: Mapping[str, Any] | None, wanted: Looks) -> list[list[str]]:
    """The arms that were still undecided at each look that was made before, first look first.

    Raises:
        PlanError: if other looks were planned before: they cannot be changed on the way.
    """
    if stored is None or "sequential" not in stored:
        return []
    before = stored["sequential"]
    if before["looks"] != list(wanted.counts) or before["alpha"] != wanted.alpha:
        raise PlanError(
            f"study {stored['study']!r} was planned with looks after {', '.join(map(str, before['looks']))} seeds, now"
            f" they would be after {', '.join(map(str, wanted.counts))}: looks cannot be changed on the way (give the"
            " same --seeds and --until-decided, or --fresh to plan anew; finished runs are kept)"
        )
    return [list(labels) for labels in before.get("undecided", [])]


def check_seeds(stored: Mapping[str, Any] | None, seeds: Sequence[int]) -> None:
    """Raises `PlanError` if other seeds than these were planned before: they would have been looked at already."""
    if extra := sorted(set(stored["seeds"] if stored else ()) - set(seeds)):
        raise PlanError(
            f"--until-decided cannot start where seed {', '.join(map(str, extra))} was planned already beyond its first"
            " look: give --seeds that hold all of them, or --fresh to plan anew (finished runs are kept)"
        )


def first_arms(study: Study, request: PlanRequest, stored: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Labels of the arms of the first look: what is asked for, and what the study has in its plan already."""
    labels = [arm.label for arm in chosen_arms(study, request.preset, request.arms)]
    planned = [arm["label"] for arm in (stored or {"arms": []})["arms"] if arm["label"] in study.labels]
    return tuple(dict.fromkeys(labels + planned))


def undecided(effects: Mapping[str, Any]) -> list[str]:
    """Labels of the arms whose comparison on the deciding metric is undecided, from the content of `effects.json`."""
    rows = effects["metrics"][effects["metric"]]["arms"]
    return [row["label"] for row in rows if row["comparison"] and row["comparison"]["verdict"] == "undecided"]


def entries(wanted: Looks, found: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What `plan.json` holds beside the plan: looks, their outcome so far, the level of the tests and a footnote."""
    return {
        "alpha": wanted.level,
        "notes": [wanted.note],
        "sequential": wanted.plain() | {"undecided": [list(labels) for labels in found]},
    }
