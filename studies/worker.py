"""A worker: takes runs of a study from its queue, trains each in a fresh process and mirrors it into MLflow.

Started by `studies.launcher` as `python -m studies.worker`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments import locks, records
from experiments.tracking import Mirror
from studies.queue import Queue

ATTEMPTS = 3  # a run whose process dies without a word is continued this often before it counts as failed
INTERRUPTED = 130
ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker is told.

    Attributes:
        out: directory of all results.
        study: name of the study; its `plan.json` is in `out/study`.
        device: for `experiments.run`.
        shared_steps: steps until which runs train the same.
        threads: CPU threads of a run.
        tracking: address of the MLflow store, or `None`.
        checkpoint_seconds: least time between checkpoints of a run.
    """

    out: pathlib.Path
    study: str
    device: str = "auto"
    shared_steps: tuple[int, ...] = ()
    threads: int = 1
    tracking: str | None = None
    checkpoint_seconds: float = 30.0


def work(settings: WorkerSettings, stop: Callable[[], bool]) -> int:
    """Does runs until none is waiting; returns 0, or 130 if it was asked to stop."""
    folder = settings.out / settings.study
    plan = records.read_json(folder / "plan.json")
    owners = {name: (arm["label"], int(seed)) for arm in plan["arms"] for seed, name in arm["runs"].items()}
    about = {"study": plan["study"], "preset": plan["preset"]}
    mirror = Mirror(settings.tracking, settings.study, settings.out / "mlartifacts") if settings.tracking else None
    queue = Queue(folder, settings.out / "runs")

    def do(name: str) -> records.RunRecord | None:
        return run_one(settings, name, *owners[name], about, mirror, stop)

    for _ in queue.work(do, stop):
        pass
    if mirror and mirror.failures:
        print(f"{len(mirror.failures)} messages did not reach MLflow, first: {mirror.failures[0]}", file=sys.stderr)
    return INTERRUPTED if stop() else 0


def run_one(
    settings: WorkerSettings,
    name: str,
    arm: str,
    seed: int,
    about: Mapping[str, Any],
    mirror: Mirror | None,
    stop: Callable[[], bool],
) -> records.RunRecord | None:
    """Trains one run in a process of its own; `None` if it was interrupted."""
    directory = settings.out / "runs" / name
    with locks.held(directory / "worker.lock", give_up=stop) as alone:
        if not alone:
            return None
        if not (directory / "result.json").exists():
            tracked = mirror.child(directory, arm, seed, about) if mirror else None
            sent = mirror.sent_until(tracked) if tracked else 0
            for attempt in range(1, ATTEMPTS + 1):
                process = _start(settings, directory)
                stopped = False
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=2.0)
                    if tracked:
                        sent = mirror.push(tracked, directory, sent)
                    if process.returncode is not None:
                        break
                    if stop() and not stopped:
                        process.send_signal(signal.SIGTERM)
                        stopped = True
                if (directory / "result.json").exists():
                    break
                if stop() or process.returncode == INTERRUPTED:
                    return None
                if attempt == ATTEMPTS:
                    _record_death(directory, process.returncode)
            if tracked:
                mirror.finish(tracked, directory)
        return records.read_result(directory)


def _start(settings: WorkerSettings, directory: pathlib.Path) -> subprocess.Popen:
    command = [
        sys.executable, "-m", "experiments.run",
        "--spec", str(directory / "spec.json"),
        "--out", str(settings.out),
        "--device", settings.device,
        "--checkpoint-seconds", str(settings.checkpoint_seconds),
    ]  # fmt: skip
    if settings.shared_steps:
        command += ["--shared-steps", ",".join(map(str, settings.shared_steps))]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {"OMP_NUM_THREADS": str(settings.threads)} | dict(os.environ) | {"PYTHONPATH": path}
    with open(directory / "log.txt", "ab") as log:
        # the working directory is the run's own: MindSpore leaves files in it when a graph cannot be compiled
        return subprocess.Popen(
            command, cwd=directory, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip


def _die_with_parent() -> None:
    """Asks the kernel to end the run when its worker is killed, so that nothing trains unseen (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _record_death(directory: pathlib.Path, code: int) -> None:
    """Writes the result of a run whose process died without one."""
    from experiments.spec import canonical, from_config

    spec = from_config(records.read_json(directory / "spec.json"))
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    record = records.RunRecord(
        run_id=spec.run_id, status="failed", reason=f"the process ended with {how} {ATTEMPTS} times; see log.txt",
        spec=canonical(spec), metrics={}, validation={}, protocol=spec.evaluation.protocol,
    )  # fmt: skip
    records.write_result(directory, record)


def stop_on_signals() -> Callable[[], bool]:
    """A function that is True once SIGINT or SIGTERM has arrived."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, frame: asked.append(received))
    return lambda: bool(asked)


def command_line(settings: WorkerSettings, threads: int) -> list[str]:
    """The words after `python -m studies.worker` for a worker whose runs use a number of threads."""
    words = [str(settings.out), settings.study, "--device", settings.device, "--threads", str(threads)]
    words += ["--checkpoint-seconds", str(settings.checkpoint_seconds)]
    words += ["--shared-steps", ",".join(map(str, settings.shared_steps))]
    return [*words, "--tracking-uri", settings.tracking] if settings.tracking else words


def main(argv: Sequence[str] | None = None) -> int:
    """Works on a study until no run is waiting."""
    parser = argparse.ArgumentParser(prog="python -m studies.worker", description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("study")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint-seconds", type=float, default=30.0)
    parser.add_argument("--shared-steps", default="")
    parser.add_argument("--tracking-uri")
    given = parser.parse_args(argv)
    settings = WorkerSettings(
        out=given.out,
        study=given.study,
        device=given.device,
        shared_steps=tuple(int(word) for word in given.shared_steps.split(",") if word),
        threads=given.threads,
        tracking=given.tracking_uri,
        checkpoint_seconds=given.checkpoint_seconds,
    )
    return work(settings, stop_on_signals())


if __name__ == "__main__":
    sys.exit(main())
