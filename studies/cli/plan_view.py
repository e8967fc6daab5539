"""What `--list` and `--plan` say: plain data for machines, and the same as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.records.search import SEED
from studies.cli.status_view import left_out
from studies.design import Study
from studies.planning import catalog, detectable
from studies.planning.costs import Costs, estimate
from studies.planning.planner import Plan, PlannedRun, prefix_id, saved_steps
from studies.search.space import spaces


def studies() -> list[dict[str, Any]]:
    """The studies of the package with their questions and arms."""
    return [described(catalog.load(name)) for name in catalog.names()]


def campaigns() -> list[dict[str, Any]]:
    """The campaigns of the package with their questions, studies and kinds of data."""
    found = map(catalog.load, catalog.campaigns())
    return [
        {"campaign": c.name, "question": c.question, "studies": list(c.studies), "kinds": list(c.kinds)} for c in found
    ]


def described(study: Study) -> dict[str, Any]:
    """A study as plain data."""
    return {
        "study": study.name,
        "question": study.question,
        "baseline": study.baseline,
        "metric": study.metric,
        "arms": list(study.labels),
        "core": list(study.core or study.labels),
    }


def list_text(found: Sequence[Mapping[str, Any]]) -> str:
    """The list for a terminal: of each study the question, the arms that run by default, and the others; campaigns."""
    lines = []
    for study in found:
        if "campaign" in study:
            lines.append(f"{study['campaign']:26s} {study['question']}")
            lines.append(f"{'':26s} a campaign of: {', '.join(study['studies'])}")
            lines.append(f"{'':26s} on: {', '.join(study['kinds'])}")
            continue
        lines.append(f"{study['study']:26s} {study['question']}")
        lines.append(f"{'':26s} arms: {', '.join(study['core'])}")
        if rest := [label for label in study["arms"] if label not in study["core"]]:
            lines.append(f"{'':26s} with --arms all, and in preset paper: {', '.join(rest)}")
    return "\n".join(lines)


def with_searched(plan: Plan, todo: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs to do, with all of the arms that are searched: which experiments those are is not known yet."""
    searched = plan.study.searched
    return [run for run in todo if run.arm not in searched] + [run for run in plan.runs if run.arm in searched]


def plan_content(plan: Plan, todo: Sequence[PlannedRun], workers: int, known: Costs) -> dict[str, Any]:
    """The runs, what is done of them, what sharing saves and how long the rest takes."""
    waiting, searched = {run.directory for run in todo}, plan.study.searched
    shared = []
    for step in plan.shared_steps:
        names = {prefix_id(run.spec, step) for run in plan.all_runs if step < run.spec.train.steps}
        users = sum(step < run.spec.train.steps for run in plan.all_runs)
        shared.append({"steps": step, "runs": users, "trained": len(names)})
    return {
        "study": plan.study.name,
        "question": plan.study.question,
        "preset": plan.preset.name,
        "out": str(known.out),
        "runs": [
            {
                "arm": run.arm,
                "seed": run.seed,
                "steps": run.spec.train.steps,
                "done": run.arm not in searched and run.directory not in waiting,
                "directory": None if run.arm in searched else run.directory,
            }
            for run in plan.all_runs
        ],
        **time_content(plan, todo, workers, known),
        "shared": shared,
        "gate": plan.gate,
        "gate_dropped": list(plan.gate_dropped),
        "left_out": [label for label in plan.study.labels if label not in plan.labels],
        "detectable": detectable.detectable(plan, known.out),
    }


def time_content(plan: Plan, todo: Sequence[PlannedRun], workers: int, known: Costs) -> dict[str, Any]:
    """How long the runs to do take, by what, and what sharing saves of it."""
    time = estimate(plan, todo, workers, known)
    return {
        "todo": len(todo),
        "workers": workers,
        "seconds": time.seconds,
        "seconds_by": time.source,
        "all_steps": sum(run.spec.train.steps for run in todo),
        "saved_steps": saved_steps(plan, todo),
        "saved_seconds": time.saved_seconds,
    }


def gate_dropped(plan: Plan) -> str:
    """That the study's gate does not hold for what is asked, and what follows; empty if it does or there is none."""
    if not plan.gate_dropped:
        return ""
    return (
        f"no gate: the study's was fixed for preset {plan.preset.name} as it is and says nothing with"
        f" {', '.join(plan.gate_dropped)} changed; all seeds count, also those that have not learned to match before"
        " their arms part"
    )


def search_content(plan: Plan, workers: int, only: Sequence[str], known: Costs) -> dict[str, Any]:
    """The search that goes before the runs: arms, options, and how long it takes if no trial is pruned."""
    specs = {run.arm: run.spec for run in plan.runs if run.arm in plan.study.searched}
    costs = [(known.of(spec)[0], spec.train.steps) for spec in specs.values()]
    seconds = sum(cost.seconds_per_run + steps * cost.ms_per_step / 1000 for cost, steps in costs)
    return {
        "trials": plan.study.trials,
        "seed": SEED,
        "seconds": seconds * plan.study.trials / max(1, workers),
        "arms": {
            label: [p.key for p in parameters] for label, parameters in spaces(specs, only, plan.study.arms).items()
        },
    }


def search_text(content: Mapping[str, Any]) -> str:
    """The search for a terminal."""
    lines = [
        f"search first: {content['trials']} settings for each arm on the validation split, from seed {content['seed']},"
        f" at most {duration(content['seconds'])}; the runs below then take the best setting of their arm"
    ]
    lines += [f"  {label}: {', '.join(keys)}" for label, keys in content["arms"].items()]
    return "\n".join(lines)


def plan_text(plan: Plan, content: Mapping[str, Any]) -> str:
    """The plan for a terminal."""
    width = max(len(run["arm"]) for run in content["runs"])
    lines = [f"{plan.study.name}: {plan.study.question}", f"preset {plan.preset.name}: {plan.preset.about}"]
    for run in content["runs"]:
        state, place = "done" if run["done"] else "to do", run["directory"] or "(after the search)"
        lines.append(f"  {run['arm']:{width}s} seed {run['seed']:<4d} {run['steps']} steps  {state:6s} {place}")
    lines += [
        f"shared: the first {part['steps']} steps of {part['runs']} runs are trained {part['trained']} times"
        for part in content["shared"]
    ]
    lines += saved(content)
    if (gate := content["gate"]) and not plan.study.searched:  # tuned arms share no warm start
        lines.append(
            f"gate: a seed counts if {gate['metric']} of validation pairs is at most {gate['limit']:g} at step"
            f" {gate['step']}, up to which its arms are one network"
        )
    if dropped := gate_dropped(plan):
        lines.append(dropped)
    lines += left_out(content["left_out"])
    lines += detectable.as_text(content["detectable"])
    return "\n".join(lines + expected(content, len(content["runs"])))


def saved(content: Mapping[str, Any]) -> list[str]:
    """The line that says what sharing saves; nothing if it saves nothing."""
    if not content["saved_steps"]:
        return []
    return [
        f"sharing saves {content['saved_steps']} of the {content['all_steps']} steps to do, about"
        f" {duration(content['saved_seconds'])}"
    ]


def expected(content: Mapping[str, Any], runs: int) -> list[str]:
    """The last lines of a plan: how many of its runs are to do, how long that takes and by what."""
    return [
        *([f"time estimated {content['seconds_by']}"] if content["todo"] else []),
        f"{content['todo']} of {runs} runs to do, about {duration(content['seconds'])} with {content['workers']}"
        f" workers, into {content['out']}",
    ]


def duration(seconds: float) -> str:
    """A time as one reads it: seconds, minutes or hours."""
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
