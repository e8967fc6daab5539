"""What a command on a campaign answers: how long it takes, how far it is, and its one report."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from experiments.records import layout
from experiments.records.plan import read_plan
from studies.cli import ending, plan_view, status_view
from studies.cli.command import Command
from studies.cli.ending import CommandResult
from studies.planning import plan_store
from studies.planning.campaign_plan import CampaignPlan, each
from studies.planning.costs import Costs
from studies.planning.planner import PlanError, PlannedRun
from studies.queue.endings import DONE, FAILED
from studies.tracking import backlog


def plan_content(plan: CampaignPlan, command: Command, todo: Sequence[PlannedRun], known: Costs) -> dict[str, Any]:
    """Runs of every study and kind of data, those that several of them share, and how long what is left takes."""
    waiting = {run.directory for run in todo}
    parts = [
        {
            "study": study,
            "kind": kind,
            "directory": folder,
            "arms": len(part.labels),
            "seeds": sorted({run.seed for run in part.runs}),
            "runs": len({run.directory for run in part.all_runs}),
            "todo": len(waiting & {run.directory for run in part.all_runs}),
        }
        for (study, kind, folder), part in zip(plan.study.parts, plan.parts, strict=True)
    ]
    return {
        "campaign": plan.study.name,
        "question": plan.study.question,
        "preset": plan.preset.name,
        "out": str(command.out),
        "kinds": list(plan.study.kinds),
        "studies": parts,
        "runs": len(plan.all_runs),
        "shared_runs": sum(part["runs"] for part in parts) - len(plan.all_runs),
        **plan_view.time_content(plan, todo, command.workers, known),
    }


def plan_text(plan: CampaignPlan, content: Mapping[str, Any]) -> str:
    """The plan for a terminal, a line for every study and kind of data."""
    width = max(len(part["study"]) for part in content["studies"])
    wide = max(len(kind) for kind in content["kinds"])
    lines = [f"{plan.study.name}: {plan.study.question}", f"preset {plan.preset.name}: {plan.preset.about}"]
    lines += [
        f"  {part['study']:{width}s}  {part['kind']:{wide}s}  {part['arms']} arms, {len(part['seeds'])} seeds:"
        f" {part['runs']} runs, {part['todo']} to do"
        for part in content["studies"]
    ]
    if content["shared_runs"]:
        lines.append(f"{content['shared_runs']} of these runs belong to more than one study and are made once")
    return "\n".join([*lines, *plan_view.saved(content), *plan_view.expected(content, content["runs"])])


def status(command: Command, elsewhere: Collection[str] = ()) -> dict[str, Any]:
    """How far each study that was planned is, see `status_view.status`, and how many runs there are in each state.

    Every run counts once, however many studies have it.

    Raises:
        PlanError: if nothing was planned.
    """
    found = each({p.study.name: lambda p=p: status_view.status(p.folder, elsewhere) for p in _planned(command)})
    runs = {run["directory"]: run["state"] for study in found for run in study["runs"]}
    counts = {state: sum(own == state for own in runs.values()) for state in status_view.STATES}
    return {"campaign": command.study.name, "counts": counts | {"planned": len(runs)}, "studies": found}


def _planned(command: Command) -> list[Command]:
    """The commands on the studies that were planned; a crash may have come before the others were."""
    there = [part for part in command.parts if plan_store.stored(part.folder) is not None]
    if not there:
        raise PlanError(f"nothing of {command.study.name} was planned in {command.out} (another --out or --preset?)")
    return there


def status_text(found: Mapping[str, Any]) -> str:
    """The status for a terminal: a line for all, then one for every study."""
    told = status_view.counted
    width = max(len(study["study"]) for study in found["studies"])
    lines = [f"{found['campaign']}: {told(found['counts'])}"]
    return "\n".join([*lines, *(f"  {study['study']:{width}s}  {told(study['counts'])}" for study in found["studies"])])


def reported(command: Command) -> CommandResult:
    """Writes the report of every study, sends MLflow what it lacks, and writes the report of the campaign.

    The exit code is that of a study: 3 if a run failed, or was left that should have been done.
    """
    from studies.tracking.mirror_thread import open_mirror

    results, waiting = [], set()
    for part in command.parts:
        mirror = None
        if part.settings.tracking:
            mirror = open_mirror(part.settings.tracking, part.study.name, part.out)
            mirror.begin(part.study.question)
            ending.update_mirror(mirror, part)
        runs = status_view.status(part.folder)["runs"]
        left = {run["directory"] for run in runs if run["state"] in ("waiting", "running")}
        results.append(ending.reported(part, mirror, len(left)))
        waiting |= left
    return _together(command, results, command.out, len(waiting))


def looked_at(command: Command, place: pathlib.Path | None) -> CommandResult:
    """Like `reported`, but only looks at the results: writes to another folder, or nothing."""
    results = [ending.looked_at(part, place and place / part.study.name / layout.REPORT) for part in _planned(command)]
    return _together(command, results, place)


def _together(
    command: Command, results: Sequence[CommandResult], place: pathlib.Path | None, left: int = 0
) -> CommandResult:
    """The results of the studies as one, with the ledger over them, whose page is written to `place`, if anywhere.

    A run counts once, however many studies have it: so does what `left` says of those that should have been done.
    """
    from analysis.paper.other_papers import every_claim
    from analysis.paper.overview import overview
    from analysis.report.ledger_page import as_text, write_page

    found = overview(command.out, every_claim(), names={part.study.name for part in command.parts})
    page = write_page(found, place) if place else None
    lines = [as_text(found)]
    for result in results:
        told = result.plain
        words = [f"{len(told['failed'])} failed"] * bool(told["failed"]) + [f"{told['left']} left"] * bool(told["left"])
        lines.append(f"{told['study']}: {', '.join([*words, told['report'] or 'not written'])}")
    lines += dict.fromkeys(problem for result in results for problem in result.plain["problems"])
    lines += [f"report: {page}"] if page else []
    if shown := results[0].plain["mlflow"]:
        lines += ["compare the runs in a browser:", f"  {shown}"]
    lacking = (backlog.sentences(result.plain["mirror_gap"], result.plain["sacred_problems"]) for result in results)
    lines += dict.fromkeys(itertools.chain.from_iterable(lacking))
    plans = [read_plan(command.out / result.plain["study"]) for result in results]
    failed = {
        plan.arm(arm).runs[seed]
        for plan, result in zip(plans, results, strict=True)
        for arm, seed in result.plain["failed"]
    }
    code = FAILED if any(result.code == FAILED for result in results) else DONE
    plain = {
        "campaign": command.study.name,
        "out": str(command.out),
        "report": page and str(page),
        "exit_code": code,
        "failed": len(failed),
        "left": left,
        "studies": [result.plain for result in results],
        "transfer": [transfer.plain for transfer in found.transfers],
    }
    return CommandResult(code, plain, "\n".join(lines))
