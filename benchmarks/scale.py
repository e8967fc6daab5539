"""Whether what a study costs beside its runs grows with their number: `python -m benchmarks.scale [--runs 10,100,...]`.

Nothing is run: the files of runs are made as `benchmarks.trivial_run` makes them. Timed are planning (the plan and all
`spec.json`), filling the queue, taking a run from it and giving it back done, `--status`, the report with its ledger of
the paper's findings, MLflow brought up to date in SQLite, and looked through once more. The table has CPU milliseconds
of a run, which other work on the machine does not change much, and the seconds of the whole.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.trivial_run import trivial
from experiments.cli.flags import Parser
from experiments.records import json_files
from experiments.records.run_settings import RunSettings
from studies.design import Study, vary
from studies.planning import plan_store, planner
from studies.presets import PRESETS

METHODS = ("none", "wang", "brox", "fb_abs", "wang4")
STUDY = Study(
    name="scale",
    question="What does a run cost if there are many?",
    arms=vary("occlusion", METHODS),
    baseline="none",
    metric="all",
)
CLAIMS = 100  # runs at most that are taken from the queue; what one costs depends on how many are in it
MLFLOW = 1000  # runs at most that are sent to MLflow


def costs(out: pathlib.Path, runs: int, mlflow: bool) -> dict[str, tuple[float, int]]:
    """CPU seconds of each stage of a study in an empty folder, and how many runs they were spent on.

    Args:
        out: directory of all results.
        runs: of the study, a multiple of the number of `METHODS`.
        mlflow: whether they are sent to MLflow.
    """
    from analysis.report.write import write_report
    from studies.cli import status_view
    from studies.queue.file_queue import Queue
    from studies.queue.job import jobs_of
    from studies.tracking.mirror_thread import open_mirror
    from studies.tracking.sync import sync_runs

    found: dict[str, tuple[float, int]] = {}

    def timed(stage: str, action: Callable[[], Any], count: int = runs) -> Any:
        began = time.process_time()
        result = action()
        found[stage] = time.process_time() - began, count
        return result

    request = planner.PlanRequest(preset=PRESETS["smoke"], seeds=tuple(range(runs // len(METHODS))))
    folder = out / STUDY.name

    def planned() -> planner.Plan:
        plan = planner.make(STUDY, request)
        plan_store.write(plan, out, plan_store.merged(plan, out))
        return plan

    plan = timed("plan", planned)
    timed("plan again", lambda: plan_store.merged(planner.make(STUDY, request), out))
    queue = Queue(folder)
    about = {"study": STUDY.name, "preset": plan.preset.name}

    def enqueue() -> None:
        todo = plan_store.pending(plan, out)
        queue.enqueue(jobs_of(todo, queue.runs, about, plan.shared_steps))

    timed("enqueue", enqueue)
    settings = RunSettings(out=out)
    specs = {run.directory: run.spec for run in plan.runs}

    def claim() -> float:
        """Takes runs and gives them back done; what was spent on their files."""
        spent = 0.0
        for _ in range(min(runs, CLAIMS)):
            lease = queue.claim()
            began = time.process_time()
            trivial(specs.pop(lease.job.directory), settings)
            spent += time.process_time() - began
            queue.ended(lease, True)
        return spent

    files = timed("claim", claim, min(runs, CLAIMS))
    found["claim"] = found["claim"][0] - files, found["claim"][1]
    for spec in specs.values():
        trivial(spec, settings)
    timed("status", lambda: status_view.as_text(status_view.status(folder)))
    timed("report", lambda: write_report(folder))
    if mlflow:
        mirror = open_mirror(f"sqlite:///{out / 'mlflow.db'}", STUDY.name, out)
        mirror.begin(STUDY.question)
        timed("MLflow", lambda: sync_runs(mirror, folder))
        timed("MLflow again", lambda: sync_runs(mirror, folder))
    return found


def markdown(found: dict[int, dict[str, tuple[float, int]]]) -> str:
    """The table: a line for each stage, a column for each number of runs."""
    stages = list(dict.fromkeys(stage for each in found.values() for stage in each))
    lines = [f"| CPU ms of a run | {' | '.join(f'{runs:,} runs' for runs in found)} |", "|---|" + "--:|" * len(found)]
    for stage in stages:
        cells = [
            "-" if stage not in each else f"{1e3 * each[stage][0] / each[stage][1]:.2f}" for each in found.values()
        ]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    whole = [each["status"][0] + each["report"][0] for each in found.values()]
    lines.append(f"| status and report of all, CPU s | {' | '.join(f'{seconds:.1f}' for seconds in whole)} |")
    return "\n".join(lines)


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m benchmarks.scale", description=__doc__)
    made.add_argument("--runs", default="10,100,1000,10000", help="numbers of runs (%(default)s)")
    made.add_argument(
        "--mlflow", type=int, default=MLFLOW, metavar="N", help="send no study of more runs to MLflow (%(default)s)"
    )
    made.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the seconds there too")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; 0, or 2 for wrong usage."""
    given = parser().parse_args(argv)
    words = given.runs.split(",")
    wrong = [word for word in words if not word.strip().isdecimal() or int(word) < 10 or int(word) % len(METHODS)]
    if wrong:
        told = f"--runs: {wrong[0]!r} is not a number of runs; at least 10, and a multiple of {len(METHODS)}"
        print(f"benchmarks.scale: {told}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        costs(pathlib.Path(folder), 10, given.mlflow > 0)  # loads libraries, once
    found = {}
    for runs in map(int, words):
        with tempfile.TemporaryDirectory() as folder:
            found[runs] = costs(pathlib.Path(folder), runs, runs <= given.mlflow)
        print(
            f"{runs} runs: {', '.join(f'{stage} {cost[0]:.2f} s' for stage, cost in found[runs].items())}", flush=True
        )
        if given.json:
            json_files.atomic_write(given.json, json.dumps(found, indent=1) + "\n")
    print("\n" + markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
