"""The command: `python -m studies.run STUDY` plans, runs, resumes by itself and ends with the table."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from studies import catalog

DONE, USAGE, FAILED, DRIFT, INTERRUPTED = 0, 2, 3, 4, 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m studies.run",
        description="Runs or continues a study and ends with its table. The same command again trains nothing.",
        epilog="Exit codes: 0 all runs done; 2 wrong usage; 3 finished with failed runs; 4 the code or the data has"
        " changed since the study was planned; 130 interrupted, to be continued by the same command.",
    )
    made.add_argument("study", nargs="?", help="a name of --list, or the path of a study file")
    made.add_argument("--list", action="store_true", help="the studies and their questions")
    made.add_argument("--plan", action="store_true", help="show the runs and the expected time; train nothing")
    made.add_argument("--report-only", action="store_true", help="report on what is there; train nothing")
    made.add_argument("--preset", default="short", metavar="NAME", help="smoke, short or paper (%(default)s)")
    made.add_argument("--seeds", metavar="N|A,B,C", help="number of seeds, or which (default: by preset)")
    made.add_argument("--arms", metavar="A,B", help="only these arms (and the baseline)")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another value for an option")
    made.add_argument("--data", metavar="SOURCE", help="train on synthetic or NAME:PATH[;NAME:PATH]")
    made.add_argument("--eval", metavar="SOURCE", help="evaluate on NAME:PATH (default: the training data set)")
    made.add_argument("--out", type=pathlib.Path, help="where everything goes (default: results/PRESET)")
    made.add_argument("--workers", type=int, metavar="N", help="runs at a time (default: one per CPU core)")
    made.add_argument("--device", default="auto", help="auto, CPU, GPU or Ascend (%(default)s)")
    made.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: mlflow.db in --out); 'none' for none"
    )
    made.add_argument("--checkpoint-seconds", type=float, default=30.0, help="time between checkpoints (%(default)s)")
    made.add_argument("--fresh", action="store_true", help="plan anew; finished runs are kept and used again")
    made.add_argument("--force", action="store_true", help="let a preset run that is not made for this machine")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a study; see `parser` for the exit codes."""
    arguments = parser().parse_args(argv)
    if arguments.list:
        for name in catalog.names():
            study = catalog.load(name)
            print(f"{name:24s} {study.question}\n{'':24s} arms: {', '.join(arm.label for arm in study.arms)}")
        return DONE
    from studies.plan_file import DriftError

    try:
        return _study(arguments)
    except DriftError as error:
        print(f"studies.run: {error}", file=sys.stderr)
        return DRIFT
    except (ValueError, OSError) as error:
        print(f"studies.run: {error}", file=sys.stderr)
        return USAGE


def _asked(arguments: argparse.Namespace) -> Any:
    from experiments.run import parse_changes
    from studies.baselines import PRESETS
    from studies.planning import Asked, PlanError, parse_seeds
    from uflow.registry import did_you_mean

    if arguments.preset not in PRESETS:
        hint = did_you_mean(arguments.preset, PRESETS)
        raise PlanError(f"unknown preset {arguments.preset!r}{hint} (known: {', '.join(PRESETS)})")
    preset = PRESETS[arguments.preset]
    changes = parse_changes(arguments.set)
    for flag, key in (("data", "data.source"), ("eval", "evaluation.source")):
        if value := getattr(arguments, flag):
            changes[key] = value
    seeds = parse_seeds(arguments.seeds) if arguments.seeds else tuple(range(preset.seeds))
    arms = tuple(word.strip() for word in arguments.arms.split(",")) if arguments.arms else ()
    return Asked(preset=preset, seeds=seeds, changes=changes, arms=arms)


def _study(arguments: argparse.Namespace) -> int:
    from experiments import execution
    from studies import plan_file, planning

    if not arguments.study:
        raise planning.PlanError(f"which study? one of {', '.join(catalog.names())}, or a path; --list explains them")
    study = catalog.load(arguments.study)
    asked = _asked(arguments)
    out = (arguments.out or pathlib.Path("results") / asked.preset.name).resolve()
    folder = out / study.name
    if arguments.report_only:
        return _report(out, folder, None)
    workers = _workers(arguments)
    _check_device(asked.preset, arguments)
    plan = planning.make(study, asked)
    content = plan.plain() if arguments.fresh else plan_file.merged(plan, out)
    todo = plan_file.pending(plan, out, workers)
    if plan.note:
        print(f"note: {plan.note}")
    if arguments.plan:
        _show_plan(plan, todo, workers, out)
        return DONE
    execution.check_writable(out)
    print(f"{study.name}: {study.question}")
    print(f"everything goes to {out}; {len(plan.runs)} runs, {len(plan.runs) - len(todo)} of them done")
    plan_file.write(plan, out, content)
    tracking = arguments.tracking_uri or f"sqlite:///{out / 'mlflow.db'}"
    mirror = None
    if tracking != "none":
        from experiments.tracking import Mirror

        mirror = Mirror(tracking, study.name, out / "mlartifacts")
        mirror.parent(study.question)  # before any worker: several would make the store at the same time
    interrupted = False
    if todo:
        from studies.launcher import run_all
        from studies.worker import WorkerSettings

        settings = WorkerSettings(
            out=out,
            study=study.name,
            device=arguments.device,
            shared_steps=plan.shared_steps,
            tracking=None if tracking == "none" else tracking,
            checkpoint_seconds=arguments.checkpoint_seconds,
        )
        interrupted = run_all(plan, out, workers, settings)
    if mirror:
        _mirror_all(mirror, plan, out)
    if interrupted:
        left = len(plan_file.pending(plan, out))
        command = "python -m studies.run " + " ".join(sys.argv[1:])
        print(f"interrupted, {left} runs left; the same command goes on:\n  {command}")
        return INTERRUPTED
    return _report(out, folder, mirror)


def _workers(arguments: argparse.Namespace) -> int:
    from studies.launcher import cores
    from studies.planning import PlanError

    workers = cores() if arguments.workers is None else arguments.workers
    if not 1 <= workers <= 1024:
        raise PlanError(f"--workers must be a whole number in [1, 1024], got {workers}")
    return workers


def _check_device(preset: Any, arguments: argparse.Namespace) -> None:
    """Raises for a preset that would take months on the CPU, before anything is written."""
    from experiments.device import TARGETS, available
    from studies.planning import PlanError

    if arguments.device not in TARGETS:
        raise PlanError(f"unknown device {arguments.device!r} (known: {', '.join(TARGETS)})")
    target = available() if arguments.device == "auto" else arguments.device
    if preset.device == "accelerator" and target == "CPU" and not (arguments.force or arguments.plan):
        raise PlanError(
            f"preset {preset.name!r} needs a GPU or Ascend and this machine has a CPU only, where a run would take"
            " months; use --preset short, or --force to do it all the same"
        )


def _show_plan(plan: Any, todo: Sequence[Any], workers: int, out: pathlib.Path) -> None:
    from experiments.spec import prefix_id
    from studies.planning import estimate

    print(f"{plan.study.name}: {plan.study.question}")
    print(f"preset {plan.preset.name}: {plan.preset.about}")
    waiting = {run.directory for run in todo}
    for run in plan.runs:
        state = "to do" if run.directory in waiting else "done"
        print(f"  {run.arm:20s} seed {run.seed:<4d} {run.spec.train.steps} steps  {state:6s} {run.directory}")
    for step in plan.shared_steps:
        names = {prefix_id(run.spec, step) for run in plan.runs if step < run.spec.train.steps}
        users = sum(step < run.spec.train.steps for run in plan.runs)
        print(f"shared: the first {step} steps of {users} runs are trained {len(names)} times")
    seconds = estimate(plan, todo, workers)
    print(f"{len(todo)} of {len(plan.runs)} runs to do, about {_duration(seconds)} with {workers} workers, into {out}")


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _mirror_all(mirror: Any, plan: Any, out: pathlib.Path) -> None:
    """Brings MLflow up to date: runs of other studies that are arms here too, and what a killed worker left out."""
    from experiments.tracking import mirror_run

    about = {"study": plan.study.name, "preset": plan.preset.name}
    for run in plan.runs:
        directory = out / "runs" / run.directory
        if (directory / "result.json").exists():
            mirror_run(mirror, directory, run.arm, run.seed, about)


def _report(out: pathlib.Path, folder: pathlib.Path, mirror: Any) -> int:
    """Writes and prints the report; 0, or 3 if a run failed."""
    from analysis.load import load_study
    from analysis.report import write_report
    from experiments.tracking import describe

    report = write_report(folder)
    print(report.text)
    data = load_study(folder)
    failed = [record for record in data.records.values() if record.status != "completed"]
    if mirror:
        mirror.parent(report.description)
        mirror.close_parent("FAILED" if failed else "FINISHED", report.directory)
        for problem in mirror.failures[:3]:
            print(f"warning: MLflow: {problem}", file=sys.stderr)
    print(f"report: {report.directory}")
    uri = mirror.uri if mirror else f"sqlite:///{out / 'mlflow.db'}"
    print("compare the runs in a browser:")
    shown = describe(uri)
    print(f"  MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --backend-store-uri {shown}")
    return FAILED if failed or data.problems else DONE


if __name__ == "__main__":
    sys.exit(main())
