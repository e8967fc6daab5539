"""Workers as tasks of Ray: on a cluster that is there, or on one of this machine that listens on loopback only."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import pathlib
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.tracking.redaction import has_secret
from studies.queue.endings import INTERRUPTED
from studies.workers.subprocess_run import ROOT
from studies.workers.worker import WorkerSettings, command_line, environment
from uflow.registry import did_you_mean

KNOWN = ("address", "num_cpus", "num_gpus", "npu")
RETRIES = 3  # times that Ray starts a worker again whose node or process was lost
KILLED = -int(signal.SIGKILL)
OBJECT_STORE_BYTES = 100 * 2**20  # nothing but exit codes goes through a local Ray
# what Ray reads when it is loaded. Without "clusters" it gives a node the address 127.0.0.1 and listens there only;
# with them, which is its default on Linux, every one of its servers listens on all interfaces, and a cluster that is
# said to be on loopback is looked for elsewhere
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
CONNECT_SECONDS = 10.0


def checked(options: Mapping[str, str]) -> dict[str, Any]:
    """What `--launcher-option` asks for, by name; what of `num_gpus` and `npu` was not given follows from the card.

    `address` is `local` for a Ray of this study alone, `auto` or HOST:PORT for a cluster that is there. `num_cpus`,
    `num_gpus` and `npu` are what a worker asks for; several can share a card, as in 0.5.

    Raises:
        ValueError: if an option is unknown or has no such value, Ray is not installed, or Ray would show a password.
    """
    found: dict[str, Any] = {"address": "local", "num_cpus": 1.0}
    for key, text in options.items():
        if key not in KNOWN:
            raise ValueError(
                f"--launcher ray has no option {key!r}{did_you_mean(key, KNOWN)} (known: {', '.join(KNOWN)})"
            )
        found[key] = text if key == "address" else _amount(key, text)
    host, _, port = found["address"].rpartition(":")
    if found["address"] not in ("local", "auto") and not (host and port.isdigit()):
        raise ValueError(f"--launcher-option address must be local, auto or HOST:PORT, got {found['address']!r}")
    if importlib.util.find_spec("ray") is None:
        raise ValueError('--launcher ray needs the package ray: pip install ".[ray]"')
    if any(map(has_secret, sys.orig_argv)):
        raise ValueError(
            "--launcher ray: Ray stores and shows the command line of its programs, and this one holds a password: put"
            " the address into UFLOW_STORAGE or UFLOW_TRACKING_URI"
        )
    return found


def _amount(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1024 or (value > 1 and value != int(value)):
        raise ValueError(
            f"--launcher-option {key} must be a whole number in [0, 1024] or a fraction below 1, got {text!r}"
        )
    return value


def resources(chosen: Mapping[str, Any], settings: WorkerSettings) -> dict[str, Any]:
    """What a worker asks of Ray."""
    target = settings.execution.card.target
    npus = chosen.get("npu", float(target == "Ascend"))
    return {
        "num_cpus": chosen["num_cpus"],
        "num_gpus": chosen.get("num_gpus", float(target == "GPU")),
        "resources": {"NPU": npus} if npus else {},
    }


def starter(options: Mapping[str, str]) -> Any:
    """Starts workers as tasks of Ray.

    Args:
        options: see `checked`.

    Raises:
        ValueError: if an option is wrong, Ray is not installed, or the cluster cannot be reached.
    """
    chosen = checked(options)
    address, cpus = chosen["address"], chosen["num_cpus"]
    if address != "local":
        connect(address)

    def start(settings: Sequence[WorkerSettings], log_file: pathlib.Path) -> Tasks:
        connect(address, cpus * len(settings))
        if address != "local" and settings[0].storage is None:
            print(f"note: all machines of the Ray cluster must see {settings[0].out}; if they do not, give --storage")
        fitted = [each.scheduled(max(1, int(cpus))) for each in settings]
        return Tasks(fitted, resources(chosen, settings[0]), log_file)

    return start


def connect(address: str, cpus: float = 0) -> None:
    """Joins a cluster, or starts Ray on this machine with at least so many CPUs; once in a process.

    Raises:
        ValueError: if it cannot be reached.
    """
    os.environ.update(QUIET | (LOOPBACK if re.match(r"(local|127\.0\.0\.1|localhost)(:|$)", address) else {}))
    import ray

    from studies.launchers.supervisor import cores

    if ray.is_initialized():
        return
    local = {
        "include_dashboard": False,
        "num_cpus": max(cores(), math.ceil(cpus)),
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    try:
        if ":" in address:  # Ray would try for minutes and then end this process
            host, port = address.rsplit(":", 1)
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        with _signals_kept():
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(local if address == "local" else {}),
            )
    except (RuntimeError, ValueError, OverflowError, OSError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"--launcher ray: no Ray at {address}: {why}") from None


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Undoes what Ray does to the handlers of signals: it ends a process at SIGTERM, before anything is saved."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Tasks:
    """Workers that are tasks of Ray."""

    def __init__(self, settings: Sequence[WorkerSettings], asked: Mapping[str, Any], log_file: pathlib.Path):
        import ray

        task = ray.remote(_worker_task()).options(
            name="uflow worker", max_retries=RETRIES, scheduling_strategy="SPREAD", **asked
        )
        self._ray, self._codes = ray, {}
        # as arguments, for Ray shows and logs names, resources and environments of tasks but not these
        self._tasks = [
            task.remote(command_line(each), environment(each), str(log_file), str(ROOT)) for each in settings
        ]

    def running(self) -> int:
        """How many are still there, those included that wait for a place."""
        left = [task for task in self._tasks if task not in self._codes]
        if left:
            for task in self._ray.wait(left, num_returns=len(left), timeout=0, fetch_local=False)[0]:
                self._codes[task] = _code(task)
        return len(self._tasks) - len(self._codes)

    def stop(self, force: bool = False) -> None:
        """Asks all of them to save their runs and to end."""
        for task in self._tasks:
            if task not in self._codes:
                self._ray.cancel(task, force=force)

    def kill(self) -> None:
        """Ends all of them at once."""
        self.stop(force=True)

    def ended(self) -> Sequence[int]:
        """Exit codes of those that have ended."""
        return list(self._codes.values())


def _code(task: Any) -> int:
    """Exit code of the worker of a task that has ended."""
    import ray

    try:
        code, said = ray.get(task)
    except ray.exceptions.TaskCancelledError:
        return INTERRUPTED
    except ray.exceptions.RayTaskError as error:  # the task itself could not do its work
        code, said = 2, str(error).strip().splitlines()[-1]
    except ray.exceptions.RayError:  # its node or its process was lost, more often than it was started again
        return KILLED
    if said:
        print(f"a worker could not be started: {said}", flush=True)
    return code


def _worker_task() -> Any:
    """The function that Ray runs on a node: starts a worker there, waits for it and returns its exit code.

    It is made here because Ray sends a function that no module has as a value: a node finds this project's modules only
    after the function has said where.
    """

    def worker(words: list[str], addresses: dict[str, str], log_file: str, root: str) -> tuple[int, str]:
        import os
        import pathlib
        import socket
        import subprocess
        import sys

        if os.path.isdir(root):
            sys.path.insert(0, root)
        from studies.workers.subprocess_run import die_with_parent, start_worker

        log = pathlib.Path(log_file)
        if not log.parent.is_dir() and "UFLOW_STORAGE" not in addresses:
            return 2, f"{socket.gethostname()} does not see {log.parent}; share that folder, or give --storage"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = start_worker(words, addresses, log, preexec_fn=die_with_parent)
        while True:
            try:
                while process.poll() is None:
                    # in short waits: Ray asks a task to end by an exception, which no system call lets through
                    try:
                        process.wait(timeout=0.5)
                    except subprocess.TimeoutExpired:
                        continue
                return process.returncode, ""
            except KeyboardInterrupt:
                process.terminate()

    return worker
