"""The processes that `msrun` starts to train one network together."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterable

import numpy as np

from uflow import backend as ms
from uflow.ops import parallel


@dataclasses.dataclass(frozen=True)
class ProcessGroup:
    """The processes that train one network, each on its device; a single one without `msrun`.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
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


def group_size() -> int:
    """How many processes `msrun` has started for one training; 1 without it."""
    return int(os.environ.get("MS_WORKER_NUM", "1")) if "MS_ROLE" in os.environ else 1


def is_scheduler() -> bool:
    """True in the process of `msrun` that brings the others together and does not train."""
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def init_process_group() -> ProcessGroup:
    """The group of this process, once all processes that `msrun` has started are there.

    Called after `device.prepare` and before anything is computed. The scheduler stays in here until the others have
    ended.

    Raises:
        RuntimeError: if one of them does not come, or, in the scheduler, does not end well.
    """
    if group_size() == 1:
        return ProcessGroup()
    # a process that outlives `msrun` would train unseen, or wait for the others for ever (Linux only)
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    ms.communication.init()
    return ProcessGroup(ms.communication.get_rank(), ms.communication.get_group_size())
