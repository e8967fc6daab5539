"""Which device MindSpore runs on, with which others, and where it keeps its files; the only device-specific code."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import pathlib
import signal
from collections.abc import Iterable

import numpy as np

from uflow import backend as ms
from uflow import parallel


def available() -> str:
    """The best device that this machine offers: Ascend, then GPU, then CPU."""
    if pathlib.Path("/dev/davinci_manager").exists():
        return "Ascend"
    if pathlib.Path("/dev/nvidiactl").exists():
        return "GPU"
    return "CPU"


def check_precision(amp: str, target: str) -> None:
    """Raises `ValueError` if a device does not compute in a precision out of `uflow.precision.LEVELS`."""
    chosen = available() if target == "auto" else target
    if amp != "O0" and chosen == "CPU":
        raise ValueError(
            f"train.amp={amp} (--amp) needs a GPU or Ascend: on the CPU float16 is slower than float32; leave it at O0"
        )


def prepare(target: str = "auto", device_id: int = 0, scratch: str | os.PathLike | None = None) -> str:
    """Selects the device and graph mode, and returns the name of the device that was taken.

    Args:
        target: one of `experiments.flags.TARGETS`.
        device_id: which card, for GPU and Ascend.
        scratch: a directory for the files that MindSpore writes when a graph cannot be compiled; without it they land
            in the working directory.
    """
    chosen = available() if target == "auto" else target
    ms.set_context(mode=ms.GRAPH_MODE)
    if scratch is not None:
        ms.set_context(save_graphs_path=str(scratch))
    if chosen == "CPU":
        ms.set_device("CPU")
    elif team_size() > 1:
        ms.set_device(chosen)  # `msrun` gives each process its card
    else:
        ms.set_device(chosen, device_id)
    return chosen


@dataclasses.dataclass(frozen=True)
class Team:
    """The processes that train one network, each on its device; a single one without `msrun`.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def tracks(self) -> bool:
        """True for the one process that writes files."""
        return self.rank == 0

    def check_same(self, numbers: Iterable[int], what: str) -> None:
        """Raises `RuntimeError` unless all processes give the same numbers, each from 0 to 65535."""
        mine = np.array(list(numbers), np.float32)
        if self.size > 1:
            with parallel.shared(self.size):  # exact in float32 for as many processes as there may be
                mean = parallel.mean(ms.Tensor(mine)).asnumpy()
            if not np.array_equal(mean, mine):
                raise RuntimeError(f"process {self.rank} of {self.size} has another {what} than the others")


def team_size() -> int:
    """How many processes `msrun` has started for one training; 1 without it."""
    return int(os.environ.get("MS_WORKER_NUM", "1")) if "MS_ROLE" in os.environ else 1


def is_scheduler() -> bool:
    """True in the process of `msrun` that brings the others together and does not train."""
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def join() -> Team:
    """Waits until all processes that `msrun` has started are there; after `prepare`, before anything is computed.

    The scheduler stays in here until the others have ended.

    Raises:
        RuntimeError: if one of them does not come, or, in the scheduler, does not end well.
    """
    if team_size() == 1:
        return Team()
    # a process that outlives `msrun` would train unseen, or wait for the others for ever (Linux only)
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    ms.communication.init()
    return Team(ms.communication.get_rank(), ms.communication.get_group_size())


def source_digest() -> str:
    """Digest of the package's own source: a compiled graph is only good for the code that it was compiled from."""
    root = pathlib.Path(__file__).parents[1]
    found = hashlib.sha256()
    for package in ("uflow", "experiments"):
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".cc", ".h"):
                found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def use_compile_cache(directory: pathlib.Path) -> None:
    """Keeps compiled graphs in a directory, which must be one process's sequence of graphs and no other's.

    MindSpore names a stored graph by its number in the process and does not compare options, so two sequences in one
    directory would be taken for each other.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ms.set_context(enable_compile_cache=True, compile_cache_path=str(directory))


def leave_compile_cache() -> None:
    """Ends `use_compile_cache`: whatever is compiled from here on is neither stored nor taken from the store."""
    ms.set_context(enable_compile_cache=False)


def mindspore_version() -> str:
    """The installed MindSpore."""
    return importlib.metadata.version("mindspore")
