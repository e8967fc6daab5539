"""Workers on this machine: how many, started, watched and stopped."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from experiments import locks
from studies.plan_file import pending
from studies.planning import Plan, PlannedRun
from studies.progress import Progress
from studies.queue import Queue
from studies.worker import INTERRUPTED, ROOT, WorkerSettings, command_line, stop_on_signals

ROUNDS = 3  # so often runs that left no result are given to new workers before the study ends without them
WATCH_SECONDS = 5.0  # how long runs of another command's workers are watched before looking for work again


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(plan: Plan, out: pathlib.Path, workers: int, settings: WorkerSettings) -> bool:
    """Lets workers do all runs that have no result; True if it was interrupted.

    Another command may be at work on the same study: runs of its workers are waited for, and taken over if they die.
    """
    stop, idle = stop_on_signals(), 0
    while (todo := pending(plan, out, workers)) and not stop() and idle < ROUNDS:
        Queue(out / plan.study.name, out / "runs").enqueue([run.directory for run in todo])
        free = [run for run in todo if locks.is_free(out / "runs" / run.directory / "worker.lock")]
        _supervise(plan, out, todo, min(workers, len(free)), settings, stop)
        idle = idle + 1 if len(pending(plan, out)) == len(todo) and free else 0
    return stop()


def _supervise(
    plan: Plan,
    out: pathlib.Path,
    todo: Sequence[PlannedRun],
    count: int,
    settings: WorkerSettings,
    stop: Callable[[], bool],
) -> None:
    """Starts workers, shows what they do and waits for them; without workers, watches those of others for a while."""
    command = [sys.executable, "-m", "studies.worker", *command_line(settings, max(1, cores() // max(1, count)))]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = dict(os.environ) | {"PYTHONPATH": path}
    progress = Progress(out / "runs", [run.directory for run in todo], {r.directory: r.spec.train.steps for r in todo})
    log_file = out / plan.study.name / "study.log"
    with open(log_file, "ab") as log:
        running = [
            subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            for _ in range(count)
        ]
        told, until = False, time.monotonic() + (0.0 if running else WATCH_SECONDS)
        while any(process.poll() is None for process in running) or (time.monotonic() < until and not stop()):
            time.sleep(0.5)
            progress.show()
            if stop() and not told:
                told = True
                progress.say("stopping: the runs are being saved")
                for process in running:
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGTERM)
        progress.end()
    if broken := [process.returncode for process in running if process.returncode not in (0, INTERRUPTED)]:
        print(f"a worker ended with exit code {broken[0]}; see {log_file}", file=sys.stderr)
