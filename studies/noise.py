"""What a study's baseline differs from itself, as the study `noise_floor` has measured it."""

from __future__ import annotations

import pathlib

NAME, REPEATED = "noise_floor", "other seeds"


def half_width(out: pathlib.Path, folder: pathlib.Path) -> float | None:
    """Half of the 95 % interval of the baseline's mean difference from itself, in the unit of the study's metric.

    `None` unless `noise_floor` was run in `out` with the very runs that are the baseline of the study in `folder`.
    """
    from analysis.load import load_study
    from analysis.plan import StudyError, read_plan
    from analysis.stats import mean_interval

    if folder.name == NAME or not (out / NAME / "plan.json").exists():
        return None
    try:
        plan, floor = read_plan(folder), load_study(out / NAME)
        own, same = plan.arm(plan.baseline).runs, floor.plan.arm(floor.plan.baseline).runs
        first, second = floor.values(floor.plan.baseline, plan.metric), floor.values(REPEATED, plan.metric)
    except StudyError:
        return None
    seeds = sorted(set(first) & set(second))
    if len(seeds) < 2 or not all(own.get(seed) == name for seed, name in same.items()):
        return None
    return mean_interval([second[seed] - first[seed] for seed in seeds]).half_width
