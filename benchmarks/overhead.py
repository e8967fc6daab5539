"""What a study costs beside training: `python -m benchmarks.overhead [--runs 60] [--storage URL] [--json FILE]`.

A study whose runs do everything but train, one at a time: plan, queue, process, Sacred, files, MLflow, each timed as a
whole study with and without MLflow. The time that one process needs to load MindSpore is given beside it; on the CPU a
worker pays it once.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from experiments.cli.flags import Parser
from experiments.records import json_files
from studies.design import Arm, Study
from studies.launchers.supervisor import run_all
from studies.planning import plan_store, planner
from studies.presets import PRESETS
from studies.tracking.mirror_thread import open_mirror
from studies.tracking.sync import sync_runs
from studies.workers.cards import Card
from studies.workers.subprocess_run import Execution
from studies.workers.worker import WorkerSettings

STUDY = Study(
    name="overhead",
    question="What does a run cost that trains nothing?",
    arms=(Arm("none", {"occlusion.name": "none"}), Arm("wang", {"occlusion.name": "wang"})),
    baseline="none",
    metric="all",
)


def timed(out: pathlib.Path, runs: int, mlflow: bool, storage: str | None) -> dict[str, float]:
    """Wall and CPU seconds of a study per run, and the seconds before its first run began."""
    tracking = f"sqlite:///{out / 'mlflow.db'}" if mlflow else None
    if tracking:  # making a new store takes seconds, once
        open_mirror(tracking, STUDY.name, out).begin(STUDY.question)
    before, began = _cpu(), time.monotonic()
    plan = planner.make(STUDY, planner.PlanRequest(preset=PRESETS["smoke"], seeds=tuple(range(runs // 2))))
    plan_store.write(plan, out, plan.plain())
    settings = WorkerSettings(
        execution=Execution(out=out, program="benchmarks.trivial_run"),
        study=STUDY.name,
        queue=f"overhead_{time.time_ns()}",
        storage=storage,
        tracking=tracking,
    )
    run_all(plan, settings, 1, (Card("CPU"),))
    if tracking:
        sync_runs(open_mirror(tracking, STUDY.name, out), out / STUDY.name)
    wall, used = time.monotonic() - began, _cpu() - before
    if left := plan_store.pending(plan, out):
        raise RuntimeError(f"{len(left)} runs were not done; see {out / STUDY.name / 'study.log'}")
    return {"wall": wall, "cpu": used}


def _cpu() -> float:
    """CPU seconds of this process and of all of its children that have ended."""
    kinds = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in kinds)


def loading() -> float:
    """Seconds in which a new process has loaded MindSpore and what else a run needs."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "from experiments import run; run.preload()"], check=True)
    return time.monotonic() - began


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m benchmarks.overhead", description=__doc__)
    made.add_argument("--runs", type=int, default=60, help="runs of each study, an even number (%(default)s)")
    made.add_argument("--storage", default=os.environ.get("UFLOW_STORAGE"), help="a database for the queue")
    made.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures there too")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each way of tracking."""
    given = parser().parse_args(argv)
    if given.runs < 4 or given.runs % 2:
        print(f"benchmarks.overhead: --runs must be even and at least 4, got {given.runs}", file=sys.stderr)
        return 2
    found = {"runs": given.runs, "loading": min(loading() for _ in range(3))}
    print(f"loading MindSpore, Sacred and the rest: {found['loading']:.2f} s, once a worker")
    for name, mlflow in (("without MLflow", False), ("with MLflow", True)):
        with tempfile.TemporaryDirectory() as folder:
            few = timed(pathlib.Path(folder) / "few", 4, mlflow, given.storage)
        with tempfile.TemporaryDirectory() as folder:
            many = timed(pathlib.Path(folder) / "many", given.runs, mlflow, given.storage)
        each = {key: (many[key] - few[key]) / (given.runs - 4) for key in many}
        found[name] = {"seconds a run": each["wall"], "CPU seconds a run": each["cpu"], "study of 4 runs": few["wall"]}
        costs = f"{each['wall']:.3f} s a run ({each['cpu']:.3f} s of CPU time)"
        print(f"{name}: {costs}; a study of 4 runs {few['wall']:.1f} s")
    if given.json:
        json_files.atomic_write(given.json, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
