"""How far a study is, read from its files: any time, whoever is working on it."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from experiments.records import layout, locks, run_record, search
from experiments.records.labels import printable
from studies.planning.plan_store import rows, stored
from studies.planning.planner import PlanError
from studies.queue import attempts
from studies.tracking import backlog

STATES = ("completed", "failed", "running", "waiting")


def status(folder: pathlib.Path, elsewhere: Collection[str] = ()) -> dict[str, Any]:
    """State of every planned run and their counts, as plain data; before the plan, trials of the search that ended.

    Args:
        folder: of the study; the runs are beside it.
        elsewhere: directories of the runs that workers on other machines are at.

    Raises:
        PlanError: if nothing was planned there.
    """
    plan = printable(stored(folder))
    if plan is None and (folder / layout.SEARCH_LOCK).exists():
        ended = found.trials if (found := search.read_search(folder)) else {}
        return {"study": folder.name, "directory": str(folder), "searching": {a: len(t) for a, t in ended.items()}}
    if plan is None:
        raise PlanError(f"nothing of this study was planned in {folder.parent} (another --out or --preset?)")
    runs = [
        {"arm": label, "seed": seed, "directory": name}
        | state(layout.run_directory(folder.parent, name), name in elsewhere)
        for label, seed, name in rows(plan)
    ]
    counts = {name: sum(run["state"] == name for run in runs) for name in STATES}
    return {
        "study": plan["study"],
        "preset": plan["preset"],
        "directory": str(folder),
        "seeds": plan["seeds"],
        "counts": counts | {"planned": len(runs)},
        "left_out": plan.get("left_out", []),
        "sequential": plan.get("sequential"),
        "mirror_gap": backlog.gap(folder),
        "sacred_problems": backlog.sacred_problems(
            [layout.run_directory(folder.parent, run["directory"]) for run in runs]
        ),
        "runs": runs,
    }


def state(directory: pathlib.Path, elsewhere: bool = False) -> dict[str, Any]:
    """State of one run: one of `STATES`, the last step of its learning curve, why it failed, earlier attempts.

    `elsewhere` says that a worker on another machine is at it, whose steps are not seen here.
    """
    found: dict[str, Any] = {"earlier_attempts": list(run_record.earlier_attempts(directory))}
    if layout.finished(directory):
        reason = attempts.failed(directory)
        return found | ({"state": "completed"} if reason is None else {"state": "failed", "reason": reason})
    step = max((line["step"] for line in run_record.read_metrics(directory / layout.METRICS)), default=0)
    idle = not elsewhere and locks.is_free(directory / layout.WORKER_LOCK) and locks.is_free(directory / layout.LOCK)
    return found | {"state": "waiting" if idle else "running", "step": step}


def as_text(found: Mapping[str, Any]) -> str:
    """The status for a terminal: a line per arm, then the runs that need a word."""
    if (ended := found.get("searching")) is not None:
        told = ", ".join(f"{count} of {arm}" for arm, count in ended.items()) or "none"
        return f"{found['study']} in {found['directory']} is in its search; trials of whole rounds that ended: {told}"
    lines = [f"{found['study']} (preset {found['preset']}) in {found['directory']}", counted(found["counts"])]
    width = max(len(run["arm"]) for run in found["runs"])
    for arm in dict.fromkeys(run["arm"] for run in found["runs"]):
        own = [run for run in found["runs"] if run["arm"] == arm]
        shown = [f"{n} {name}" for name in STATES if (n := sum(run["state"] == name for run in own))]
        lines.append(f"  {arm:{width}s}  {', '.join(shown)}")
    for run in found["runs"]:
        name = f"  {run['arm']} seed {run['seed']}"
        if run["state"] == "failed":
            lines.append(f"{name} {run['reason']} (--retry-failed does it again)")
        elif run["state"] == "running" or run.get("step"):
            lines.append(f"{name} {run['state']} at step {run['step']}")
        lines += [f"{name}: earlier attempt {i}: {how}" for i, how in enumerate(run["earlier_attempts"], 1)]
    if looks := found["sequential"]:
        made = len(looks["undecided"])
        lines.append(f"looks after {', '.join(map(str, looks['looks']))} seeds, {made} made")
    lines += backlog.sentences(found["mirror_gap"], found["sacred_problems"])
    return "\n".join(lines + left_out(found["left_out"]))


def counted(counts: Mapping[str, int]) -> str:
    """How many of the planned runs are in which state."""
    return (
        f"{counts['completed']} of {counts['planned']} runs completed, {counts['failed']} failed,"
        f" {counts['running']} running, {counts['waiting']} waiting"
    )


def left_out(labels: list[str]) -> list[str]:
    """The line that says which arms exist and are not part of the plan; nothing if all are."""
    return [f"arms that were not asked for: {', '.join(labels)} (--arms all, or --arms LABEL,...)"] if labels else []
