"""The command: `python -m studies.run STUDY` plans, runs, resumes by itself and ends with the table.

On a campaign it does so for all of its studies as one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from experiments.cli import terminal
from experiments.cli.signals import stop_on_signals
from experiments.records import layout
from studies.cli.arguments import parser, read, resumed
from studies.cli.command import Command
from studies.cli.ending import CommandResult, looked_at, reported, update_mirror
from studies.queue.endings import DONE, DRIFT, FAILED, INTERRUPTED, USAGE, CannotRun, DriftError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a study or a campaign; see `studies.cli.arguments.parser` for the exit codes."""
    words = list(sys.argv[1:] if argv is None else argv)
    given = parser().parse_args(words)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a study file may print
            command = read(given, words)
        with contextlib.redirect_stdout(sys.stderr) if command.json else contextlib.nullcontext():
            result = _result(command)
    except KeyboardInterrupt:
        print("studies.run: ended at once; the same command goes on with what was saved", file=sys.stderr)
        return INTERRUPTED
    except (CannotRun, ValueError, OSError) as error:
        for line in str(error).splitlines():
            print(f"studies.run: {line}", file=sys.stderr)
        return FAILED if isinstance(error, CannotRun) else DRIFT if isinstance(error, DriftError) else USAGE
    print(json.dumps(result.plain, indent=1, allow_nan=False) if command.json else result.text)
    return result.code


def _result(command: Command) -> CommandResult:
    from studies.cli import campaign, plan_view, status_view

    if command.action == "list":
        found = plan_view.studies() + plan_view.campaigns()
        return CommandResult(DONE, found, plan_view.list_text(found))
    if command.action == "status" and command.parts:
        found = campaign.status(command, _running_elsewhere(command))
        return CommandResult(DONE, found, campaign.status_text(found))
    if command.action == "status":
        found = status_view.status(command.folder, _running_elsewhere(command))
        return CommandResult(DONE, found, status_view.as_text(found))
    if command.action == "report-only" and command.parts:
        return campaign.looked_at(command, command.report_dir)
    if command.action == "report-only":
        return looked_at(command, command.report_dir)
    if command.action == "plan":
        return _previewed(command)
    if command.action == "worker":
        return _joined(command)
    if command.parts:
        plan, parts = _joined_plans(command)
        again = [run.directory for run in plan.all_runs] if command.retry_failed else []
        return _run(plan, parts, command, again, None)
    stop = None
    if command.study.searched:
        tuned = _tuned(command)
        if isinstance(tuned, CommandResult):
            return tuned
        command, stop = tuned
    if command.looks:
        return _until_decided(command, stop)
    plan, content = _planned(command)
    again = [run.directory for run in plan.all_runs] if command.retry_failed else []
    return _run(plan, [(plan, content)], command, again, stop)


def _planned(command: Command) -> tuple[Any, Any]:
    """The plan and the content of its file."""
    from studies.planning import plan_store, planner

    plan = planner.make(command.study, command.request)
    if command.stored is None or command.study.searched:  # the stored runs are those of arms that are tuned
        return plan, plan.plain()
    return plan, plan_store.merged(plan, command.out, bool(command.looks))


def _joined_plans(command: Command) -> tuple[Any, list[tuple[Any, Any]]]:
    """The plan of a campaign, and the plans of its studies with the content of their files."""
    from studies.planning.campaign_plan import each, joined

    parts = each({part.study.name: functools.partial(_planned, part) for part in command.parts})
    return joined(command.study, [plan for plan, _ in parts]), parts


def _previewed(command: Command) -> CommandResult:
    from experiments.training.device import available
    from studies.cli import campaign, plan_view
    from studies.planning import costs, plan_store

    plan, _ = _joined_plans(command) if command.parts else _planned(command)
    target = command.cards[0].target
    known = costs.known(command.out, available() if target == "auto" else target, plan.preset.name)
    todo = plan_store.pending(plan, command.out, command.workers, again=command.retry_failed)
    if command.parts:
        found = campaign.plan_content(plan, command, todo, known)
        text = campaign.plan_text(plan, found)
    else:
        todo = plan_view.with_searched(plan, todo)
        found = plan_view.plan_content(plan, todo, command.workers, known)
        text = plan_view.plan_text(plan, found)
        if command.study.searched:
            found["search"] = plan_view.search_content(plan, command.workers, command.only, known)
            text = f"{plan_view.search_text(found['search'])}\n{text}"
    if command.looks:
        found["looks"] = command.looks.plain()
        text += f"\n{command.looks.note}"
    if command.launcher[0] == "slurm":
        found["slurm_script"] = _script(command, len(todo))
        text += f"\nthe script of each job:\n{found['slurm_script']}"
    return CommandResult(DONE, found, text)


def _script(command: Command, todo: int) -> str:
    """What would be submitted to Slurm for each worker."""
    from studies.launchers.slurm_jobs import script
    from studies.launchers.supervisor import assigned

    workers = assigned(command.settings, command.cards, max(1, min(command.workers, todo)))
    return script(command.launcher[1], workers[0])


def _tuned(command: Command) -> tuple[Command, Callable[[], bool]] | CommandResult:
    """The command with every searched arm at its best setting, or the result if the search was interrupted.

    Also what tells whether a signal has come, which must go on being asked.
    """
    from studies.launchers.supervisor import run_all, start_of
    from studies.planning import plan_store, planner
    from studies.search import tuning
    from studies.search.space import spaces

    plan = planner.make(command.study, command.request)
    search = tuning.SearchBudget(budget=command.study.trials, metric=tuning.metric_of(plan), only=command.only)
    specs = tuning.searched(plan)
    spaces(specs, search.only, plan.study.arms)  # refuses what cannot be searched
    if command.stored is not None:
        plan_store.check_request(plan, command.stored, command.out)
    start = start_of(*command.launcher)
    _check_places(command)
    print(f"{plan.study.name}: {plan.study.question}")
    print(
        f"search: {search.budget} settings for each of {', '.join(specs)}, by {search.metric} of the validation split"
    )
    mirror, settings, stop = _mirror(command), command.settings, stop_on_signals(insist=True)

    def done(trials: Any) -> bool:
        return run_all(trials, settings, command.workers, command.cards, start, stage="search", stop=stop)

    trials = tuning.tune(plan, search, command.out, done, stop)
    if mirror:
        update_mirror(mirror, command)
    if trials is None:
        resume = resumed(command.words, command.request.seeds)
        text = f"interrupted in the search; the same command goes on:\n  {resume}"
        return CommandResult(INTERRUPTED, {"interrupted": True, "resume": resume}, text)
    for label, tried in trials.items():
        print(tuning.summary(label, tried))
    return dataclasses.replace(command, study=tuning.chosen(command.study, trials)), stop


def _running_elsewhere(command: Command) -> set[str]:
    """Directories of the runs that workers of a database's queue are at; none if it cannot be asked, with a word."""
    settings = command.settings
    if not settings.storage:
        return set()
    from studies.queue.database_queue import has_queue

    try:
        known = has_queue(settings.storage, settings.queue)
    except ValueError as error:
        print(f"note: what other machines are at is not known: {error}", file=sys.stderr)
        return set()
    return set(settings.open_queue().states()[1]) if known else set()


def _check_places(command: Command) -> None:
    """Raises with one sentence if the database of the queue cannot be reached or nothing can be written."""
    from experiments.records.atomic import check_writable

    if command.settings.storage:
        from studies.queue.database_queue import has_queue

        has_queue(command.settings.storage, command.settings.queue)
    check_writable(command.out)


def _joined(command: Command) -> CommandResult:
    """Works on what another command has planned."""
    from studies.launchers.supervisor import join, start_of

    if not command.settings.storage and not command.folder.is_dir():
        raise ValueError(
            f"--worker: nothing of {command.study.name} was planned in {command.out} (another --out or --preset? on"
            " another machine, give --storage)"
        )
    start = start_of(*command.launcher)
    _check_places(command)
    _mirror(command)
    print(f"{command.study.name}: {command.workers} workers, runs in {command.out / 'runs'}")
    codes = join(command.settings, command.workers, command.cards, start)
    code = next((known for known in (INTERRUPTED, DRIFT, USAGE) if known in codes), FAILED if any(codes) else DONE)
    text = {DONE: "nothing is left to do", INTERRUPTED: "stopped; its runs were put back"}.get(code, "")
    return CommandResult(code, {"study": command.study.name, "exit_code": code}, text)


def _mirror(command: Command) -> Any:
    """The study's mirror in MLflow, made before any worker: a fresh store takes seconds."""
    from studies.tracking.mirror_thread import open_mirror

    if command.settings.tracking is None:
        return None
    mirror = open_mirror(command.settings.tracking, command.study.name, command.out)
    mirror.begin(command.study.question)
    return mirror


def _until_decided(command: Command, stop: Callable[[], bool] | None) -> CommandResult:
    """Look after look: all arms first, then those that are undecided. A look that was made stands."""
    from studies.planning import plan_store, planner, sequential

    looks, request, stored = command.looks, command.request, command.stored
    made = sequential.recorded(stored, looks)
    seeds = request.seeds + planner.following(request.seeds, looks.counts[-1] - len(request.seeds))
    sequential.check_seeds(stored, seeds if made else request.seeds)
    arms = sequential.first_arms(command.study, request, stored)
    again = [name for _, _, name in plan_store.rows(stored or {"arms": []})]
    again = again if command.retry_failed else []
    for number, count in enumerate(looks.counts):
        plan = planner.make(command.study, dataclasses.replace(request, seeds=seeds[:count], arms=arms))
        fresh = command.stored is None and number == 0
        content = plan.plain() if fresh else plan_store.merged(plan, command.out, looking=True)
        content |= sequential.entries(looks, made)
        passed = number < len(made) - 1 and not plan_store.pending(plan, command.out) and not again
        if not passed:
            print(f"look {number + 1} of {len(looks.counts)}, after {count} seeds, at {', '.join(plan.labels)}")
            result = _run(plan, [(plan, content)], command, again, stop)
            again = []
            if result.code == INTERRUPTED or result.plain["left"]:
                return result  # a look at some of the runs would be no look
        if number == len(made):
            made.append(sequential.undecided(result.plain["effects"]))
            plan_store.write(plan, command.out, content | sequential.entries(looks, made))
        if not made[number]:
            break
        arms = tuple(made[number])
        print(f"undecided after {count} seeds: {', '.join(arms)}")
    return result


def _run(
    plan: Any,
    parts: Sequence[tuple[Any, Any]],
    command: Command,
    again: Sequence[str],
    stop: Callable[[], bool] | None,
) -> CommandResult:
    """Does what is left to do of a plan and reports; the first thing that writes.

    `parts` are the plans of studies that are kept, with the contents of their files: of a campaign several.
    """
    from studies.cli import campaign, plan_view, tidying
    from studies.launchers.supervisor import start_of
    from studies.planning import plan_store
    from studies.queue import attempts

    out = command.out
    start = start_of(*command.launcher)
    _check_places(command)
    for part, _ in parts:
        about = f"{part.study.name}: " if command.parts else ""
        for note in filter(None, (part.note, plan_view.gate_dropped(part))):
            print(f"note: {about}{note}")
    print(f"{plan.study.name}: {plan.study.question}")
    for part, content in parts:
        plan_store.write(part, out, content, fresh=command.fresh)
    command.folder.mkdir(exist_ok=True)  # a campaign has no plan of its own in it, but the queue
    for directory in attempts.set_aside(layout.run_directory(out, name) for name in again):
        print(f"done again: {directory.name}")
    todo = plan_store.pending(plan, out, command.workers)
    print(f"everything goes to {out}; {len(plan.all_runs)} runs, {len(plan.all_runs) - len(todo)} of them done")
    mirror = _mirror(command)
    interrupted = False
    if todo:
        from studies.launchers.supervisor import run_all

        settings = command.settings
        interrupted = run_all(plan, settings, command.workers, command.cards, start, stop=stop)
    if mirror:
        update_mirror(mirror, command)
    if interrupted:
        left, resume = len(plan_store.pending(plan, out)), resumed(command.words, command.request.seeds)
        text = f"interrupted, {left} runs left; the same command goes on:\n  {resume}"
        return CommandResult(INTERRUPTED, {"interrupted": True, "left": left, "resume": resume}, text)
    left = len(plan_store.pending(plan, out))
    if not left:
        tidying.prune_prefixes(out)
    if command.parts:
        return campaign.reported(command)
    return reported(command, mirror, left)


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
