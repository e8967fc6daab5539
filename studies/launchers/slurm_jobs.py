"""Workers as jobs of Slurm, submitted through submitit: one job is one worker, started by a script that one can read.

Submitit's own way to run a Python function is to pickle it into a shared folder. Nothing is pickled here: what is
submitted is the command of a worker.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from studies.launchers.supervisor import Processes
from studies.queue.endings import INTERRUPTED
from studies.workers.subprocess_run import ROOT, python_path
from studies.workers.worker import WorkerSettings, command_line, environment
from uflow.registry import did_you_mean

CLUSTERS = ("slurm", "local")
# submitit's options that would make more of a job than one worker, or that are set here
NOT_OFFERED = frozenset(
    "nodes ntasks_per_node num_gpus array_parallelism use_srun srun_args teardown stderr_to_stdout".split()
)
COUNTS = frozenset("cpus_per_task cpus_per_gpu signal_delay_s".split())
TIME = re.compile(r"\d+(:\d\d){0,2}|\d+-\d+(:\d\d){0,2}")
ENDED = frozenset("BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED".split())
ENDED |= {"TIMEOUT"}
SIGNAL_SECONDS = 120  # before the end of its time a job is asked to save its run
LOST = -int(signal.SIGTERM)  # as the exit code of a job that Slurm ended: another takes its place
LOCAL_MINUTES = 60 * 24 * 7  # a limit that submitit's local executor cannot do without
LOOK_SECONDS = (2.0, 30.0)  # between looks at the jobs: at first, and when they have run for long


def checked(options: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The cluster and submitit's parameters that `--launcher-option` asks for.

    Raises:
        ValueError: naming the first option that is unknown or has no such value, or if submitit is not installed.
    """
    if importlib.util.find_spec("submitit") is None:
        raise ValueError('--launcher slurm needs the package submitit: pip install ".[slurm]"')
    from submitit import SlurmExecutor

    known = sorted({"cluster", *SlurmExecutor._valid_parameters()} - NOT_OFFERED)
    found: dict[str, Any] = {}
    for key, text in options.items():
        if key not in known:
            hint = did_you_mean(key, known)
            raise ValueError(f"--launcher slurm has no option {key!r}{hint} (known: {', '.join(known)})")
        if not text.strip() or not text.isprintable():
            raise ValueError(f"--launcher-option {key} must be one line of text, got {text!r}")
        found[key] = _value(key, text.strip())
    cluster = found.pop("cluster", "slurm")
    if cluster not in CLUSTERS:
        raise ValueError(f"--launcher-option cluster must be slurm or local, got {cluster!r}")
    delay = found.get("signal_delay_s", SIGNAL_SECONDS)
    if "time" in found and 60 * minutes(found["time"]) <= delay:
        raise ValueError(
            f"--launcher-option time={found['time']} leaves a job no time: {delay} s before its end (signal_delay_s) it"
            " is asked to save its run"
        )
    return cluster, found


def _value(key: str, text: str) -> Any:
    """The value of an option as submitit takes it."""
    if key in COUNTS:
        if not re.fullmatch(r"\d{1,6}", text) or int(text) == 0:
            raise ValueError(f"--launcher-option {key} must be a whole number from 1 on, got {text!r}")
        return int(text)
    if key == "time" and not TIME.fullmatch(text):
        raise ValueError(f"--launcher-option time must be minutes, H:MM:SS or D-HH:MM:SS, got {text!r}")
    if key == "exclusive" and text.lower() == "true":
        return True
    if key == "setup":
        return [text]
    if key == "additional_parameters":
        pairs = [part.partition("=") for part in text.split(";")]
        if not all(re.fullmatch(r"[a-z][a-z-]*", name.strip()) and value for name, _, value in pairs):
            raise ValueError(f"--launcher-option additional_parameters must be NAME=VALUE[;NAME=VALUE], got {text!r}")
        return {name.strip(): value for name, _, value in pairs}
    return text


def parameters(options: Mapping[str, Any], settings: WorkerSettings) -> dict[str, Any]:
    """Submitit's parameters for the job of a worker: what was asked for, and what follows from the worker."""
    target, given = settings.execution.card.target, dict(options)
    asks_card = any(key.startswith("gpus") or key == "gres" for key in given)
    card = {"GPU": {"gpus_per_node": 1}, "Ascend": {"gres": "npu:1"}}.get(target, {}) if not asks_card else {}
    setup = [f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}"]
    if names := sorted(environment(settings)):
        setup = [f"# {' and '.join(names)}: in the environment of sbatch, for this file is not secret", *setup]
    # "B:" signals the shell, in whose place the worker runs. Sent early enough for a run to be saved and given back
    signalled = {"signal": f"B:TERM@{given.pop('signal_delay_s', SIGNAL_SECONDS)}", "export": "ALL"}
    return {
        "job_name": f"uflow-{settings.study}",
        "time": None,  # that of the partition; submitit's own is 5 minutes
        "wckey": None,
        "cpus_per_task": 1,  # the cores of this machine say nothing of those of a node
        **card,
        **given,
        "setup": [*setup, *given.get("setup", ())],
        "additional_parameters": signalled | given.get("additional_parameters", {}),
        "use_srun": False,
        "stderr_to_stdout": True,
    }


def command(settings: WorkerSettings, options: Mapping[str, Any]) -> str:
    """The command of a worker, on the card and the cores that Slurm gives it."""
    words = command_line(settings.scheduled(int(options.get("cpus_per_task", 1))))
    return shlex.join([sys.executable, "-m", "studies.workers.worker", *words])


def script(options: Mapping[str, str], settings: WorkerSettings) -> str:
    """The script that would be submitted for a worker; without addresses, and without asking Slurm.

    Raises:
        ValueError: as `checked`.
    """
    from submitit.slurm.slurm import _make_sbatch_string

    _, chosen = checked(options)
    folder = _folder(settings)
    return _make_sbatch_string(f"exec {command(settings, chosen)}", folder, **parameters(chosen, settings))


def _folder(settings: WorkerSettings) -> pathlib.Path:
    """Where the scripts and the output of jobs are."""
    return settings.out / settings.study / "slurm"


def starter(options: Mapping[str, str]) -> Any:
    """Starts workers as jobs of Slurm, or with `cluster=local` on this machine, by submitit's local executor.

    Args:
        options: submitit's parameters, as `partition`, `time` or `mem`, and `cluster`.

    Raises:
        ValueError: if an option is wrong, submitit is not installed, or Slurm is not here or refuses such a job.
    """
    cluster, chosen = checked(options)
    if cluster == "slurm":
        _ask_slurm(chosen)

    def start(settings: Sequence[WorkerSettings], log_file: pathlib.Path) -> Any:
        jobs = (Jobs if cluster == "slurm" else LocalJobs)(chosen, log_file)
        try:
            for each in settings:
                jobs.submit(each)
        except BaseException:
            jobs.stop()
            raise
        return jobs

    return start


def _ask_slurm(options: Mapping[str, Any]) -> None:
    """Raises `ValueError` unless Slurm is here and would take a job with these options."""
    from submitit.slurm.slurm import _make_sbatch_string

    for program in ("sbatch", "srun", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise ValueError(
                f"--launcher slurm: {program} is not on this machine; start on a login node of the cluster, or try with"
                " --launcher-option cluster=local"
            )
    text = _make_sbatch_string("true", "/tmp", **({"time": None, "wckey": None} | dict(options) | {"use_srun": False}))
    asked = subprocess.run(["sbatch", "--test-only"], input=text, capture_output=True, text=True, check=False)
    if asked.returncode:
        raise ValueError(f"--launcher slurm: {_last_line(asked.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["Slurm refuses such a job"])[-1].strip()


def _tell(log_file: pathlib.Path, line: str) -> None:
    """Adds a line to the log of the study."""
    with open(log_file, "a", encoding="utf-8") as log:
        log.write(f"{line}\n")


class Jobs:
    """Workers that are jobs of Slurm.

    What has become of them is asked of `squeue`, for `sacct`, which submitit asks, knows nothing on clusters without an
    accounting database.
    """

    def __init__(self, options: Mapping[str, Any], log_file: pathlib.Path):
        self._options, self._log_file = options, log_file
        self._codes: dict[str, int | None] = {}
        self._began = time.monotonic()
        self._looked, self._told = 0.0, False

    def submit(self, settings: WorkerSettings) -> None:
        """Submits one worker.

        Raises:
            ValueError: if Slurm refuses.
        """
        import submitit

        folder = _folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(**parameters(self._options, settings))
        try:
            with submitit.core.utils.environment_variables(**environment(settings)):
                job = executor._submit_command(f"exec {command(settings, self._options)}")
        except submitit.core.utils.FailedJobError as error:
            raise ValueError(f"--launcher slurm: {_last_line(str(error))}") from None
        self._codes[job.job_id] = None
        _tell(self._log_file, f"job {job.job_id}: output in {job.paths.stdout}")

    def running(self) -> int:
        """How many are still there, those included that wait for a place."""
        now = time.monotonic()
        least, most = LOOK_SECONDS
        pause = least if self._told else min(most, max(least, (now - self._began) / 10))
        if self._left() and now - self._looked > pause:
            self._looked = now
            self._look()
            if self._told:  # one that waited may have started when it was to be taken out of the queue
                self._end()
        return len(self._left())

    def _left(self) -> list[str]:
        return [job for job, code in self._codes.items() if code is None]

    def _look(self) -> None:
        """Asks Slurm about the jobs; if it does not answer, they are as they were."""
        words = ["squeue", "--me", "--states=all", "--noheader", "--Format=JobID:.24,State:.24,exit_code:.24"]
        try:
            asked = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        except subprocess.TimeoutExpired:
            return
        if asked.returncode:
            return
        seen = {fields[0]: fields[1:] for line in asked.stdout.splitlines() if len(fields := line.split()) == 3}
        for job in self._left():
            # Slurm forgets jobs a while after they end; whether the runs are done is asked of the queue in any case
            state, status = seen.get(job, ("COMPLETED", "0"))
            if state in ENDED:
                self._codes[job] = self._code(state, status)
                _tell(self._log_file, f"job {job}: has ended, {state}, exit status {status}")

    def _code(self, state: str, status: str) -> int:
        number, _, killer = status.partition(":")  # of the system's wait(), or written as "exit code:signal"
        code = os.waitstatus_to_exitcode(int(number)) if not killer else -int(killer) or int(number)
        if state == "CANCELLED" or (self._told and code == INTERRUPTED):
            return INTERRUPTED
        if code in (0, INTERRUPTED) and state != "COMPLETED":
            return LOST  # saved and ended before its time was up, or when its node was needed
        return code

    def stop(self) -> None:
        """Asks all of them to save their runs and to end; those that wait for a place are taken out of the queue."""
        self._told, self._looked = True, time.monotonic()
        self._end()

    def _end(self) -> None:
        if left := self._left():
            for words in (["--state=PENDING"], ["--state=RUNNING", "--batch", "--signal=TERM"]):
                subprocess.run(["scancel", *words, *left], capture_output=True, check=False)

    def kill(self) -> None:
        """Has Slurm end all of them."""
        if left := self._left():
            subprocess.run(["scancel", *left], capture_output=True, check=False)

    def ended(self) -> Sequence[int]:
        """Exit codes of those that have ended."""
        return [code for code in self._codes.values() if code is not None]


class LocalJobs(Processes):
    """Workers that are jobs of submitit's local executor: to try out, on one machine, what Slurm would do on many.

    Of the options only `time` and `signal_delay_s` mean anything here.
    """

    def __init__(self, options: Mapping[str, Any], log_file: pathlib.Path):
        super().__init__((), log_file)
        self._options, self._log_file = options, log_file

    def submit(self, settings: WorkerSettings) -> None:
        """Starts one worker."""
        import submitit

        executor = submitit.LocalExecutor(_folder(settings))
        executor.update_parameters(
            timeout_min=minutes(self._options["time"]) if "time" in self._options else LOCAL_MINUTES,
            signal_delay_s=self._options.get("signal_delay_s", SIGNAL_SECONDS),
            stderr_to_stdout=True,
        )
        # the signal before the time is up: by default one that ends a worker at once
        more = {"PYTHONPATH": python_path(), "SUBMITIT_PREEMPT_SIGNAL": "TERM"}
        with submitit.core.utils.environment_variables(**environment(settings) | more):
            job = executor._submit_command(command(settings, self._options))
        self._started.append(job._process)
        _tell(self._log_file, f"job {job.job_id}: output in {job.paths.stdout}")


def minutes(text: str) -> float:
    """Minutes of a time as Slurm writes it: M, M:SS, H:MM:SS, D-H, D-H:MM or D-H:MM:SS."""
    days, dash, clock = text.rpartition("-")
    parts = [*map(int, clock.split(":")), 0, 0]
    if not dash and clock.count(":") < 2:
        parts = [0, *parts]
    return (int(days or 0) * 24 + parts[0]) * 60 + parts[1] + parts[2] / 60
