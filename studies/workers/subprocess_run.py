"""One run in a process of its own: started, watched, held to its limits, and its death recorded."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import math
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.records import layout, locks
from experiments.records.run_settings import RunSettings
from studies.queue.attempts import record_unmeasured
from studies.queue.endings import ENVIRONMENT, INTERRUPTED, USAGE, CannotRun
from studies.workers.cards import Card

ATTEMPTS = 3  # a run whose process dies without a word is continued this often before it counts as failed
KILL_SECONDS = 120.0  # between asking a process to end and ending it
ROOT = pathlib.Path(__file__).parents[2]
_LIBC = ctypes.CDLL(None)  # loaded here, for between fork and exec nothing should be
SECRET = (  # what a run need not know
    "UFLOW_STORAGE",
    "UFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may use before it is ended and recorded as failed; `None` is without limit.

    Attributes:
        seconds: of one worker's time, all continuations included, without what the run has waited for another one.
        gigabytes: of memory, resident, of the run's process and its children; 10^9 bytes each.
    """

    seconds: float | None = None
    gigabytes: float | None = None

    def __post_init__(self) -> None:
        given = {"--run-timeout": self.seconds, "--run-memory": self.gigabytes}
        wrong = [(option, value) for option, value in given.items() if value is not None and not 0 < value < math.inf]
        if wrong:
            raise ValueError("\n".join(f"{option} must be more than 0, got {value:g}" for option, value in wrong))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution(RunSettings):
    """How runs are executed, and how the processes that execute them are started and watched.

    Attributes:
        card: where a run trains, which is its `device`.
        threads: CPU threads of a run.
        core: the CPU core that a worker and its runs keep to; `None` leaves that to the system.
        limits: what a run may use.
        program: the module that does a run, called as `experiments.run` is.
    """

    card: Card = Card("auto")
    threads: int = 1
    core: int | None = None
    limits: Limits = Limits()
    program: str = "experiments.run"

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Execution:
        """The settings out of what `plain` and JSON have made of them."""
        made = {key: kind(**content[key]) for key, kind in (("card", Card), ("limits", Limits)) if key in content}
        return super().from_plain({**content, **made})

    def of_run(self, shared_steps: Sequence[int]) -> RunSettings:
        """What the process of a run is told."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunSettings)}
        return RunSettings(**known | {"device": self.card.target, "shared_steps": tuple(shared_steps)})


def train(
    execution: Execution,
    directory: pathlib.Path,
    shared_steps: Sequence[int],
    stop: Callable[[], bool],
    start: Callable[[pathlib.Path, Sequence[int]], Any] | None = None,
) -> bool:
    """Does a run to its end, which is its `result.json`; False if it was asked to stop.

    A process that dies without a result is started again and goes on from its last checkpoint, `ATTEMPTS` times in all;
    then, or when a limit is exceeded, the run is recorded as failed with the reason. What is wrong with the machine is
    no result.

    Args:
        execution: how.
        directory: of the run.
        shared_steps: steps until which other runs train the same.
        stop: asked all the time.
        start: starts the process, by default `fresh`; it returns what offers `pid`, `returncode`, `wait`, `send_signal`
            and `kill` of a `subprocess.Popen`, the last for what it has started too.

    Raises:
        CannotRun: if the run cannot be done here, for want of disk space or data.
    """
    spent, asked = 0.0, []

    def stopped() -> bool:
        """True from the first time on that the run was asked to stop."""
        asked.extend([True] if not asked and stop() else [])
        return bool(asked)

    for _ in range(ATTEMPTS):
        process = start(directory, shared_steps) if start else fresh(execution, directory, shared_steps)
        exceeded, spent = _watched(process, execution.limits, spent, stopped, directory)
        if layout.finished(directory):
            return True
        if exceeded:
            record_unmeasured(directory, "failed", exceeded)
            return True
        if stopped() or process.returncode == INTERRUPTED:
            return False
        if process.returncode in (USAGE, ENVIRONMENT):
            raise CannotRun(f"{directory.name}: {_last_line(directory / layout.LOG)}")
        if process.returncode == 0:
            raise CannotRun(f"{directory.name}: the process ended well and left no result; see log.txt")
    code = process.returncode
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    record_unmeasured(directory, "failed", f"the process ended with {how} {ATTEMPTS} times; see log.txt")
    return True


def _last_line(log: pathlib.Path) -> str:
    lines = log.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "see log.txt"


def _watched(
    process: Any, limits: Limits, spent: float, stop: Callable[[], bool], directory: pathlib.Path
) -> tuple[str, float]:
    """Waits for a process; why it was ended, or nothing, and the seconds spent on the run, of which waiting is none."""
    exceeded, asked, wait, looked = "", 0.0, 0.02, time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=wait)
        wait = min(1.0, 1.5 * wait)
        if process.returncode is not None:
            return exceeded, spent
        now = time.monotonic()
        spent, looked = spent + (0.0 if locks.is_waiting(directory) else now - looked), now
        exceeded = exceeded or _exceeded(process.pid, limits, spent)
        if (exceeded or stop()) and not asked:
            process.send_signal(signal.SIGTERM)
            asked = time.monotonic()
        if asked and time.monotonic() - asked > KILL_SECONDS:
            process.kill()


def _exceeded(pid: int | None, limits: Limits, seconds: float) -> str:
    """Which limit a process exceeds, as a sentence, or nothing."""
    if limits.seconds is not None and seconds > limits.seconds:
        return f"took more than {limits.seconds:g} seconds (--run-timeout)"
    if limits.gigabytes is not None and pid is not None and (used := _memory(pid) / 1e9) > limits.gigabytes:
        return f"used {used:.2f} GB of memory, more than {limits.gigabytes:g} GB (--run-memory)"
    return ""


def _memory(pid: int) -> int:
    """Resident bytes of a process and its children; 0 if it is gone."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def words_of(execution: Execution, directory: pathlib.Path, shared_steps: Sequence[int]) -> list[str]:
    """The command line of a run after the program's name."""
    return ["--spec", str(directory / layout.SPEC), "--settings", execution.of_run(shared_steps).to_json()]


def environment_of(execution: Execution) -> dict[str, str]:
    """The environment of a run: its card and its threads, and no addresses with passwords."""
    found = {"OMP_NUM_THREADS": str(execution.threads)} | dict(os.environ) | {"PYTHONPATH": python_path()}
    found |= execution.card.environment
    if cache := found.get("UFLOW_CACHE"):
        found["UFLOW_CACHE"] = os.path.abspath(cache)  # runs have working directories of their own
    return {name: value for name, value in found.items() if name not in SECRET}


def python_path() -> str:
    """The `PYTHONPATH` with which another process finds this project."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def start_worker(
    words: Sequence[str],
    addresses: Mapping[str, str],
    log_file: pathlib.Path,
    before: Sequence[str] = (),
    **options: Any,
) -> subprocess.Popen:
    """Starts `studies.workers.worker`, which writes to a log.

    Args:
        words: see `studies.workers.worker.command_line`.
        addresses: see `studies.workers.worker.environment`.
        log_file: is added to.
        before: words in front of the command.
        options: of `subprocess.Popen`.
    """
    with open(log_file, "ab") as log:
        return subprocess.Popen(
            [*before, sys.executable, "-m", "studies.workers.worker", *words],
            env={**os.environ, **addresses, "PYTHONPATH": python_path()},
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, **options,
        )  # fmt: skip


class _Fresh(subprocess.Popen):
    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def fresh(execution: Execution, directory: pathlib.Path, shared_steps: Sequence[int]) -> subprocess.Popen:
    """Starts a run in a process that loads everything anew."""
    command = [sys.executable, "-m", execution.program, *words_of(execution, directory, shared_steps)]
    with open(directory / layout.LOG, "ab") as log:
        # the working directory is the run's own: MindSpore leaves files in it when a graph cannot be compiled
        return _Fresh(
            command, cwd=directory, env=environment_of(execution), stdout=log, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip


def die_with_parent() -> None:
    """Asks the kernel to end a process when its parent is killed, so that nothing trains unseen (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        _LIBC.prctl(1, signal.SIGTERM)
