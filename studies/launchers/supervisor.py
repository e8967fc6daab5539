"""The runs of a plan, done by workers that a launcher starts: here as processes, elsewhere by Ray or Slurm.

Other launchers come from extensions (`uflow.extensions`), by name in a table `LAUNCHERS`. Each is a function of what
`--launcher-option` says, text by name, which begins nothing, raises `ValueError` for what it cannot follow and returns
a `Start`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from experiments.cli.signals import stop_on_signals
from experiments.records import faults, layout, locks
from studies.launchers.progress_line import Progress
from studies.planning.plan_store import pending
from studies.planning.planner import Plan, PlannedRun
from studies.queue.endings import INTERRUPTED, CannotRun
from studies.queue.file_queue import Queue
from studies.queue.job import jobs_of
from studies.workers.cards import Card
from studies.workers.stopping import Ending, Workers, kill_with_children
from studies.workers.subprocess_run import start_worker
from studies.workers.worker import MEANINGS, WorkerSettings, command_line, environment
from uflow import extensions
from uflow.registry import did_you_mean

LAUNCHERS = {
    "local": "studies.launchers.supervisor",
    "ray": "studies.launchers.ray_tasks",
    "slurm": "studies.launchers.slurm_jobs",
}
ROUNDS = 3  # so often runs that left no result are given to new workers before the study ends without them
REFRESH_SECONDS = 5.0  # between looks at the queue
STOPPING = "stopping: the runs are being saved; Ctrl-C once more ends at once"


Start = Callable[[Sequence[WorkerSettings], pathlib.Path], Workers]


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_options(launcher: str, options: Mapping[str, str]) -> None:
    """Raises `ValueError` for an unknown launcher, an option that it does not have, or a package that is not here."""
    found = extensions.functions("LAUNCHERS", taken=LAUNCHERS)
    if launcher in LAUNCHERS:
        importlib.import_module(LAUNCHERS[launcher]).checked(options)
    elif launcher in found:
        _brought(launcher, options)
    else:
        known = (*LAUNCHERS, *found)
        raise ValueError(f"unknown launcher {launcher!r}{did_you_mean(launcher, known)} (known: {', '.join(known)})")


def start_of(launcher: str, options: Mapping[str, str]) -> Start:
    """The function that starts workers with a launcher.

    Raises:
        ValueError: if an option is unknown, a package is not installed, or what starts the workers is not there.
    """
    if launcher in LAUNCHERS:
        return importlib.import_module(LAUNCHERS[launcher]).starter(options)
    return _brought(launcher, options)


def _brought(launcher: str, options: Mapping[str, str]) -> Start:
    """The same of a launcher of an extension, whatever its code may raise or return."""
    starter, extension = extensions.functions("LAUNCHERS")[launcher]

    def asked(function: Callable[..., Any], *given: Any, kind: type, what: str) -> Any:
        try:
            made = function(*given)
        except ValueError as error:
            raise ValueError(f"--launcher {launcher}: {error}") from None
        except Exception as error:
            raise ValueError(f"--launcher {launcher} of {extension.file}: {type(error).__name__}: {error}") from error
        if not isinstance(made, kind):
            raise ValueError(f"--launcher {launcher} of {extension.file}: must return {what}, got {made!r}")
        return made

    start = asked(starter, options, kind=Callable, what="a function that starts workers")
    workers = "workers, with running, stop, kill and ended (studies/workers/stopping.py)"
    return functools.partial(asked, start, kind=Workers, what=workers)


def checked(options: Mapping[str, str]) -> None:
    """Raises `ValueError` if there are options."""
    if options:
        raise ValueError(f"--launcher local has no options, got {', '.join(options)} (--launcher-option)")


def starter(options: Mapping[str, str]) -> Start:
    """Starts workers as processes on this machine."""
    checked(options)
    return Processes


class Processes:
    """Workers on this machine.

    Args:
        settings: one of each worker.
        log_file: what they say is added to it.
        before: words in front of the command of each, such as `nice -n 10`, which must become that command, or pass
            signals on to it.
    """

    def __init__(self, settings: Sequence[WorkerSettings], log_file: pathlib.Path, before: Sequence[str] = ()):
        self._started = [
            start_worker(command_line(each), environment(each), log_file, before=before) for each in settings
        ]

    def running(self) -> int:
        """How many are still there."""
        return sum(process.poll() is None for process in self._started)

    def stop(self) -> None:
        """Asks all of them to save their runs and to end."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends all of them at once, and the runs that they are at: what was forked from a stopped process too."""
        for process in self._started:
            if process.poll() is None:
                kill_with_children(process.pid)

    def ended(self) -> Sequence[int]:
        """Exit codes of those that have ended."""
        return [process.returncode for process in self._started if process.poll() is not None]


def assigned(settings: WorkerSettings, cards: Sequence[Card], count: int) -> list[WorkerSettings]:
    """The settings of a number of workers on this machine, which share its cards and its cores.

    With one worker for each core, on the CPU, each keeps to its own: the threads of a run hand work over to each other
    all the time, which on one core costs less than waking another. With fewer the system finds the idle cores.
    """
    threads = max(1, cores() // max(1, count))
    own: Sequence[int | None] = [None] * count
    if count == cores() > 1 and _on_cpu(cards) and hasattr(os, "sched_setaffinity"):
        own = sorted(os.sched_getaffinity(0))
    executions = [
        dataclasses.replace(settings.execution, card=cards[number % len(cards)], threads=threads, core=core)
        for number, core in enumerate(own)
    ]
    return [dataclasses.replace(settings, execution=execution) for execution in executions]


def run_all(
    plan: Plan,
    settings: WorkerSettings,
    workers: int,
    cards: Sequence[Card] = (Card("auto"),),
    start: Start = Processes,
    stage: str = "",
    stop: Callable[[], bool] | None = None,
) -> bool:
    """Lets workers do all runs that have no result; True if it was interrupted.

    Others may be at work on the same study: what their workers are at is waited for, and taken over if they die.

    Args:
        plan: what is to be done.
        settings: of the workers.
        workers: how many are started; with none, only those of others do anything.
        cards: where they train.
        start: starts them.
        stage: of the study that the runs belong to, such as `search`; empty for those that are reported.
        stop: asked all the time, by default whether a signal has arrived.
    """
    stop = stop or stop_on_signals(insist=True)
    if start is Processes and workers:
        warn_of_kernels(settings.execution.program, tuple(cards))
    try:
        queue = settings.open_queue(stop)
    except OSError as error:
        raise _unfinished(error) from error
    about = {"study": plan.study.name, "preset": plan.preset.name} | ({"stage": stage} if stage else {})
    try:
        _Work(plan, queue, settings, workers, cards, start, about, stop).finish()
    except (ValueError, OSError) as error:  # the database or the disk, in the middle of it
        if not stop():
            raise _unfinished(error) from error
    finally:
        queue.close()
    return stop()


def _unfinished(error: Exception) -> CannotRun:
    return CannotRun(f"{faults.of(error) or error}\nthe study is not finished; the same command goes on with it")


@dataclasses.dataclass(frozen=True)
class _Work:
    """The runs of a plan that are to be done, and by whom; see `run_all`."""

    plan: Plan
    queue: Queue
    settings: WorkerSettings
    workers: int
    cards: Sequence[Card]
    start: Start
    about: Mapping[str, str]
    stop: Callable[[], bool]

    def finish(self) -> None:
        """Starts workers again and again, until all is done or they get nothing done any more."""
        idle = 0
        while (todo := self.left()) and not self.stop() and idle < ROUNDS:
            count = min(self.workers, len(self.queue.states()[0]))
            self.supervise(todo, assigned(self.settings, self.cards, count))
            idle = idle + 1 if count and len(self.left()) == len(todo) else 0

    def left(self) -> list[PlannedRun]:
        """The runs without a result, after what others did was fetched and what the queue lacks was put there."""
        queue, todo = self.queue, pending(self.plan, self.settings.out, self.workers)
        jobs = jobs_of(todo, queue.runs, self.about, self.plan.shared_steps)
        queue.enqueue(jobs, {run.directory: run.spec for run in todo})
        return [run for run in todo if not layout.finished(queue.runs / run.directory)]

    def elsewhere(self) -> int:
        """How many runs workers on other machines are at: nobody here holds their locks."""
        running = self.queue.states()[1] if self.settings.storage else ()
        return sum(locks.is_free(self.queue.runs / name / layout.WORKER_LOCK) for name in running)

    def supervise(self, todo: Sequence[PlannedRun], settings: Sequence[WorkerSettings]) -> None:
        """Starts workers, shows what they do and waits for them; without workers, watches those of others for a while.

        A worker that was killed is replaced while runs are waiting.
        """
        queue, log_file = self.queue, self.queue.folder / layout.STUDY_LOG
        progress = Progress(queue.runs, {run.directory: run.spec.train.steps for run in todo})
        progress.elsewhere = self.elsewhere()
        groups = [self.start(settings, log_file)] if settings else []
        replaced = 0
        began = looked = time.monotonic()
        with _ending(groups, progress.say) as ending:
            while not ending.over() or (not groups and time.monotonic() - began < REFRESH_SECONDS and not self.stop()):
                time.sleep(0.2)
                progress.show()
                if self.stop():
                    ending.ask(STOPPING)
                elif groups and time.monotonic() - looked > REFRESH_SECONDS:
                    looked = time.monotonic()
                    if not self.left():
                        ending.nothing_is_left()
                    progress.elsewhere = self.elsewhere()
                    killed = sum(code not in (0, INTERRUPTED, *MEANINGS) for group in groups for code in group.ended())
                    if killed > replaced < ROUNDS * len(settings) and queue.states()[0]:
                        replaced += 1
                        groups.append(self.start(settings[replaced % len(settings) :][:1], log_file))
        progress.end()
        _explain([code for group in groups for code in group.ended()], log_file)


def join(settings: WorkerSettings, workers: int, cards: Sequence[Card], start: Start = Processes) -> Sequence[int]:
    """Works on a study that another command has planned, until nothing is left; the exit codes of the workers."""
    stop, shown = stop_on_signals(insist=True), ""
    if start is Processes:
        warn_of_kernels(settings.execution.program, tuple(cards))
    queue = settings.open_queue(stop)
    settings.out.joinpath(settings.study).mkdir(parents=True, exist_ok=True)
    group = start(assigned(settings, cards, workers), queue.folder / layout.STUDY_LOG)
    looked, busy = 0.0, time.monotonic()
    with _ending([group], functools.partial(print, flush=True)) as ending:
        while not ending.over():
            time.sleep(0.2)
            if stop():
                ending.ask(STOPPING)
            if time.monotonic() - looked > REFRESH_SECONDS:
                looked = time.monotonic()
                waiting, running = queue.states()
                line = f"{len(waiting)} runs waiting, {len(running)} running; workers here: {group.running()}"
                if line != shown:
                    print(line, flush=True)
                shown = line
                busy = looked if waiting or running else busy
                if looked - busy > settings.linger:
                    ending.nothing_is_left()
    if stop():
        return [INTERRUPTED]
    _explain(group.ended(), queue.folder / layout.STUDY_LOG)
    if not any(group.ended()) and not queue.has_runs():
        raise ValueError(
            f"no run of {queue.name} came within {settings.linger:g} s: has another command planned the same study,"
            " with the same --preset, --set, --data and --storage (or --out)?"
        )
    return group.ended()


@functools.cache
def warn_of_kernels(program: str, cards: tuple[Card, ...]) -> None:
    """Says once, where everybody sees it, that runs on this machine's CPU will be slow; logs of runs are read later."""
    from uflow.kernels import dispatch

    if program == "experiments.run" and _on_cpu(cards) and (sentence := dispatch.lacking()):
        print(f"warning: {sentence}", file=sys.stderr, flush=True)


def _on_cpu(cards: Sequence[Card]) -> bool:
    """Whether anything is trained on the CPU."""
    from experiments.training.device import available

    return any((available() if card.target == "auto" else card.target) == "CPU" for card in cards)


@contextlib.contextmanager
def _ending(groups: Sequence[Workers], say: Callable[[str], None]) -> Iterator[Ending]:
    """The end of workers, who are not left alone when the block fails: nobody would look after them."""
    ending = Ending(groups, say)
    try:
        yield ending
    except (ValueError, OSError):
        for group in groups:
            group.stop()
        raise
    except KeyboardInterrupt:
        ending.kill()
        raise


def _explain(codes: Sequence[int], log_file: pathlib.Path) -> None:
    """Says why workers ended that should have gone on."""
    for code in dict.fromkeys(codes):
        if code not in (0, INTERRUPTED):
            how = MEANINGS.get(code, f"signal {-code}" if code < 0 else f"exit code {code}")
            print(f"a worker ended: {how}; see {log_file}", file=sys.stderr)
