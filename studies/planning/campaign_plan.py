"""The plans of all studies of a campaign as one: every run once, seeds outermost, one queue and one expected time."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from studies.design import Campaign
from studies.planning.planner import Plan, PlanError, PlannedRun
from studies.queue.endings import DriftError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CampaignPlan(Plan):
    """What is to be done of several studies; each of them has a plan of its own, which is the one that is kept.

    Attributes:
        study: the campaign.
        parts: the plans of its studies.
    """

    study: Campaign
    parts: tuple[Plan, ...]

    @functools.cached_property
    def groups(self) -> tuple[tuple[PlannedRun, ...], ...]:
        """The runs of each study and seed, seeds outermost; a run is in the first group that has it."""
        groups: list[tuple[PlannedRun, ...]] = []
        seen: set[str] = set()
        for seed in dict.fromkeys(run.seed for plan in self.parts for run in plan.runs):
            for plan in self.parts:
                own = [run for run in plan.all_runs if run.seed == seed and run.directory not in seen]
                groups.append(tuple(dataclasses.replace(run, arm=f"{plan.study.name}, {run.arm}") for run in own))
                seen |= {run.directory for run in own}
        return tuple(filter(None, groups))

    @functools.cached_property
    def all_runs(self) -> tuple[PlannedRun, ...]:
        """Every run once, named after the first study that has it."""
        return tuple(run for group in self.groups for run in group)


def joined(campaign: Campaign, plans: Sequence[Plan]) -> CampaignPlan:
    """The plans of a campaign's studies as one."""
    return CampaignPlan(study=campaign, preset=plans[0].preset, changes={}, runs=(), parts=tuple(plans))


def each(tasks: Mapping[str, Callable[[], T]]) -> list[T]:
    """The results of the same task for every study of a campaign, by the name of its folder.

    Raises:
        PlanError: naming everything that is wrong, with the study unless it is wrong in all of them.
        DriftError: the same, if a study means other runs than when it was planned.
    """
    results, told, drift = [], {}, False
    for name, task in tasks.items():
        try:
            results.append(task())
        except ValueError as error:
            drift = drift or isinstance(error, DriftError)
            for line in str(error).splitlines():
                told.setdefault(line, []).append(name)
    if told:
        lines = [line if len(who) == len(tasks) else f"{', '.join(who)}: {line}" for line, who in told.items()]
        raise (DriftError if drift else PlanError)("\n".join(lines))
    return results
